//! Tests of messages that may be dropped, of flushes, and of removals of live peers.

use super::session::{Session, entry};
use crate::checker::report::Account;
use crate::checker::violation::Promise;
use crate::journal::End;
use crate::log::{Kind, Record};
use crate::node::EXPIRED;
use crate::payload::Stream;
use crate::plan::Kind::Kill;

#[test]
fn what_is_given_up_is_counted_exactly() {
    for (stream, other) in [(Stream::Timed, Stream::Once), (Stream::Once, Stream::Timed)] {
        // 3 and 4 of 6 are missing in the middle, and 6 at the end.
        for (counted, broken) in [(3, vec![]), (2, vec![Promise::NoLoss]), (4, vec![Promise::Perished])] {
            let mut session = Session::exchange();
            session.sends_on(stream, 1, 2, 1, 6, 2_000);
            session.sends_on(other, 1, 2, 1, 6, 2_000);
            session.gets_on(stream, 2, 1, 1, 2, 2_001);
            session.gets_on(stream, 2, 1, 5, 5, 2_001);
            session.gets_on(other, 2, 1, 1, 6, 2_001);
            let (expired, best_effort) = if stream == Stream::Timed { (counted, 0) } else { (0, counted) };
            session.losses(1, 2, expired, best_effort, 0);
            assert_eq!(session.broken(), broken, "{stream:?}, {counted} counted");
            if broken.is_empty() {
                let account = Account { arrived: 20 + 3 + 6, perished: 3, ..Account::default() };
                assert_eq!(session.report().account, account);
            }
        }
    }
}

#[test]
fn each_reason_is_counted_as_itself() {
    let mut session = Session::exchange();
    session.sends_on(Stream::Once, 1, 2, 1, 2, 2_000);
    session.losses(1, 2, 2, 0, 0);
    assert_eq!(session.broken(), [Promise::NoLoss, Promise::Perished], "best effort, and counted as stale");
}

#[test]
fn what_is_given_up_does_not_come_late() {
    let mut session = Session::exchange();
    session.sends_on(Stream::Timed, 1, 2, 1, 5, 2_000);
    for (first, last) in [(1, 1), (4, 5), (2, 3)] {
        session.gets_on(Stream::Timed, 2, 1, first, last, 2_001);
    }
    assert_eq!(session.broken(), [Promise::Order, Promise::NoLoss], "and nothing was counted");
}

#[test]
fn best_effort_may_have_arrived_at_a_run_that_died() {
    let mut session = restarted(4_000);
    session.sends_on(Stream::Once, 1, 2, 1, 10, 3_900);
    session.gets_on(Stream::Once, 2, 1, 1, 10, 3_901);
    session.losses(1, 2, 0, 4, 0);
    assert_eq!(session.broken(), []);
}

#[test]
fn events_and_statistics_say_the_same() {
    let mut session = Session::exchange();
    session.events(1, 1, vec![entry(Kind::Dropped, 2, 5_000).with(1, EXPIRED)]);
    session.losses(1, 2, 0, 0, 0);
    assert_eq!(session.broken(), [Promise::Perished]);
    session.events(1, 1, vec![entry(Kind::Missed, 0, 5_000).with(1, 0)]);
    assert_eq!(session.broken(), [], "events were lost");
}

/// Returns a session in which server 2 is killed at `killed`, and runs again from 5 s; server 1 runs all the time.
fn restarted(killed: u64) -> Session {
    let mut session = Session::empty();
    session.journal.quiet_at = 20_000 * crate::clock::MILLISECOND;
    session.lives(1, 1, 0, 25_000, End::Stopped);
    session.lives(2, 1, 0, killed, End::Killed);
    session.lives(2, 2, 5_000, 25_000, End::Stopped);
    session.fault(Kill, 2, None, 0, 20_000);
    session.events(1, 1, vec![entry(Kind::Up, 2, 500)]);
    session.sends(2, 2, 1, 1, 1, 5_500);
    session.gets(1, 1, (2, 2), 1, 1, 5_500);
    session.sends_on(Stream::Broadcast, 1, 2, 1, 1, 5_500);
    let received = entry(Kind::Received, 1, 5_501).with(1, 1);
    session.events(2, 2, vec![Record { run: 1, stream: Stream::Broadcast, ..received }]);
    session
}

#[test]
fn what_was_flushed_is_there() {
    let mut session = Session::exchange();
    session.flushes(1, 2, 10, 1_500);
    assert_eq!(session.broken(), []);

    let mut session = Session::empty();
    session.lives(1, 1, 0, 3_000, End::Killed);
    session.lives(2, 1, 0, 9_000, End::Stopped);
    session.sends(1, 1, 2, 1, 30, 1_000);
    session.gets(2, 1, (1, 1), 1, 10, 1_001);
    session.flushes(1, 2, 10, 1_500);
    assert_eq!(session.broken(), [], "the rest died with its sender");
    session.flushes(1, 2, 11, 1_600);
    assert_eq!(session.broken(), [Promise::Flush]);
}

#[test]
fn what_was_flushed_does_not_come_to_the_next_run() {
    for (flushed, broken) in [(10, vec![]), (11, vec![Promise::Flush])] {
        let mut session = restarted(4_000);
        session.sends(1, 1, 2, 1, 20, 1_000);
        session.gets(2, 1, (1, 1), 1, 10, 1_001);
        session.gets(2, 2, (1, 1), 11, 20, 5_500);
        session.flushes(1, 2, flushed, 3_000);
        assert_eq!(session.broken(), broken);
        // A later flush is about both runs.
        let mut session = restarted(4_000);
        session.sends(1, 1, 2, 1, 20, 1_000);
        session.gets(2, 1, (1, 1), 1, 10, 1_001);
        session.gets(2, 2, (1, 1), 11, 20, 5_500);
        session.flushes(1, 2, 20, 6_000);
        assert_eq!(session.broken(), []);
    }
}

