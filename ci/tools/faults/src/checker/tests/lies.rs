//! Tests of lies, and of messages that arrive again.

use super::session::{Session, entry};
use crate::checker::report::Account;
use crate::checker::violation::Promise;
use crate::clock::MILLISECOND;
use crate::journal::{End, Lost};
use crate::log::Kind;
use crate::node::BEST_EFFORT;
use crate::payload::Stream;
use crate::plan::{self, Lie};

/// Returns a session in which server 1 has sent 20 messages, and 11 to 20 arrive twice.
fn comes_again() -> Session {
    let mut session = Session::exchange();
    session.journal.quiet_at = 5_000 * MILLISECOND;
    session.sends(1, 1, 2, 11, 20, 3_000);
    session.gets(2, 1, (1, 1), 11, 20, 3_001);
    session.gets(2, 1, (1, 1), 11, 20, 3_200);
    session
}

#[test]
fn what_they_began_anew_with_comes_again_once() {
    let mut session = comes_again();
    assert_eq!(session.broken(), [Promise::NoDuplicate]);
    session.events(2, 1, vec![entry(Kind::Reset, 1, 3_190)]);
    session.lie(Lie::SendingAhead, 3_100);
    assert_eq!(session.broken(), []);
    assert_eq!(session.report().account, Account { arrived: 30, ..Account::default() });
    session.gets(2, 1, (1, 1), 11, 20, 3_300);
    assert_eq!(session.broken(), [Promise::NoDuplicate]);
}

#[test]
fn what_was_acknowledged_before_the_lie_does_not_come_again() {
    for (flushed, time, broken) in [(10, 3_050, vec![]), (11, 3_050, vec![Promise::NoDuplicate]), (11, 3_150, vec![])] {
        let mut session = comes_again();
        session.events(2, 1, vec![entry(Kind::Reset, 1, 3_190)]);
        session.lie(Lie::KnownIncarnation, 3_100);
        session.flushes(1, 2, flushed, time);
        assert_eq!(session.broken(), broken);
    }
}

#[test]
fn nobody_begins_anew_without_a_lie_about_positions() {
    for (lie, time, broken) in [
        (None, 0, vec![Promise::Resets]),
        (Some(Lie::Position), 3_100, vec![Promise::Resets]),
        (Some(Lie::Skip), 3_300, vec![Promise::Resets]),
        (Some(Lie::Skip), 3_100, vec![]),
    ] {
        let mut session = Session::exchange();
        session.journal.quiet_at = 5_000 * MILLISECOND;
        session.events(1, 1, vec![entry(Kind::Reset, 2, 3_200)]);
        if let Some(lie) = lie {
            session.lie(lie, time);
        }
        assert_eq!(session.broken(), broken, "{lie:?}");
    }
    // A lie to another pair is no reason for a reset, nor is an old one, unless a fault is between them.
    let mut session = Session::exchange();
    session.lie(Lie::ReceivingAhead, 1_000).to = 3;
    session.lie(Lie::ReceivingAhead, 2_000);
    session.events(1, 1, vec![entry(Kind::Reset, 2, 8_000)]);
    assert_eq!(session.broken(), [Promise::Resets]);
    session.fault(plan::Kind::LinkDown, 2, None, 2_100, 7_900);
    assert_eq!(session.broken(), []);
}

#[test]
fn what_stands_behind_a_broken_frame_may_be_missing_and_is_counted() {
    let session = |lost: std::ops::RangeInclusive<u64>, counted: Option<u64>| {
        let mut session = Session::exchange();
        session.journal.quiet_at = 5_000 * MILLISECOND;
        session.sends(1, 1, 2, 11, 20, 3_000);
        session.gets(2, 1, (1, 1), 16, 20, 3_001);
        session.fault(plan::Kind::Lie, 1, Some(2), 2_900, 4_400);
        let lie = session.lie(Lie::Frame, 3_000);
        let stream = Stream::Normal.code();
        (lie.lost_bytes, lie.lost) = (280, lost.map(|sequence| Lost { pid: 1, run: 1, stream, sequence }).collect());
        let down = counted.map(|bytes| entry(Kind::Down, 1, 3_100).with(4, bytes));
        session.events(2, 1, down.into_iter().collect());
        session
    };
    let whole = session(11..=15, Some(280));
    assert_eq!(whole.broken(), []);
    assert_eq!(whole.report().account, Account { arrived: 25, behind_lies: 5, ..Account::default() });
    assert_eq!(session(12..=15, Some(280)).broken(), [Promise::NoLoss]);
    assert_eq!(session(11..=15, Some(272)).broken(), [Promise::LiesNoticed]);
    assert_eq!(session(11..=15, None).broken(), [Promise::LiesNoticed]);
    // The session may have been over before the frame was read.
    let mut reset = session(11..=15, None);
    reset.fault(plan::Kind::Reset, 1, Some(2), 3_010, 3_100);
    assert_eq!(reset.broken(), []);
    // Messages that arrive nevertheless are not missing, and need not be counted.
    let mut sent_again = session(11..=13, None);
    sent_again.records.retain(|(_, _, record)| record.kind != Kind::Received || record.first != 16);
    sent_again.gets(2, 1, (1, 1), 11, 20, 3_300);
    assert_eq!(sent_again.broken(), []);
}

