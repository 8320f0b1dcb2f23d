//! What is sent arrives: once, in order, from the right pid, with the right bytes.

use std::collections::HashMap;
use std::thread;

use cluster::{BROADCAST, Engine, Envelope, Idle, Pid, SendError, Server};

use crate::support::{Cluster, PATIENCE, assert_same, message, pair, random_of_test, receive, send};

#[test]
fn unicast_carries_pid_id_and_message() {
    let [mut one, mut two] = pair();
    send(one.outbox(), Envelope::to(2).id(-77).body("unicast"));
    let envelope = receive(two.inbox());
    assert_eq!((envelope.pid, envelope.msg_id, &envelope.msg[..]), (1, -77, &b"unicast"[..]));
    // The same connection carries the other direction.
    send(two.outbox(), Envelope::to(1).id(i64::MIN).body("back"));
    let envelope = receive(one.inbox());
    assert_eq!((envelope.pid, envelope.msg_id, &envelope.msg[..]), (2, i64::MIN, &b"back"[..]));
}

#[test]
fn multicast_reaches_exactly_the_named_recipients() {
    let [mut one, mut two, mut three, mut four] = Cluster::new([1, 2, 3, 4]).start_each([1, 2, 3, 4]);
    send(one.outbox(), Envelope::to([2, 4, 2]).id(9).body("some"));
    send(one.outbox(), Envelope::to(BROADCAST).id(10).body("all"));
    let ids = |inbox: &mut cluster::Inbox, count| (0..count).map(|_| receive(inbox).msg_id).collect::<Vec<_>>();
    assert_eq!(ids(two.inbox(), 3), [9, 9, 10], "named twice");
    assert_eq!(ids(three.inbox(), 1), [10], "not named");
    assert_eq!(ids(four.inbox(), 2), [9, 10], "named once");
}

#[test]
fn broadcast_reaches_every_peer_and_not_the_sender() {
    let pids = [100, 7, u64::MAX - 1, 0, 55];
    let mut servers = Cluster::new(pids).start_each(pids);
    for server in &mut servers {
        let pid = server.pid();
        send(server.outbox(), Envelope::to(BROADCAST).id(pid as i64).body(pid.to_le_bytes().to_vec()));
    }
    for server in &mut servers {
        let mut senders: Vec<Pid> = (1..pids.len())
            .map(|_| {
                let envelope = receive(server.inbox());
                assert_eq!(envelope.msg[..], envelope.pid.to_le_bytes());
                assert_eq!(envelope.msg_id, envelope.pid as i64);
                envelope.pid
            })
            .collect();
        senders.sort_unstable();
        assert_eq!(senders, server.peers());
        assert!(server.inbox().try_recv().is_err());
    }
}

#[test]
fn ids_begin_with_the_first_and_increase() {
    let mut cluster = Cluster::new([1, 2]).with(|config| config.with_first_message_id(5000));
    let [mut one, mut two] = cluster.start_each([1, 2]);
    for _ in 0..3000 {
        send(one.outbox(), Envelope::to(2));
    }
    send(one.outbox(), Envelope::to(2).id(3));
    send(one.outbox(), Envelope::to(2));
    let ids: Vec<i64> = (0..3002).map(|_| receive(two.inbox()).msg_id).collect();
    assert_eq!(ids[..3000], (5000..8000).collect::<Vec<_>>());
    assert_eq!(ids[3000..], [3, 8000], "an id that was given takes none of the automatic ones");
}

#[test]
fn clones_of_an_outbox_give_different_ids() {
    let [mut one, mut two] = pair();
    let mut clones = [one.outbox().clone(), one.outbox().clone(), one.outbox().clone()];
    for _ in 0..2000 {
        for clone in &mut clones {
            send(clone, Envelope::to(2));
        }
    }
    let mut ids: Vec<i64> = (0..6000).map(|_| receive(two.inbox()).msg_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6000);
}

