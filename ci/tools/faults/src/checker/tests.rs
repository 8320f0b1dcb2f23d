//! Logs written by hand: correct ones pass, and each broken promise is found.

mod delivery;
mod lies;
mod liveness;
mod outcomes;
mod session;

use super::violation::Promise;
use crate::clock::SECOND;
use crate::log::Kind;
use session::{Session, entry};

#[test]
fn every_promise_can_be_broken() {
    // The promises about delivery and time have tests of their own.
    let entries = [
        (entry(Kind::Memory, 0, 5_000).with(1 << 40, 0), Promise::Memory),
        (entry(Kind::Stopped, 0, 9_000).with(3 * SECOND, 0), Promise::StopInTime),
        (entry(Kind::Corrupt, 2, 5_000).with(80, 0), Promise::Intact),
        (entry(Kind::GivenBack, 2, 5_000).with(50, 50), Promise::OnlyFull),
        (entry(Kind::Account, 2, 9_000).with(11, 10), Promise::Statistics),
        (entry(Kind::Account, 2, 9_000).with(10, 11), Promise::Statistics),
        (entry(Kind::Undelivered, 2, 9_000).with(1, 100), Promise::AllDelivered),
        (entry(Kind::Misaddressed, 2, 5_000).with(50, 50), Promise::Membership),
        (entry(Kind::Uninvited, 2, 5_000).with(5, 0), Promise::Membership),
    ];
    for (record, promise) in entries {
        let mut session = Session::exchange();
        session.events(1, 1, vec![record]);
        assert_eq!(session.broken(), [promise]);
    }
}

#[test]
fn processes_neither_crash_nor_complain() {
    let mut session = Session::exchange();
    session.crash(2, 1, 9_000);
    assert_eq!(session.broken(), [Promise::NoCrash]);
    let mut session = Session::exchange();
    session.journal.complaints.push("1: a thread panicked".to_owned());
    assert_eq!(session.broken(), [Promise::NoComplaint]);
}

#[test]
fn a_server_that_leaves_its_inbox_unread_is_noticed() {
    let mut session = Session::exchange();
    session.records.retain(|(_, _, record)| record.kind != Kind::Drained);
    assert_eq!(session.broken(), [Promise::NoCrash, Promise::NoCrash]);
}

#[test]
fn restarts_are_told_once_and_before_the_peer_is_up() {
    let up = |incarnation| entry(Kind::Up, 2, 2_000).with(incarnation, 0);
    let restarted = |incarnation| entry(Kind::Restarted, 2, 2_000).with(incarnation, 0);
    for (events, broken) in [
        (vec![up(1), up(1), restarted(2), up(2), up(2)], vec![]),
        (vec![up(1), up(2)], vec![Promise::Restarts]),
        (vec![up(1), up(2), restarted(2)], vec![Promise::Restarts; 2]),
        (vec![up(1), restarted(1), up(1)], vec![Promise::Restarts]),
        (vec![up(1), entry(Kind::RemovedEvent, 2, 2_000), up(2)], vec![]),
        (vec![up(1), restarted(2), restarted(3), up(3), up(2)], vec![Promise::Restarts]),
    ] {
        let mut session = Session::exchange();
        session.events(1, 1, events);
        assert_eq!(session.broken(), broken);
    }
}
