//! Back-pressure: the smallest rings, readers that are slow, lanes that fill up.

use std::thread;
use std::time::Duration;

use cluster::{Config, Envelope, Event, Inbox, SendError, Server};
use fastrand::Rng;

use crate::support::{Cluster, PATIENCE, assert_same, eventually, message, random_of_test, receive, send};

fn tiny() -> Cluster {
    Cluster::new([1, 2])
        .with(|config| config.with_inbox_bytes(Config::MIN_INBOX_BYTES).with_outbox_bytes(Config::MIN_OUTBOX_BYTES))
}

/// Takes what is there in one of the ways there are.
fn take(inbox: &mut Inbox, rng: &mut Rng, each: &mut impl FnMut(i64, &[u8])) {
    match rng.u64(..5) {
        0 => {
            let envelope = receive(inbox);
            each(envelope.msg_id, &envelope.msg);
        }
        1 => {
            if let Ok(envelope) = inbox.try_recv() {
                each(envelope.msg_id, &envelope.msg);
            }
        }
        2 => drop(inbox.drain(|envelope| each(envelope.msg_id, envelope.msg))),
        3 => {
            for _ in 0..rng.u64(..20) {
                if let Ok(envelope) = inbox.try_recv() {
                    each(envelope.msg_id, &envelope.msg);
                }
            }
        }
        _ => assert_ne!(inbox.drain_wait(Some(PATIENCE), |envelope| each(envelope.msg_id, envelope.msg)), 0),
    }
    if rng.u64(..50) == 0 {
        // A reader that has other work to do.
        thread::sleep(Duration::from_millis(rng.u64(..5)));
    }
}

fn exchange(test: &str, count: i64, size: impl Fn(&mut Rng) -> usize + Send + Clone + 'static) {
    let mut rng = random_of_test(test);
    let [mut one, mut two] = tiny().start_each([1, 2]);
    let mut outbox = one.outbox().clone();
    let (mut how, mut sending, mut expected) = (rng.fork(), rng.clone(), rng);
    let sized = size.clone();
    let sender = thread::spawn(move || {
        for id in 0..count {
            let body = message(id as u64, sized(&mut sending));
            send(&mut outbox, Envelope::to(2).id(id).body(body));
        }
    });
    let mut next = 0;
    while next < count {
        take(two.inbox(), &mut how, &mut |id, found| {
            assert_eq!(id, next);
            assert_same(found, &message(id as u64, size(&mut expected)), &format!("message {id}"));
            next += 1;
        });
    }
    sender.join().unwrap();
    assert!(two.inbox().try_recv().is_err());
}

