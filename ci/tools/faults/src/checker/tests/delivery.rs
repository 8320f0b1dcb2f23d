use super::session::{Session, entry};
use crate::checker::report::Account;
use crate::checker::violation::Promise;
use crate::clock::MILLISECOND;
use crate::journal::End;
use crate::log::Kind;
use crate::plan::Kind::{Kill, LinkDown, OneWay, Slow};

/// Returns a session in which server 2 runs from 0 to 4 s, and again from 5 s; server 1 runs all the time.
fn restarted(end: End) -> Session {
    let mut session = Session::empty();
    session.journal.quiet_at = 20_000 * MILLISECOND;
    session.lives(1, 1, 0, 25_000, End::Stopped);
    session.lives(2, 1, 0, 4_000, end);
    session.lives(2, 2, 5_000, 25_000, End::Stopped);
    session.fault(Kill, 2, None, 0, 20_000);
    session.events(1, 1, vec![entry(Kind::Up, 2, 500)]);
    session.sends(2, 2, 1, 1, 1, 5_500);
    session.gets(1, 1, (2, 2), 1, 1, 5_500);
    session
}

#[test]
fn an_exchange_is_right() {
    let session = Session::exchange();
    let report = session.report();
    assert_eq!((session.broken(), report.accepted, report.received), (vec![], 20, 20));
    assert_eq!(report.account, Account { arrived: 20, ..Account::default() });
}

#[test]
fn gaps_are_lost_unless_the_send_gave_them_back() {
    let mut session = Session::exchange();
    session.sends(1, 1, 2, 11, 20, 2_000);
    session.gets(2, 1, (1, 1), 15, 20, 2_001);
    assert_eq!(session.broken(), [Promise::NoLoss]);

    let mut session = Session::exchange();
    session.events(1, 1, vec![entry(Kind::Full, 2, 2_000).with(11, 14)]);
    session.sends(1, 1, 2, 15, 20, 2_000);
    session.gets(2, 1, (1, 1), 15, 20, 2_001);
    assert_eq!(session.broken(), []);
}

#[test]
fn the_tail_is_lost_unless_the_stop_reports_it() {
    let mut session = Session::exchange();
    session.sends(1, 1, 2, 11, 13, 2_000);
    assert_eq!(session.broken(), [Promise::NoLoss]);
    // The stop comes before the end of the session, with a fault that keeps messages from flowing.
    session.journal.quiet_at = 9_500 * MILLISECOND;
    session.fault(Slow, 2, None, 0, 9_500);
    session.events(1, 1, vec![entry(Kind::Undelivered, 2, 9_000).with(2, 10)]);
    assert_eq!(session.broken(), [Promise::NoLoss]);
    session.events(1, 1, vec![entry(Kind::Undelivered, 2, 9_000).with(1, 10)]);
    assert_eq!(session.broken(), []);
}

#[test]
fn the_tail_dies_with_its_sender_and_a_gap_does_not() {
    let mut session = Session::empty();
    session.lives(1, 1, 0, 3_000, End::Killed);
    session.lives(2, 1, 0, 9_000, End::Stopped);
    session.sends(1, 1, 2, 1, 30, 1_000);
    session.gets(2, 1, (1, 1), 1, 10, 1_001);
    assert_eq!(session.broken(), []);
    assert_eq!(session.report().account, Account { arrived: 10, died_with_sender: 20, ..Account::default() });
    session.gets(2, 1, (1, 1), 12, 12, 1_001);
    assert_eq!(session.broken(), [Promise::NoLoss]);
}

#[test]
fn nothing_arrives_twice_or_late() {
    let mut session = Session::exchange();
    session.gets(2, 1, (1, 1), 10, 10, 2_000);
    assert_eq!(session.broken(), [Promise::NoDuplicate]);

    let mut session = Session::empty();
    session.lives(1, 1, 0, 9_000, End::Stopped);
    session.lives(2, 1, 0, 9_000, End::Stopped);
    session.events(1, 1, vec![entry(Kind::Full, 2, 900).with(2, 2)]);
    session.sends(1, 1, 2, 1, 1, 1_000);
    session.sends(1, 1, 2, 3, 5, 1_000);
    for (first, last) in [(1, 1), (4, 5), (3, 3)] {
        session.gets(2, 1, (1, 1), first, last, 1_001);
    }
    assert_eq!(session.broken(), [Promise::NoLoss, Promise::Order]);
}

