//! Peers that are configured differently: they accept shorter envelopes, or wait less long for a sign of life.

use std::time::{Duration, Instant};

use cluster::{BROADCAST, Config, DropReason, Envelope, Event, Node, SendError, Server};

use crate::support::{Cluster, PATIENCE, await_event, eventually, receive, send};

const SHORT: u64 = 100_000;

fn starts(cluster: &Cluster, pid: u64, change: impl FnOnce(Config) -> Config) -> Node {
    cluster::start(pid, &change(cluster.config.clone())).unwrap()
}

/// Regression: an envelope that its recipient did not accept broke each new connection, and everything behind it waited
/// for ever.
#[test]
fn what_the_peer_turns_out_not_to_accept_is_dropped_and_the_rest_arrives() {
    for long in [SHORT as usize + 1, 3_000_000] {
        let cluster = Cluster::fixed([1, 2, 3]);
        let mut one = starts(&cluster, 1, |config| config);
        // The limits of both peers are not known yet.
        send(one.outbox(), Envelope::to(2).body("before"));
        send(one.outbox(), Envelope::to([2, 3]).body(vec![7; long]));
        send(one.outbox(), Envelope::to(2).body("behind"));
        let mut two = starts(&cluster, 2, |config| config.with_max_envelope_bytes(SHORT));
        let mut three = starts(&cluster, 3, |config| config);
        assert_eq!([receive(two.inbox()).msg, receive(two.inbox()).msg], ["before", "behind"]);
        assert_eq!(receive(three.inbox()).msg.len(), long);
        let dropped = Event::Dropped { pid: 2, count: 1, reason: DropReason::TooLarge };
        let before = await_event(one.events(), "drop", |event| *event == dropped);
        assert!(!before.iter().any(|event| matches!(event, Event::Down { .. })), "{before:?}");
        one.outbox().flush(PATIENCE).unwrap();
        let row = one.stats().into_iter().find(|row| row.pid == 2).unwrap();
        assert_eq!((row.messages_out, row.acknowledged, row.dropped_too_large, row.dropped()), (3, 2, 1, 1));
    }
}

#[test]
fn what_the_peer_is_known_not_to_accept_comes_back_and_is_taken_once_it_accepts_more() {
    let cluster = Cluster::fixed([1, 2, 3]);
    let mut one = starts(&cluster, 1, |config| config);
    let mut three = starts(&cluster, 3, |config| config);
    // Short enough to be copied into the ring, or too long for that.
    for limit in [1000, SHORT] {
        let mut two = starts(&cluster, 2, |config| config.with_max_envelope_bytes(limit));
        send(one.outbox(), Envelope::to(2).body("are you there?"));
        assert_eq!(receive(two.inbox()).msg, "are you there?");
        await_event(one.events(), "up", |event| matches!(event, Event::Up { pid: 2, .. }));
        let draft = Envelope::to(2).body(vec![7; limit as usize + 1]);
        let error = one.outbox().send(draft.clone()).unwrap_err();
        assert_eq!(error, SendError::TooLarge { envelope: Box::new(draft), limit, pid: Some(2) });
        assert!(error.to_string().contains(&format!("limit of {limit} of 2")), "{error}");
        let claimed = one.outbox().claim(2, limit as usize + 1).map(drop);
        assert!(matches!(claimed, Err(SendError::TooLarge { pid: Some(2), .. })), "{claimed:?}");
        // A clone has new streams, and knows the limit as well. Nobody gets what one of the recipients does not accept.
        let error = one.outbox().clone().send(Envelope::to(BROADCAST).body(vec![7; limit as usize + 1])).unwrap_err();
        assert!(matches!(error, SendError::TooLarge { pid: Some(2), .. }), "{error:?}");
        send(one.outbox(), Envelope::to(3).body(vec![3; limit as usize + 1]));
        assert_eq!(receive(three.inbox()).msg.len(), limit as usize + 1);
        send(one.outbox(), Envelope::to(BROADCAST).body(vec![7; limit as usize]));
        assert_eq!(receive(two.inbox()).msg.len(), limit as usize);
        assert_eq!(receive(three.inbox()).msg.len(), limit as usize);
        two.stop().unwrap();
    }
    let mut two = starts(&cluster, 2, |config| config);
    send(one.outbox(), Envelope::to(2).body("are you there?"));
    assert_eq!(receive(two.inbox()).msg, "are you there?");
    let draft = Envelope::to(2).body(vec![7; 2 * SHORT as usize]);
    eventually("it accepts more", || one.outbox().try_send(draft.clone()).ok());
    assert_eq!(receive(two.inbox()).msg.len(), 2 * SHORT as usize);
}

/// Regression: with a heartbeat every 5 s, and a peer that waits 0.3 s, the link went down and up for ever.
#[test]
fn a_peer_that_waits_less_long_is_sent_heartbeats_more_often() {
    let cluster = Cluster::fixed([1, 2]);
    let mut one = starts(&cluster, 1, |config| config.with_heartbeat_interval_ms(5000).with_peer_timeout_ms(15_000));
    let timeout = Duration::from_millis(300);
    let mut two = starts(&cluster, 2, |config| config.with_heartbeat_interval_ms(100).with_peer_timeout_ms(300));
    send(one.outbox(), Envelope::to(2).body("are you there?"));
    assert_eq!(receive(two.inbox()).msg, "are you there?");
    await_event(two.events(), "up", |event| matches!(event, Event::Up { pid: 1, .. }));
    let watched = Instant::now();
    while watched.elapsed() < 5 * timeout {
        let event = two.events().next_timeout(timeout);
        assert!(event.is_none(), "{event:?} after {:?}", watched.elapsed());
    }
}