#[test]
fn what_was_flushed_may_die_unread() {
    let mut session = restarted(4_000);
    session.sends(1, 1, 2, 1, 20, 3_900);
    session.gets(2, 1, (1, 1), 1, 10, 3_901);
    session.flushes(1, 2, 20, 3_950);
    assert_eq!(session.broken(), []);
}

#[test]
fn a_removal_accounts_for_what_it_gives_up() {
    for (counted, broken) in [(5, vec![]), (7, vec![]), (4, vec![Promise::NoLoss])] {
        let mut session = Session::exchange();
        session.sends(1, 1, 2, 11, 15, 1_500);
        session.sends_on(Stream::Urgent, 1, 2, 1, 3, 1_500);
        session.gets_on(Stream::Urgent, 2, 1, 1, 3, 1_501);
        session.removes(1, 2, 1_600, counted, 2_000);
        session.sends(1, 1, 2, 16, 20, 2_100);
        session.gets(2, 1, (1, 1), 16, 20, 2_101);
        session.losses(1, 2, 0, 0, counted);
        assert_eq!(session.broken(), broken, "{counted} counted");
    }
    // A missing message that was sent after the removal is lost.
    let mut session = Session::exchange();
    session.removes(1, 2, 1_600, 5, 2_000);
    session.sends(1, 1, 2, 11, 20, 2_100);
    session.gets(2, 1, (1, 1), 13, 20, 2_101);
    session.losses(1, 2, 0, 0, 5);
    assert_eq!(session.broken(), [Promise::NoLoss]);
    // A missing message is lost, too, if only the recipient has removed the sender.
    let mut session = Session::exchange();
    session.removes(2, 1, 1_600, 5, 2_000);
    session.losses(2, 1, 0, 0, 5);
    session.sends(1, 1, 2, 11, 20, 1_500);
    session.gets(2, 1, (1, 1), 13, 20, 2_101);
    assert_eq!(session.broken(), [Promise::NoLoss]);
}

#[test]
fn a_tail_that_was_removed_was_not_flushed() {
    let mut session = Session::exchange();
    session.sends(1, 1, 2, 11, 15, 1_500);
    session.removes(1, 2, 1_600, 5, 2_000);
    session.losses(1, 2, 0, 0, 5);
    session.flushes(1, 2, 15, 2_200);
    assert_eq!(session.broken(), [], "what was given up need not be waited for");
    session.flushes(1, 2, 15, 1_550);
    assert_eq!(session.broken(), [Promise::Flush]);
}

#[test]
fn removal_and_statistics_say_the_same() {
    let mut session = Session::exchange();
    session.removes(1, 2, 1_600, 5, 2_000);
    session.losses(1, 2, 0, 0, 4);
    assert_eq!(session.broken(), [Promise::Perished]);
}

#[test]
fn a_removed_peer_delivers_nothing_again() {
    for again in [1_500, 2_100] {
        let mut session = Session::exchange();
        session.removes(2, 1, 1_600, 0, 2_000);
        session.losses(2, 1, 0, 0, 0);
        session.gets(2, 1, (1, 1), 6, 10, again);
        session.records.retain(|(_, _, record)| record.kind != Kind::Account);
        assert_eq!(session.broken(), [Promise::NoDuplicate], "{again}");
    }
}

#[test]
fn a_send_to_a_removed_peer_may_be_in_vain() {
    let mut session = Session::exchange();
    session.removes(1, 2, 1_600, 0, 2_000);
    session.losses(1, 2, 0, 0, 0);
    session.events(1, 1, vec![entry(Kind::Unknown, 2, 1_700).with(11, 12)]);
    session.sends(1, 1, 2, 13, 13, 2_100);
    session.gets(2, 1, (1, 1), 13, 13, 2_101);
    assert_eq!(session.broken(), []);
    session.gets(2, 1, (1, 1), 11, 12, 1_701);
    assert!(session.broken().contains(&Promise::FullMeansNotSent));
}

#[test]
fn a_broadcast_during_a_change_may_arrive_or_not() {
    for (out, broken) in [(10, vec![]), (11, vec![]), (12, vec![Promise::Statistics])] {
        let mut session = Session::exchange();
        session.events(1, 1, vec![entry(Kind::Uncertain, 2, 1_600).with(11, 11)]);
        session.events(1, 1, vec![entry(Kind::Account, 2, 9_000).with(out, 10)]);
        assert_eq!(session.broken(), broken);
    }
}

#[test]
fn a_removal_is_no_false_down() {
    let mut session = Session::exchange();
    session.journal.quiet_at = 8_000 * crate::clock::MILLISECOND;
    session.events(2, 1, vec![entry(Kind::Down, 1, 7_001)]);
    session.fault(crate::plan::Kind::Slow, 1, None, 0, 8_000);
    assert_eq!(session.broken(), [Promise::NoFalseDown]);
    session.removes(1, 2, 7_000, 0, 7_100);
    session.losses(1, 2, 0, 0, 0);
    assert_eq!(session.broken(), []);
}