#[test]
fn nothing_arrives_that_was_not_sent() {
    let mut session = Session::exchange();
    session.gets(2, 1, (1, 1), 11, 200, 2_000);
    assert_eq!(session.broken(), [Promise::OnlyWhatWasSent]);

    let mut session = Session::exchange();
    session.gets(2, 1, (1, 2), 1, 1, 2_000);
    assert_eq!(session.broken(), [Promise::OnlyWhatWasSent], "from a run that there never was");

    let mut session = Session::exchange();
    session.events(1, 1, vec![entry(Kind::Full, 2, 1_500).with(11, 11)]);
    session.gets(2, 1, (1, 1), 11, 11, 2_000);
    assert_eq!(session.broken(), [Promise::FullMeansNotSent]);
}

#[test]
fn what_a_dead_receiver_had_acknowledged_dies_with_it() {
    let mut session = restarted(End::Killed);
    session.sends(1, 1, 2, 1, 20, 3_900);
    session.gets(2, 1, (1, 1), 1, 10, 3_901);
    session.gets(2, 2, (1, 1), 16, 20, 5_500);
    assert_eq!(session.broken(), [], "11 to 15 were in the inbox");
    assert_eq!(session.report().account, Account { arrived: 16, died_with_receiver: 5, ..Account::default() });

    let mut session = restarted(End::Killed);
    session.sends(1, 1, 2, 1, 10, 1_000);
    session.gets(2, 1, (1, 1), 1, 10, 1_001);
    session.sends(1, 1, 2, 11, 20, 4_500);
    session.gets(2, 2, (1, 1), 16, 20, 5_500);
    assert_eq!(session.broken(), [Promise::NoLoss], "11 to 15 were accepted when it was dead already");
}

#[test]
fn what_cannot_have_arrived_did_not_die_with_the_receiver() {
    for (cut, broken) in
        [(None, vec![]), (Some(LinkDown), vec![Promise::NoLoss]), (Some(OneWay), vec![Promise::NoLoss])]
    {
        let mut session = restarted(End::Killed);
        session.sends(1, 1, 2, 1, 10, 1_000);
        session.gets(2, 1, (1, 1), 1, 10, 1_001);
        session.sends(1, 1, 2, 11, 20, 3_900);
        session.gets(2, 2, (1, 1), 16, 20, 5_500);
        if let Some(kind) = cut {
            session.fault(kind, 2, (kind == OneWay).then_some(1), 3_800, 4_100);
        }
        assert_eq!(session.broken(), broken, "{cut:?}");
    }
}

#[test]
fn what_must_have_been_read_did_not_die_with_the_receiver() {
    for (slow, broken) in [(false, vec![Promise::NoLoss]), (true, vec![])] {
        let mut session = restarted(End::Killed);
        session.sends(1, 1, 2, 1, 20, 1_000);
        session.gets(2, 1, (1, 1), 1, 10, 1_001);
        session.gets(2, 2, (1, 1), 16, 20, 5_500);
        if slow {
            session.fault(Slow, 2, None, 900, 3_500);
        }
        assert_eq!(session.broken(), broken);
    }
}

#[test]
fn a_receiver_that_was_never_met_took_nothing_with_it() {
    let mut session = restarted(End::Killed);
    session.sends(1, 1, 2, 1, 20, 3_900);
    session.gets(2, 2, (1, 1), 16, 20, 5_500);
    assert_eq!(session.broken(), []);
    session.records.retain(|(_, _, record)| record.kind != Kind::Up);
    assert_eq!(session.broken(), [Promise::NoLoss]);
}

#[test]
fn a_receiver_that_stops_reads_what_it_acknowledged() {
    let mut session = restarted(End::Stopped);
    session.sends(1, 1, 2, 1, 20, 1_000);
    session.gets(2, 1, (1, 1), 1, 10, 1_001);
    session.gets(2, 2, (1, 1), 16, 20, 5_500);
    assert_eq!(session.broken(), [Promise::NoLoss]);
}

#[test]
fn the_next_run_may_get_again_what_the_last_one_had() {
    let mut session = restarted(End::Killed);
    session.sends(1, 1, 2, 1, 20, 1_000);
    session.gets(2, 1, (1, 1), 1, 10, 1_001);
    session.gets(2, 2, (1, 1), 5, 20, 5_500);
    assert_eq!(session.broken(), []);
    assert_eq!(session.report().account, Account { arrived: 21, ..Account::default() });
}
