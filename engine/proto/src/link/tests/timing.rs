//! Tests of times: when links dial, when heartbeats are due, and when a peer counts as silent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Link, Local, State, Want};
use super::greeting::{confirm, dial, meet};
use crate::batch::Batch;
use crate::payload::Body;
use crate::stream::stream;
use crate::testing::local;
use crate::time::Time;
use crate::wire::Hello;

const MS: Duration = Duration::from_millis(1);

fn at(milliseconds: u32) -> Time {
    Time::default() + milliseconds * MS
}

/// Makes a link with an envelope to send.
fn link_with_need(pid: u64, peer: u64, eager: bool) -> Link {
    let mut link = Link::new(Arc::new(Local { eager, ..local(pid) }), peer);
    let (mut writer, reader) = stream(0, 1 << 16, 0).unwrap();
    writer.push(1, &Body::from(&b"a message"[..])).expect("there is room");
    link.open(reader);
    link
}

/// Makes a link that a peer has dialed and confirmed.
fn accepted(pid: u64, peer: u64, now: Time) -> Link {
    let mut link = Link::new(Arc::new(local(pid)), peer);
    let mut dialer = Link::new(Arc::new(local(peer)), pid);
    meet(&mut link, &dial(&mut dialer), now);
    link.transmit(now, &mut Batch::default());
    link.take_notices();
    link
}

#[test]
fn the_higher_pid_leaves_it_to_the_lower_one_to_dial_where_both_want_to() {
    for (pid, eager, many_dials, waits) in
        [(100, false, true, false), (300, false, false, false), (300, false, true, true), (300, true, false, true)]
    {
        let mut link = link_with_need(pid, 200, eager);
        assert_eq!(link.wants(at(1), many_dials) == Want::Nothing, waits, "{pid}, {eager}, {many_dials}");
        if waits {
            assert_eq!((link.deadline(), link.wants(at(50), many_dials)), (Some(at(51)), Want::Nothing));
            assert_eq!(link.wants(at(51), many_dials), Want::Dial);
        }
        assert_eq!((link.wants(at(60), many_dials), link.state()), (Want::Dial, State::Idle), "until it is dialed");
        link.dials(at(60));
        assert_eq!((link.wants(at(60), many_dials), link.state()), (Want::Nothing, State::Dialing));
    }
}

#[test]
fn links_that_sent_something_at_once_are_not_all_due_at_once() {
    let now = at(1000);
    let interval = local(1).heartbeat_interval;
    let due: BTreeSet<Time> = (1..201).map(|peer| accepted(1000, peer, now).next_heartbeat()).collect();
    let (first, last) = (*due.first().expect("many"), *due.last().expect("many"));
    assert!(first >= now + interval * 7 / 8 && last <= now + interval * 5 / 4, "{first:?} to {last:?}");
    assert!(due.len() >= 3, "{due:?}");
}

#[test]
fn a_heartbeat_is_answered_if_the_own_one_is_due_soon() {
    let mut link = accepted(1000, 1, at(1000));
    let mut batch = Batch::default();
    assert!(link.transmit_heartbeat(at(1100), true, &mut batch) && batch.is_empty(), "it is not due for long");
    assert!(link.transmit_heartbeat(at(1350), false, &mut batch) && batch.is_empty(), "nor due by itself");
    assert!(link.transmit_heartbeat(at(1350), true, &mut batch));
    assert_eq!(batch.segments(), 1);
    assert!(link.next_heartbeat() >= at(1350) + local(1).heartbeat_interval * 7 / 8);
}

#[test]
fn a_peer_is_silent_when_everything_that_had_arrived_was_read() {
    let mut link = accepted(1000, 1, at(1000));
    link.timeout(at(9000), at(2499));
    assert_eq!(link.state(), State::Up, "what came until 2.5 s may not be read yet");
    link.timeout(at(9000), at(2500));
    assert_eq!((link.state(), link.wants(at(9000), false)), (State::Waiting, Want::Hangup));
}

/// While a dialer has time to confirm, the acceptor does not dial: of two connections one would be closed. Recorded
/// greetings do not prolong this time.
#[test]
fn a_dialer_that_was_welcomed_keeps_the_acceptor_from_dialing_for_five_seconds() {
    let mut link = link_with_need(100, 1, true);
    let hello = |incarnation| Hello { incarnation: [incarnation; 16], ..dial(&mut Link::new(Arc::new(local(1)), 100)) };
    assert!(link.greeted(&hello(1), at(1000)).is_ok());
    assert_eq!((link.wants(at(2000), false), link.deadline()), (Want::Nothing, Some(at(6000))));
    for incarnation in 2..40 {
        let now = at(2000 + 100 * u32::from(incarnation));
        assert!(link.greeted(&hello(incarnation), now).is_ok());
        link.unconfirmed(now);
    }
    assert_eq!((link.wants(at(5999), false), link.wants(at(6000), false)), (Want::Nothing, Want::Dial));
    // Nobody is left who may confirm.
    link.dials(at(6000));
    link.dial_failed(at(6000));
    link.unconfirmed(at(6000));
    assert!(link.deadline().is_some_and(|deadline| deadline < at(6100)));
}

/// Regression: for a peer with a timeout of 1.25 s, a server with a heartbeat interval of 5 s went down and up for
/// ever.
#[test]
fn heartbeats_are_sent_as_often_as_the_peer_timeout_asks() {
    let patient = Local { heartbeat_interval: 5000 * MS, peer_timeout: 15_000 * MS, ..local(1000) };
    for (peer_timeout, most) in [(1250 * MS, 625 * MS), (60_000 * MS, 6250 * MS), (MS, 2 * MS)] {
        let mut link = Link::new(Arc::new(patient.clone()), 1);
        let hasty = Local { heartbeat_interval: peer_timeout / 3, peer_timeout, ..local(1) };
        let mut dialer = Link::new(Arc::new(hasty), 1000);
        let welcome = link.greeted(&dial(&mut dialer), at(1000)).expect("welcomed");
        assert!(welcome.heartbeat <= most, "{:?} for a timeout of {peer_timeout:?}", welcome.heartbeat);
        confirm(&mut link, &welcome, at(1001));
        link.transmit(at(1001), &mut Batch::default());
        let pause = link.next_heartbeat().since(at(1001));
        assert!(pause <= most, "{pause:?} for a timeout of {peer_timeout:?}");
    }
}