#[test]
fn a_lie_ends_its_connection() {
    for (ended, broken) in
        [(Some(3_900), vec![]), (Some(4_100), vec![Promise::LiesNoticed]), (None, vec![Promise::LiesNoticed])]
    {
        let mut session = Session::exchange();
        session.journal.quiet_at = 5_000 * MILLISECOND;
        session.lie(Lie::AckAboveSent, 3_000).ended = ended.map(|ended| ended * MILLISECOND);
        assert_eq!(session.broken(), broken, "{ended:?}");
        // A server that does not run or read notices nothing.
        session.fault(plan::Kind::Stop, 2, None, 3_500, 3_600);
        assert_eq!(session.broken(), []);
    }
}

#[test]
fn a_lie_that_is_noticed_late_is_a_reason_then() {
    let mut session = Session::exchange();
    session.journal.quiet_at = 5_000 * MILLISECOND;
    session.events(2, 1, vec![entry(Kind::Down, 1, 4_500)]);
    assert_eq!(session.broken(), [Promise::NoFalseDown]);
    session.fault(plan::Kind::Slow, 2, None, 1_000, 4_490);
    assert_eq!(session.broken(), [Promise::NoFalseDown]);
    session.lie(Lie::Frame, 1_100).ended = Some(4_500 * MILLISECOND);
    assert_eq!(session.broken(), []);
}

#[test]
fn best_effort_may_have_come_before_they_began_anew() {
    let mut session = Session::exchange();
    session.journal.quiet_at = 5_000 * MILLISECOND;
    session.sends_on(Stream::Once, 1, 2, 1, 5, 3_000);
    session.gets_on(Stream::Once, 2, 1, 1, 5, 3_001);
    session.losses(1, 2, 0, 2, 0);
    assert_eq!((session.broken(), BEST_EFFORT), (vec![Promise::Perished], 2));
    session.lie(Lie::SendingAhead, 3_100);
    session.events(2, 1, vec![entry(Kind::Reset, 1, 3_200)]);
    assert_eq!(session.broken(), []);
}

#[test]
fn a_dead_server_sends_nothing_to_the_next_run() {
    for (ended, broken) in [(4_000, vec![Promise::OnlyWhatWasSent]), (5_500, vec![])] {
        let mut session = Session::empty();
        session.journal.quiet_at = 20_000 * MILLISECOND;
        session.lives(1, 1, 0, ended, End::Killed);
        session.lives(2, 1, 0, 4_500, End::Killed);
        session.lives(2, 2, 5_000, 25_000, End::Stopped);
        session.sends(1, 1, 2, 1, 10, 3_000);
        session.gets(2, 2, (1, 1), 1, 10, 5_200);
        assert_eq!(session.broken(), broken);
    }
}

#[test]
fn what_was_flushed_and_read_does_not_come_to_the_next_run() {
    for (flushed, broken) in [(4, vec![]), (5, vec![Promise::Flush])] {
        let mut session = Session::empty();
        session.journal.quiet_at = 20_000 * MILLISECOND;
        session.fault(plan::Kind::Kill, 2, None, 0, 20_000);
        session.lives(1, 1, 0, 25_000, End::Stopped);
        session.lives(2, 1, 0, 4_500, End::Killed);
        session.lives(2, 2, 5_000, 25_000, End::Stopped);
        session.sends(2, 2, 1, 1, 1, 5_500);
        session.gets(1, 1, (2, 2), 1, 1, 5_500);
        session.sends(1, 1, 2, 1, 10, 3_000);
        session.gets(2, 1, (1, 1), 1, 10, 3_001);
        session.gets(2, 2, (1, 1), 5, 10, 5_200);
        session.flushes(1, 2, flushed, 4_000);
        assert_eq!(session.broken(), broken);
    }
}

#[test]
fn a_replay_is_no_reason_for_anything() {
    let mut session = Session::exchange();
    session.journal.quiet_at = 5_000 * MILLISECOND;
    session.fault(plan::Kind::Replay, 1, Some(2), 3_000, 6_000);
    assert_eq!(session.broken(), []);
    session.events(1, 1, vec![entry(Kind::Down, 2, 3_500)]);
    assert_eq!(session.broken(), [Promise::NoFalseDown]);
}
