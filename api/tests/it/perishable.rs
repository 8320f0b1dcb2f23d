//! Envelopes that may be dropped, and the account of them.

use std::thread;
use std::time::{Duration, Instant};

use cluster::{BROADCAST, Config, DropReason, Envelope, Event, SendError, Server};

use crate::support::{Cluster, PATIENCE, await_event, eventually, pair, receive, send};

#[test]
fn what_is_stale_when_the_peer_comes_is_dropped_and_counted() {
    let mut cluster = Cluster::fixed([1, 2]);
    let mut one = cluster.start(1);
    let begin = Instant::now();
    let ttl = Duration::from_millis(50);
    send(one.outbox(), Envelope::to(2).body("first"));
    for round in 0..10u8 {
        send(one.outbox(), Envelope::to(2).body([round]).ttl(ttl));
        send(one.outbox(), Envelope::to(BROADCAST).body(vec![round; 50_000]).ttl(ttl).best_effort());
    }
    send(one.outbox(), Envelope::to(2).body("middle"));
    send(one.outbox(), Envelope::to(2).body("fresh").ttl(Duration::from_secs(3600)));
    send(one.outbox(), Envelope::to(2).body("never sent before").best_effort());
    // Time has to pass: that is what is tested.
    thread::sleep((ttl * 2).saturating_sub(begin.elapsed()));
    let mut two = cluster.start(2);
    for expected in ["first", "middle", "fresh", "never sent before"] {
        assert_eq!(receive(two.inbox()).msg, expected);
    }
    let mut dropped = 0;
    await_event(one.events(), "the account", |event| {
        if let Event::Dropped { pid: 2, count, reason: DropReason::Expired } = event {
            dropped += count;
        }
        dropped == 20
    });
    let row = one.stats()[0];
    assert_eq!((row.messages_out, row.dropped_expired, row.dropped_best_effort), (24, 20, 0));
    assert_eq!(two.stats()[0].messages_in, 4);
    one.stop().unwrap();
}

/// Heartbeats to a peer that is away must not fill its outbox for ever, be it that some of them were on their way when it left.
#[test]
fn what_is_stale_makes_room_while_the_peer_is_away() {
    let mut cluster = Cluster::fixed([1, 2]).with(|config| config.with_outbox_bytes(Config::MIN_OUTBOX_BYTES));
    let [mut one, mut two] = cluster.start_each([1, 2]);
    let ttl = Duration::from_millis(20);
    send(one.outbox(), Envelope::to(2).id(0).body("a link"));
    assert_eq!(receive(two.inbox()).msg_id, 0);
    drop(two);
    let (mut sent, mut rounds) = (1, 0);
    // Several times what the outbox holds.
    while rounds < 3 {
        let heartbeat = Envelope::to(2).id(sent).body(vec![7; 1000]).ttl(ttl);
        match one.outbox().try_send(if sent % 2 == 0 { heartbeat } else { heartbeat.best_effort() }) {
            Ok(()) => sent += 1,
            Err(SendError::Full { .. }) => {
                rounds += 1;
                let mut outbox = one.outbox().clone();
                outbox.send(Envelope::to(2).body("another stream").best_effort().ttl(ttl)).unwrap();
                eventually("room", || one.outbox().try_claim(2, 1000).is_ok().then_some(()));
            }
            Err(error) => panic!("{error}"),
        }
    }
    send(one.outbox(), Envelope::to(2).id(-1).body("fresh"));
    let row = one.stats()[0];
    assert!(row.dropped_expired + row.dropped_best_effort > 3 * 50, "{row:?}");
    assert_eq!(row.messages_out, row.acknowledged + row.in_flight + row.dropped(), "{row:?}");
    let mut two = cluster.start(2);
    assert_eq!(receive(two.inbox()).msg_id, -1);
    one.outbox().flush(PATIENCE).unwrap();
    let row = one.stats()[0];
    assert_eq!((row.messages_out, row.in_flight, row.bytes_held), (row.acknowledged + row.dropped(), 0, 0), "{row:?}");
    assert_eq!(row.acknowledged, 2, "{row:?}");
}

/// Gaps take no room at the receiver, however much of the window they span.
#[test]
fn more_than_a_window_of_stale_envelopes_is_passed_over() {
    let mut cluster = Cluster::fixed([1, 2]).with(|config| config.with_inbox_bytes(256 << 10));
    let mut one = cluster.start(1);
    let begin = Instant::now();
    let ttl = Duration::from_millis(20);
    for _ in 0..200 {
        send(one.outbox(), Envelope::to(2).body(vec![7; 20_000]).ttl(ttl));
    }
    send(one.outbox(), Envelope::to(2).body("behind"));
    thread::sleep((ttl * 2).saturating_sub(begin.elapsed()));
    let mut two = cluster.start(2);
    assert_eq!(receive(two.inbox()).msg, "behind");
    for _ in 0..100 {
        send(one.outbox(), Envelope::to(2).body(vec![7; 20_000]));
        assert_eq!(receive(two.inbox()).msg.len(), 20_000);
    }
    eventually("the account", || (one.stats()[0].dropped_expired == 200).then_some(()));
}

#[test]
fn what_is_in_time_arrives_in_order_with_all_others() {
    let [mut one, mut two] = pair();
    for number in 0..2000i64 {
        let draft = Envelope::to(2).id(number).body("message");
        let draft = match number % 4 {
            0 => draft.ttl(Duration::from_secs(60)),
            1 => draft.best_effort(),
            2 => draft.best_effort().ttl(Duration::from_secs(60)),
            _ => draft,
        };
        send(one.outbox(), draft);
    }
    for number in 0..2000 {
        assert_eq!(receive(two.inbox()).msg_id, number);
    }
    one.stop().unwrap();
}