#[test]
fn a_clone_for_each_envelope_to_a_reader_that_does_not_read() {
    let [mut one, mut two] = tiny().start_each([1, 2]);
    let (mut taken, mut full) = (0, 0);
    while full < 1000 {
        match one.outbox().clone().try_send(Envelope::to(2).id(taken).body(vec![7; 1000])) {
            Ok(()) => taken += 1,
            Err(SendError::Full { .. }) => full += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let room = 2 * (Config::MIN_INBOX_BYTES + Config::MIN_OUTBOX_BYTES) as i64;
    assert!(taken * 1000 < room, "{taken} envelopes of 1000 bytes, as if each clone had a window of its own");
    for id in 0..taken {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
    while let Some(event) = one.events().try_next() {
        assert!(!matches!(event, Event::Down { .. }), "a slow reader is no reason to disconnect: {event:?}");
    }
}

/// Regression: each stream had a window of its own. So many clones filled an inbox that nobody read, and then a correct
/// peer was accused and refused.
#[test]
fn many_clones_that_come_and_go_to_a_reader_that_does_not_read() {
    let [mut one, mut two] = tiny().start_each([1, 2]);
    let mut sent = [0i64; 24];
    for round in 0..3 {
        // More than are kept for the next ones: these end, and others begin.
        let mut clones: Vec<_> = (0..24).map(|_| one.outbox().clone()).collect();
        for (number, clone) in clones.iter_mut().enumerate() {
            for _ in 0..200 {
                let id = 1000 * number as i64 + sent[number];
                match clone.try_send(Envelope::to(2).id(id).body(vec![7; 500])) {
                    Ok(()) => sent[number] += 1,
                    Err(SendError::Full { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        // All that is acknowledged waits to be read. A sender can use its last 32 KiB of credit only where its ring has
        // a boundary.
        eventually("as much as there is room for", || {
            let rows = two.stats();
            let unread = rows.iter().find(|row| row.pid == 1).unwrap().bytes_unread;
            assert!(unread <= Config::MIN_INBOX_BYTES, "{unread} bytes wait to be read, round {round}");
            (unread >= Config::MIN_INBOX_BYTES / 3).then_some(())
        });
    }
    let total: i64 = sent.iter().sum();
    let mut got: Vec<i64> = (0..total).map(|_| receive(two.inbox()).msg_id).collect();
    assert!(two.inbox().try_recv().is_err());
    got.sort_unstable();
    let expected: Vec<i64> =
        (0..24).flat_map(|number| (0..sent[number as usize]).map(move |id| 1000 * number + id)).collect();
    assert_eq!(got, expected);
    for events in [one.events(), two.events()] {
        while let Some(event) = events.try_next() {
            let told = matches!(event, Event::Up { .. });
            assert!(told, "a slow reader is no reason to disconnect: {event:?}");
        }
    }
}

#[test]
fn tiny_rings_and_small_messages() {
    exchange("tiny_rings_and_small_messages", 30_000, |rng| rng.usize(..100));
}

#[test]
fn tiny_rings_and_messages_that_nearly_fill_them() {
    exchange("tiny_rings_and_messages_that_nearly_fill_them", 3_000, |rng| rng.usize(10_000..17_000));
}

#[test]
fn tiny_rings_and_messages_larger_than_they_are() {
    exchange("tiny_rings_and_messages_larger_than_they_are", 200, |rng| rng.usize(..500_000));
}

#[test]
fn tiny_rings_and_messages_of_all_sizes() {
    exchange("tiny_rings_and_messages_of_all_sizes", 3_000, |rng| {
        let bits = rng.u64(..18);
        rng.usize(..1 << bits)
    });
}

#[test]
fn a_full_lane_does_not_stop_the_other() {
    let [mut one, mut two] = tiny().start_each([1, 2]);
    let mut normal = 0;
    // Until the reader's window and the ring are both full: nothing of it is read.
    let mut full = 0;
    crate::support::eventually("a full lane", || {
        match one.outbox().try_send(Envelope::to(2).id(normal).body(vec![0; 1000])) {
            Ok(()) => {
                normal += 1;
                full = 0;
            }
            Err(SendError::Full { .. }) => full += 1,
            Err(error) => panic!("{error}"),
        }
        (full > 200).then_some(())
    });
    for id in 0..50 {
        send(one.outbox(), Envelope::to(2).id(id).urgent().body("urgent"));
    }
    let (mut next_normal, mut next_urgent) = (0, 0);
    for _ in 0..normal + 50 {
        let envelope = receive(two.inbox());
        let next = if envelope.msg == "urgent" { &mut next_urgent } else { &mut next_normal };
        assert_eq!(envelope.msg_id, *next);
        *next += 1;
    }
    assert_eq!((next_normal, next_urgent), (normal, 50));
}

#[test]
fn a_reader_that_begins_late_finds_everything() {
    let [mut one, mut two] = tiny().start_each([1, 2]);
    let mut outbox = one.outbox().clone();
    let sender = thread::spawn(move || {
        for id in 0..5_000 {
            send(&mut outbox, Envelope::to(2).id(id).body(vec![id as u8; 500]));
        }
    });
    // It is the sender that waits.
    crate::support::eventually("a sender that waits", {
        let mut before = 0;
        let mut same = 0;
        let one = &one;
        move || {
            let now = one.stats()[0].messages_out;
            same = if now == before && now > 0 { same + 1 } else { 0 };
            before = now;
            (same > 100).then_some(())
        }
    });
    assert!(!sender.is_finished());
    for id in 0..5_000 {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
    sender.join().unwrap();
}

#[test]
fn a_kept_envelope_stalls_nobody() {
    // Each envelope shares the chunk that it arrived in; more are kept than there are spare chunks.
    let [mut one, mut two] = tiny().start_each([1, 2]);
    let mut outbox = one.outbox().clone();
    let sender = thread::spawn(move || {
        for id in 0..2_000 {
            send(&mut outbox, Envelope::to(2).id(id).body(message(id as u64, 20_000)));
        }
    });
    let kept: Vec<Envelope> = (0..2_000).map(|_| receive(two.inbox())).collect();
    for (id, envelope) in kept.iter().enumerate() {
        assert_eq!(envelope.msg_id, id as i64);
        assert_same(&envelope.msg, &message(id as u64, 20_000), "a kept envelope");
    }
    sender.join().unwrap();
}