/// Around every limit in the engine: frame padding, the ring's largest record, a segment, a receive buffer.
const SIZES: &[usize] = &[
    0,
    1,
    7,
    8,
    9,
    15,
    16,
    17,
    47,
    48,
    4095,
    4096,
    8191,
    8192,
    16_352,
    16_360,
    16_367,
    16_368,
    16_369,
    16_376,
    16_383,
    16_384,
    16_385,
    16_400,
    32_767,
    32_768,
    65_487,
    65_488,
    65_519,
    65_520,
    65_521,
    65_527,
    65_528,
    65_535,
    65_536,
    65_537,
    65_552,
    131_071,
    131_072,
    131_073,
    262_143,
    262_144,
    262_145,
    1 << 20,
    (1 << 20) + 1,
];

#[test]
fn sizes_at_every_boundary_arrive_byte_for_byte() {
    let [mut one, mut two] = pair();
    let mut outbox = one.outbox().clone();
    let sender = thread::spawn(move || {
        for round in 0..3 {
            for size in SIZES {
                send(&mut outbox, Envelope::to(2).id(round).body(message(round as u64, *size)));
            }
        }
    });
    for round in 0..3 {
        for size in SIZES {
            let envelope = receive(two.inbox());
            assert_eq!(envelope.msg_id, round);
            assert_same(&envelope.msg, &message(round as u64, *size), &format!("{size} bytes, round {round}"));
        }
    }
    sender.join().unwrap();
}

#[test]
fn sizes_at_every_boundary_arrive_by_claim_and_drain() {
    let [mut one, mut two] = pair();
    let mut outbox = one.outbox().clone();
    let sender = thread::spawn(move || {
        for size in SIZES {
            let claim = outbox.claim(2, *size).unwrap();
            claim.write(|buffer| buffer.copy_from_slice(&message(3, *size))).unwrap();
        }
    });
    let mut sizes = SIZES.iter();
    while sizes.len() > 0 {
        let count = two.inbox().drain_wait(Some(crate::support::PATIENCE), |envelope| {
            let size = *sizes.next().expect("more than was sent");
            assert!(envelope.msg.as_ptr().addr().is_multiple_of(8), "{size} bytes stand unaligned");
            assert_same(envelope.msg, &message(3, size), &format!("{size} bytes"));
        });
        assert_ne!(count, 0, "nothing came");
    }
    sender.join().unwrap();
}

#[test]
fn sixty_four_mebibytes_arrive_whole() {
    let [mut one, mut two] = pair();
    let body = message(64, 64 << 20);
    send(one.outbox(), Envelope::to(2).body("before"));
    send(one.outbox(), Envelope::to(2).body(body.clone()));
    send(one.outbox(), Envelope::to(2).body("after"));
    assert_eq!(receive(two.inbox()).msg, "before");
    let envelope = receive(two.inbox());
    assert_same(&envelope.msg, &body, "64 MiB");
    assert_eq!(receive(two.inbox()).msg, "after");
}

#[test]
fn a_small_envelope_before_a_large_one_in_the_same_ring() {
    // Both are there before anything is sent: the small one ends where the large one, by reference, begins.
    let mut cluster = Cluster::fixed([1, 2]);
    let mut one = cluster.start(1);
    send(one.outbox(), Envelope::to(2).body("small"));
    send(one.outbox(), Envelope::to(2).body(vec![1; 100_000]));
    let mut two = cluster.start(2);
    assert_eq!(receive(two.inbox()).msg, "small");
    assert_eq!(receive(two.inbox()).msg.len(), 100_000);
}

#[test]
fn small_and_large_keep_their_order() {
    let mut rng = random_of_test("small_and_large_keep_their_order");
    let [mut one, mut two] = pair();
    let sizes: Vec<usize> = (0..400)
        .map(|_| match rng.u64(..4) {
            0 => rng.usize(..64),
            1 => rng.usize(..20_000),
            2 => SIZES[rng.usize(..SIZES.len())],
            _ => rng.usize(..400_000),
        })
        .collect();
    let mut outbox = one.outbox().clone();
    let sending = sizes.clone();
    let sender = thread::spawn(move || {
        for (index, size) in sending.into_iter().enumerate() {
            send(&mut outbox, Envelope::to(2).id(index as i64).body(message(index as u64, size)));
        }
    });
    for (index, size) in sizes.into_iter().enumerate() {
        let envelope = receive(two.inbox());
        assert_eq!(envelope.msg_id, index as i64);
        assert_same(&envelope.msg, &message(index as u64, size), &format!("message {index}"));
    }
    sender.join().unwrap();
}

