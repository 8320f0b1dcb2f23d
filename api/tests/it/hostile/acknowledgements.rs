//! Who is welcome, and then acknowledges what it did not receive.

use std::io::Write;
use std::time::{Duration, Instant};

use cluster::{Engine, Envelope, Idle, Server};
use cluster_engine::wire::{Grant, Hello, Kind, Lane, Receiving, SegmentHeader, encode_grants};

use super::speech::{await_segment, dial, hear, hello, impersonate, say_hello, segment};
use crate::support::{Cluster, receive, send};

/// Server 1 sends to the attacker, who acknowledges what it likes.
fn false_acknowledgements(say: impl Fn() -> Vec<u8>) {
    let mut cluster = Cluster::new([1, 2, 3]);
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let [mut one, mut two] = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    let mut incarnation = 0;
    for _ in 0..5 {
        incarnation += 1;
        let greeting = Hello { incarnation: [incarnation; 16], ..hello(&cluster.config) };
        let (mut stream, _) = impersonate(&cluster.config, &greeting);
        for id in 0..5 {
            send(one.outbox(), Envelope::to(3).id(id).body(vec![0xFF; 40]));
        }
        send(one.outbox(), Envelope::to(3).body(vec![0xFF; 20_000]));
        // Some of it has come.
        await_segment(&mut stream, &[Kind::Data]);
        stream.write_all(&say()).unwrap();
        for id in 0..5 {
            send(one.outbox(), Envelope::to(3).id(id).body(vec![0xFF; 40]));
        }
        for id in 0..20 {
            send(one.outbox(), Envelope::to(2).id(id));
            assert_eq!(receive(two.inbox()).msg_id, id);
            send(two.outbox(), Envelope::to(1).id(id));
            assert_eq!(receive(one.inbox()).msg_id, id);
        }
    }
    // Counting what is not acknowledged walks over it.
    let begin = Instant::now();
    let _ = one.stop();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let _ = two.stop();
}

fn acknowledge(position: u64, credit: u64) -> Vec<u8> {
    let set = |header: &mut SegmentHeader| {
        header.ack_stream = 0.into();
        header.ack_position = position.into();
        header.ack_credit = credit.into();
    };
    segment(Kind::Heartbeat, set, &[])
}

#[test]
fn an_acknowledgement_of_what_was_not_sent() {
    false_acknowledgements(|| acknowledge(1 << 40, 1 << 41));
    false_acknowledgements(|| acknowledge(u64::MAX, u64::MAX));
    false_acknowledgements(|| {
        segment(
            Kind::Ack,
            |_| (),
            &encode_grants(&[Grant::new(0, Lane::Normal, 1 << 40, 0), Grant::new(77, Lane::Urgent, 5, 5)]),
        )
    });
}

#[test]
fn an_acknowledgement_in_the_middle_of_an_envelope() {
    for position in [1, 8, 16, 24, 33, 60] {
        false_acknowledgements(|| acknowledge(position, 1 << 20));
    }
}

#[test]
fn a_greeting_that_goes_on_in_the_middle_of_an_envelope() {
    let mut cluster = Cluster::new([1, 2, 3]);
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let [mut one, mut two] = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    let (mut stream, welcome) = impersonate(&cluster.config, &hello(&cluster.config));
    for id in 0..5 {
        send(one.outbox(), Envelope::to(3).id(id).body(vec![0xFF; 40]));
    }
    send(one.outbox(), Envelope::to(3).body(vec![0xFF; 20_000]));
    await_segment(&mut stream, &[Kind::Data]);
    drop(stream);
    for position in [1, 8, 20, 40, 64, 8] {
        let receiving = vec![Receiving::new(0, position)];
        let known_incarnation = welcome.incarnation;
        let greeting = Hello { receiving, known_incarnation, ..hello(&cluster.config) };
        let mut stream = dial(cluster.config.address_of(1).unwrap());
        stream.write_all(&say_hello(&greeting)).unwrap();
        drop(hear(&mut stream));
        for id in 0..20 {
            send(one.outbox(), Envelope::to(2).id(id));
            assert_eq!(receive(two.inbox()).msg_id, id);
            send(two.outbox(), Envelope::to(1).id(id));
            assert_eq!(receive(one.inbox()).msg_id, id);
        }
    }
    let begin = Instant::now();
    let _ = one.stop();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}
