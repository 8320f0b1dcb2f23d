//! What is counted.

use cluster::{BROADCAST, Engine, Envelope, Idle, Neighbours, PeerStats, Server};

use crate::support::{Cluster, PATIENCE, eventually, receive, send};

#[test]
fn messages_and_bytes_are_counted_by_peer() {
    let [mut one, mut two, mut three] = Cluster::new([1, 2, 3]).start_each([1, 2, 3]);
    let mut expected = [(0, 0); 2];
    for length in [0, 1, 100, 16_368, 16_369, 100_000] {
        send(one.outbox(), Envelope::to(2).body(vec![0; length]));
        send(one.outbox(), Envelope::to(BROADCAST).urgent().body(vec![0; length]));
        send(&mut one.outbox().clone(), Envelope::to(3).body(vec![0; length]));
        one.outbox().claim(3, length).unwrap().write(|buffer| buffer.fill(1)).unwrap();
        drop(one.outbox().claim(2, length).unwrap());
        expected[0].0 += 2;
        expected[0].1 += 2 * length as u64;
        expected[1].0 += 3;
        expected[1].1 += 3 * length as u64;
    }
    let mut sent = PeerStats::default();
    for (row, (pid, (messages, bytes))) in one.stats().iter().zip([2, 3].into_iter().zip(expected)) {
        sent.pid = pid;
        sent.messages_out = messages;
        sent.bytes_out = bytes;
        assert_eq!(row.acknowledged + row.in_flight, messages);
        (sent.acknowledged, sent.in_flight, sent.bytes_held) = (row.acknowledged, row.in_flight, row.bytes_held);
        (sent.sends_out, sent.segments_out) = (row.sends_out, row.segments_out);
        assert_eq!(*row, sent);
    }
    for (node, (messages, bytes)) in [&mut two, &mut three].into_iter().zip(expected) {
        assert_eq!(node.stats()[0].messages_in, 0, "counted when taken out of the inbox");
        for _ in 0..messages / 2 {
            receive(node.inbox());
        }
        let mut left = messages - messages / 2;
        eventually("the rest", || {
            left -= node.inbox().drain(|_| ()) as u64;
            (left == 0).then_some(())
        });
        let row = node.stats()[0];
        assert_eq!((row.pid, row.messages_in, row.bytes_in), (1, messages, bytes));
        assert_eq!((row.messages_out, row.bytes_out), (0, 0));
    }
}

#[test]
fn counts_survive_a_restart_of_the_peer() {
    let mut cluster = Cluster::fixed([1, 2]);
    let mut one = cluster.start(1);
    for round in 1..=3 {
        let mut two = cluster.start(2);
        for _ in 0..10 {
            send(two.outbox(), Envelope::to(1).body("12345"));
            assert_eq!(receive(one.inbox()).msg, "12345");
        }
        two.stop().unwrap();
        let row = one.stats()[0];
        assert_eq!((row.messages_in, row.bytes_in), (10 * round, 50 * round));
    }
}

#[test]
fn what_is_kept_for_a_peer_and_what_waits_of_it_is_told_in_bytes() {
    let mut cluster = Cluster::fixed([1, 2]);
    let mut one = cluster.start(1);
    for _ in 0..10 {
        send(one.outbox(), Envelope::to(2).body([7; 100]));
    }
    send(one.outbox(), Envelope::to(2).body(vec![7; 100_000]));
    // Each with a header of 16 bytes, and a multiple of 8 long.
    let bytes = 10 * (16 + 104) + 16 + 100_000;
    assert_eq!((one.stats()[0].bytes_held, one.stats()[0].bytes_unread), (bytes, 0));
    let mut two = cluster.start(2);
    eventually("the acknowledgement", || (one.stats()[0].bytes_held == 0).then_some(()));
    assert_eq!((two.stats()[0].bytes_held, two.stats()[0].bytes_unread), (0, bytes));
    for _ in 0..11 {
        receive(two.inbox());
    }
    assert!(two.inbox().try_recv().is_err());
    assert_eq!(two.stats()[0].bytes_unread, 0);
}

#[test]
fn receive_buffers_are_let_go_of() {
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    assert_eq!(engine.receive_bytes(), 0);
    let mut cluster = Cluster::new([1, 2]).with(|config| config.with_neighbours(Neighbours::Tcp));
    let (mut one, mut two) = (cluster.start_on(1, &engine), cluster.start_on(2, &engine));
    for _ in 0..40 {
        send(one.outbox(), Envelope::to(2).body(vec![7; 64_000]));
    }
    one.outbox().flush(PATIENCE).unwrap();
    // What is not read keeps its buffers, beside those of the two ends of the connection.
    assert!(engine.receive_bytes() > 40 * 64_000 + 2 * 256 * 1024, "{}", engine.receive_bytes());
    for _ in 0..40 {
        receive(two.inbox());
    }
    assert!(two.inbox().try_recv().is_err());
    assert!(engine.receive_bytes() <= 4 * 256 * 1024, "{}", engine.receive_bytes());
    drop((one, two));
    eventually("the end", || (engine.receive_bytes() == 0).then_some(()));
}

#[test]
fn batches_and_wake_ups_are_counted() {
    let [mut one, mut two] = Cluster::new([1, 2]).start_each([1, 2]);
    for _ in 0..100 {
        send(one.outbox(), Envelope::to(2).body("batched"));
    }
    one.outbox().flush(PATIENCE).unwrap();
    let row = one.stats()[0];
    assert!(row.sends_out > 0 && row.sends_out <= row.segments_out, "{row:?}");
    receive(two.inbox());
    // The reader has sent nothing but what confirms that it has received.
    let confirmed = two.stats()[0];
    assert!(confirmed.messages_out == 0 && confirmed.segments_out > 0, "{confirmed:?}");

    let engine = Engine::dedicated(1, Idle { spin_us: 0, yield_us: 0, park: true }).unwrap();
    let mut cluster = Cluster::new([1, 2]);
    let (mut one, two) = (cluster.start_on(1, &engine), cluster.start(2));
    let before = engine.wake_ups();
    send(one.outbox(), Envelope::to(2).body("wake up"));
    eventually("a wake-up", || (engine.wake_ups() > before).then_some(()));
    drop(two);
}