#[test]
fn many_senders_to_one_each_in_order() {
    const EACH: i64 = 10_000;
    let pids = [1, 2, 3, 4, 5, 6];
    let mut servers = Vec::from(Cluster::new(pids).start_each(pids));
    let mut one = servers.remove(0);
    let senders: Vec<_> = servers
        .iter_mut()
        .map(|server| {
            let mut outbox = server.outbox().clone();
            thread::spawn(move || {
                for id in 0..EACH {
                    send(&mut outbox, Envelope::to(1).id(id).body(id.to_le_bytes().to_vec()));
                }
            })
        })
        .collect();
    let mut next: HashMap<Pid, i64> = HashMap::new();
    for _ in 0..EACH * senders.len() as i64 {
        let envelope = receive(one.inbox());
        let next = next.entry(envelope.pid).or_default();
        assert_eq!((envelope.msg_id, &envelope.msg[..]), (*next, &next.to_le_bytes()[..]), "from {}", envelope.pid);
        *next += 1;
    }
    assert!(one.inbox().try_recv().is_err());
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

#[test]
fn both_directions_at_full_speed() {
    const EACH: u64 = 100_000;
    let parts = pair().map(cluster::Node::split);
    let threads = parts.map(|cluster::Split { mut inbox, mut outbox, events, handle }| {
        let (pid, peer) = (handle.pid(), handle.peers()[0]);
        let sender = thread::spawn(move || {
            for number in 0..EACH {
                let claim = outbox.claim(peer, 8 + number as usize % 57).unwrap();
                claim.write(|buffer| buffer[..8].copy_from_slice(&number.to_le_bytes())).unwrap();
            }
            outbox
        });
        let receiver = thread::spawn(move || {
            let mut next = 0;
            while next < EACH {
                let count = inbox.drain_wait(Some(crate::support::PATIENCE), |envelope| {
                    assert_eq!(envelope.pid, peer);
                    assert_eq!(envelope.msg.len(), 8 + next as usize % 57);
                    assert_eq!(envelope.msg[..8], next.to_le_bytes(), "at {pid}");
                    next += 1;
                });
                assert_ne!(count, 0, "nothing came to {pid} after {next}");
            }
            assert!(inbox.try_recv().is_err());
            inbox
        });
        (sender, receiver, events, handle)
    });
    // Neither leaves before both have everything.
    let ended = threads
        .map(|(sender, receiver, events, handle)| (sender.join().unwrap(), receiver.join().unwrap(), events, handle));
    drop(ended);
}

#[test]
fn the_urgent_lane_keeps_its_own_order() {
    const EACH: i64 = 5_000;
    let [mut one, mut two] = pair();
    let mut outbox = one.outbox().clone();
    let sender = thread::spawn(move || {
        for id in 0..EACH {
            send(&mut outbox, Envelope::to(2).id(id).body(vec![0; 200]));
            send(&mut outbox, Envelope::to(2).id(id).urgent().body("urgent"));
        }
    });
    let (mut normal, mut urgent) = (0, 0);
    for _ in 0..2 * EACH {
        let envelope = receive(two.inbox());
        let next = if envelope.msg == "urgent" { &mut urgent } else { &mut normal };
        assert_eq!(envelope.msg_id, *next);
        *next += 1;
    }
    sender.join().unwrap();
}

#[test]
fn clones_of_an_outbox_on_threads_are_each_in_order() {
    const EACH: i64 = 10_000;
    let [mut one, mut two] = pair();
    let senders: Vec<_> = (0..4u8)
        .map(|number| {
            let mut outbox = one.outbox().clone();
            thread::spawn(move || {
                for id in 0..EACH {
                    send(&mut outbox, Envelope::to(2).id(id).body(vec![number; 1 + id as usize % 40]));
                }
                // The outbox ends here; what it took arrives all the same.
            })
        })
        .collect();
    let mut next = [0; 4];
    for _ in 0..4 * EACH {
        let envelope = receive(two.inbox());
        let next = &mut next[usize::from(envelope.msg[0])];
        assert_eq!(envelope.msg_id, *next);
        assert!(envelope.msg.iter().all(|byte| *byte == envelope.msg[0]));
        *next += 1;
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

#[test]
fn what_a_dropped_outbox_took_arrives() {
    let mut cluster = Cluster::fixed([1, 2]);
    let mut one = cluster.start(1);
    for number in 0..10u8 {
        let mut clone = one.outbox().clone();
        send(&mut clone, Envelope::to(2).body(vec![number; 100]));
        send(&mut clone, Envelope::to(2).body(vec![number; 100_000]));
    }
    let mut two = cluster.start(2);
    let mut sizes = vec![Vec::new(); 10];
    for _ in 0..20 {
        let envelope = receive(two.inbox());
        sizes[usize::from(envelope.msg[0])].push(envelope.msg.len());
    }
    assert_eq!(sizes, vec![vec![100, 100_000]; 10]);
}

#[test]
fn outboxes_come_and_go_by_the_thousands() {
    // On an engine of its own: what breaks here breaks no other test.
    let mut cluster = Cluster::new([1, 2]);
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let [mut one, mut two] = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    // More at once than leave their streams to the next, so that streams end, too.
    for round in 0..200 {
        let mut clones: Vec<_> = (0..16).map(|_| one.outbox().clone()).collect();
        clones.iter_mut().for_each(|clone| send(clone, Envelope::to(2).id(round)));
        clones.iter().for_each(|_| assert_eq!(receive(two.inbox()).msg_id, round));
    }
}

#[test]
fn outboxes_that_come_and_go_while_their_peer_is_away() {
    let mut cluster = Cluster::fixed([1, 2]);
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let mut one = cluster.start_on(1, &engine);
    let (mut sent, mut refused) = (0, 0);
    for _ in 0..150 {
        // More at once than leave their streams to the next: those that are dropped leave an envelope in a stream of its own.
        let mut clones: Vec<_> = (0..16).map(|_| one.outbox().clone()).collect();
        for clone in &mut clones {
            match clone.try_send(Envelope::to(2).id(sent)) {
                Ok(()) => sent += 1,
                Err(SendError::TooManyOutboxes { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(sent > 1000 && refused > 0, "{sent} sent, {refused} refused");
    let mut two = cluster.start(2);
    let mut received: Vec<i64> = (0..sent).map(|_| receive(two.inbox()).msg_id).collect();
    received.sort_unstable();
    assert_eq!(received, (0..sent).collect::<Vec<_>>(), "what was taken arrives");
    // And there is room again.
    send(&mut one.outbox().clone(), Envelope::to(2).id(sent));
    assert_eq!(receive(two.inbox()).msg_id, sent);
    one.outbox().flush(PATIENCE).unwrap();
}

#[test]
fn more_outboxes_than_a_greeting_can_name() {
    let mut cluster = Cluster::fixed([1, 2]);
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let mut one = cluster.start_on(1, &engine);
    let mut sent = Vec::new();
    let mut clones: Vec<_> = (0..1100).map(|_| one.outbox().clone()).collect();
    for (id, clone) in clones.iter_mut().enumerate() {
        // Refusing is fine; losing, or breaking, is not.
        if clone.try_send(Envelope::to(2).id(id as i64)).is_ok() {
            sent.push(id as i64);
        }
    }
    let mut two = cluster.start(2);
    let mut received: Vec<i64> = sent.iter().map(|_| receive(two.inbox()).msg_id).collect();
    received.sort_unstable();
    assert_eq!(received, sent);
}
