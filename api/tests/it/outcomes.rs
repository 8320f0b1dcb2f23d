//! Every send has an outcome, and what is not sent comes back.

use std::thread;
use std::time::{Duration, Instant};

use cluster::{BROADCAST, Config, Draft, Envelope, Node, Outbox, Recipients, SendError, Server};

use crate::support::{Cluster, PATIENCE, assert_same, eventually, message, pair, receive, send};

#[test]
fn an_unknown_pid_is_named_and_nobody_gets_the_envelope() {
    let [mut one, mut two] = pair();
    let draft = Envelope::to([2, 99]).id(4).body("nobody");
    let error = one.outbox().send(draft.clone()).unwrap_err();
    assert_eq!(error, SendError::UnknownPid { envelope: Box::new(draft), pid: 99, this: 1 });
    assert!(error.to_string().contains("99"), "{error}");
    send(one.outbox(), Envelope::to(2).body("the next"));
    assert_eq!(receive(two.inbox()).msg, "the next");
}

#[test]
fn a_server_does_not_send_to_itself() {
    let [mut one, _two] = pair();
    let error = one.outbox().try_send(Envelope::to(1).body("me")).unwrap_err();
    assert!(matches!(error, SendError::UnknownPid { pid: 1, this: 1, .. }), "{error:?}");
    assert!(error.to_string().contains("itself"), "{error}");
}

#[test]
fn a_message_above_the_limit_comes_back() {
    let mut cluster = Cluster::new([1, 2]).with(|config| config.with_max_envelope_bytes(100_000));
    let [mut one, mut two] = cluster.start_each([1, 2]);
    let draft = Envelope::to(2).body(vec![1; 100_001]);
    let error = one.outbox().send(draft.clone()).unwrap_err();
    assert_eq!(error, SendError::TooLarge { envelope: Box::new(draft), limit: 100_000, pid: None });
    assert!(error.to_string().contains("100001") && error.to_string().contains("100000"), "{error}");
    send(one.outbox(), Envelope::to(2).body(vec![1; 100_000]));
    assert_eq!(receive(two.inbox()).msg.len(), 100_000);
}

/// Fills the outbox towards a peer that is not there.
fn fill(outbox: &mut Outbox, pid: u64, bytes: usize) -> (i64, SendError) {
    let mut id = 0;
    loop {
        match outbox.try_send(Envelope::to(pid).id(id).body(vec![7; bytes])) {
            Ok(()) => id += 1,
            Err(error) => return (id, error),
        }
        assert!(id < 1_000_000, "never full");
    }
}

#[test]
fn an_outbox_to_an_absent_peer_fills_up_and_hands_back_the_envelope() {
    for bytes in [0, 1000, 50_000] {
        let mut cluster = Cluster::fixed([1, 2]).with(|config| config.with_outbox_bytes(Config::MIN_OUTBOX_BYTES));
        let mut one = cluster.start(1);
        let (sent, error) = fill(one.outbox(), 2, bytes);
        assert!(sent > 0);
        let draft = Envelope::to(2).id(sent).body(vec![7; bytes]);
        assert_eq!(error, SendError::Full { envelope: Box::new(draft.clone()) });
        assert!(error.to_string().contains('2'), "{error}");
        assert_eq!(error.into_envelope(), draft);
        // What was taken is there when the peer is.
        let mut two = cluster.start(2);
        for id in 0..sent {
            assert_eq!(receive(two.inbox()).msg_id, id);
        }
    }
}

#[test]
fn a_broadcast_names_exactly_the_peers_without_room() {
    let mut cluster = Cluster::fixed([1, 2, 3, 4]).with(|config| config.with_outbox_bytes(Config::MIN_OUTBOX_BYTES));
    let [mut one, mut three] = cluster.start_each([1, 3]);
    fill(one.outbox(), 2, 8);
    let draft = Envelope::to(BROADCAST).id(70).body(vec![5; 8]);
    let error = one.outbox().try_send(draft).unwrap_err();
    let back = Envelope::to(2).id(70).body(vec![5; 8]);
    assert_eq!(error, SendError::Full { envelope: Box::new(back) });
    fill(one.outbox(), 4, 8);
    let draft = Envelope::to([4, 3, 2]).id(71).body(vec![5; 8]);
    let error = one.outbox().try_send(draft).unwrap_err();
    assert_eq!(*error.recipients(), Recipients::Several(vec![4, 2]));
    assert_eq!(receive(three.inbox()).msg_id, 70);
    assert_eq!(receive(three.inbox()).msg_id, 71);
    // The envelope can be sent again as it came back.
    let mut four = cluster.start(4);
    let mut two = cluster.start(2);
    send(one.outbox(), error.into_envelope());
    for node in [&mut two, &mut four] {
        eventually("the last", || (receive(node.inbox()).msg_id == 71).then_some(()));
    }
}

#[test]
fn send_timeout_waits_that_long_and_names_the_peers_without_room() {
    let mut cluster = Cluster::fixed([1, 2]).with(|config| config.with_outbox_bytes(Config::MIN_OUTBOX_BYTES));
    let mut one = cluster.start(1);
    fill(one.outbox(), 2, 8);
    let begin = Instant::now();
    let error = one.outbox().send_timeout(Envelope::to(2).body(vec![0; 8]), Duration::from_millis(50)).unwrap_err();
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert!(matches!(error, SendError::Full { .. }), "{error:?}");
    assert!(one.outbox().send_timeout(Envelope::to(2).body(vec![0; 8]), Duration::ZERO).is_err());
}

#[test]
fn send_waits_for_room() {
    let mut cluster = Cluster::fixed([1, 2]).with(|config| config.with_outbox_bytes(Config::MIN_OUTBOX_BYTES));
    let mut one = cluster.start(1);
    let senders = [8, 40_000].map(|bytes| {
        let mut outbox = one.outbox().clone();
        let (sent, _) = fill(&mut outbox, 2, bytes);
        (bytes, sent, thread::spawn(move || outbox.send(Envelope::to(2).id(-1).body(vec![7; bytes]))))
    });
    let mut two = cluster.start(2);
    let all: i64 = senders.iter().map(|(_, sent, _)| sent + 1).sum();
    let received: Vec<Envelope> = (0..all).map(|_| receive(two.inbox())).collect();
    for (bytes, sent, sender) in senders {
        let ids = received.iter().filter(|envelope| envelope.msg.len() == bytes).map(|envelope| envelope.msg_id);
        assert!(ids.eq((0..sent).chain([-1])));
        sender.join().unwrap().unwrap();
    }
}

#[test]
fn a_stopped_server_says_so() {
    let [mut one, _two] = pair();
    send(one.outbox(), Envelope::to(2).body("before"));
    one.stop().unwrap();
    let draft = Envelope::to(2).id(1).body("after");
    let back = SendError::Stopped { envelope: Box::new(draft.clone()) };
    assert_eq!(one.outbox().send(draft.clone()).unwrap_err(), back);
    assert_eq!(one.outbox().try_send(draft.clone()).unwrap_err(), back);
    assert_eq!(one.outbox().send_timeout(draft.clone(), PATIENCE).unwrap_err(), back);
    assert!(matches!(one.outbox().claim(2, 8), Err(SendError::Stopped { .. })));
    assert!(matches!(one.outbox().try_claim(2, 8), Err(SendError::Stopped { .. })));
    assert!(back.to_string().contains("stopped"), "{back}");
}

#[test]
fn an_outbox_that_is_first_used_after_the_stop_says_so() {
    let [mut one, _two] = pair();
    let outbox = one.outbox().clone();
    one.stop().unwrap();
    for _ in 0..100 {
        let draft = Envelope::to(2).id(1).body("after");
        let error = outbox.clone().try_send(draft.clone()).unwrap_err();
        assert_eq!(error, SendError::Stopped { envelope: Box::new(draft) });
    }
}

#[test]
fn a_split_outbox_learns_of_the_stop_on_its_thread() {
    let [one, mut two] = pair();
    let cluster::Split { inbox: _inbox, mut outbox, events: _events, mut handle } = one.split();
    let sender = thread::spawn(move || {
        let mut id = 0;
        loop {
            if let Err(error) = outbox.send(Envelope::to(2).id(id).body(vec![1; 64])) {
                return (id, error);
            }
            id += 1;
        }
    });
    for id in 0..1000 {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
    let reader = thread::spawn(move || {
        let mut next = 1000;
        while let Ok(envelope) = two.inbox().recv_timeout(Duration::from_millis(500)) {
            assert_eq!(envelope.msg_id, next);
            next += 1;
        }
        next
    });
    let stopped = handle.stop();
    eventually("the end of the sender", || sender.is_finished().then_some(()));
    let (sent, error) = sender.join().unwrap();
    assert_eq!(error, SendError::Stopped { envelope: Box::new(Envelope::to(2).id(sent).body(vec![1; 64])) });
    let received = reader.join().unwrap();
    let undelivered: i64 = stopped.err().map_or(0, |error| error.undelivered()[0].messages as i64);
    // The one that came back may have been on its way already; none that was taken is missing.
    assert!(
        received <= sent + 1 && sent <= received + undelivered,
        "{received} received, {sent} sent, {undelivered} not"
    );
}

/// A send that waits, on a thread, for a peer that is not there.
fn blocked(node: &mut Node, draft: Draft<'static>) -> thread::JoinHandle<Result<(), SendError>> {
    let mut outbox = node.outbox().clone();
    fill(&mut outbox, 2, draft.message().len());
    thread::spawn(move || outbox.send(draft))
}

#[test]
fn a_send_that_waits_is_woken_by_the_stop() {
    for bytes in [8, 40_000] {
        let mut cluster = Cluster::fixed([1, 2]).with(|config| config.with_outbox_bytes(Config::MIN_OUTBOX_BYTES));
        let mut one = cluster.start(1);
        let draft = Envelope::to(2).id(5).body(vec![0; bytes]);
        let sender = blocked(&mut one, draft.clone());
        // Whether the sender waits already, or comes too late, must not matter.
        let error = one.stop().unwrap_err();
        assert_eq!(error.undelivered()[0].pid, 2);
        assert!(error.undelivered()[0].messages > 0);
        eventually("the end of the send", || sender.is_finished().then_some(()));
        assert_eq!(sender.join().unwrap().unwrap_err(), SendError::Stopped { envelope: Box::new(draft) });
    }
}

#[test]
fn a_send_that_waits_on_a_slow_reader_is_woken_by_the_stop() {
    let mut cluster = Cluster::new([1, 2])
        .with(|config| config.with_outbox_bytes(Config::MIN_OUTBOX_BYTES).with_inbox_bytes(Config::MIN_INBOX_BYTES));
    let [mut one, _two] = cluster.start_each([1, 2]);
    let mut outbox = one.outbox().clone();
    let sender = thread::spawn(move || {
        loop {
            if let Err(error) = outbox.send(Envelope::to(2).body(vec![0; 5000])) {
                return error;
            }
        }
    });
    eventually("a link", || (one.stats()[0].messages_out > 20).then_some(()));
    let begin = Instant::now();
    let _ = one.stop();
    eventually("the end of the send", || sender.is_finished().then_some(()));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(matches!(sender.join().unwrap(), SendError::Stopped { .. }));
}

#[test]
fn a_claim_that_is_dropped_sends_nothing() {
    let [mut one, mut two] = pair();
    for length in [0, 8, 100, 16_368, 16_369, 100_000] {
        drop(one.outbox().claim(2, length).unwrap());
        let claim = one.outbox().claim(2, length).unwrap();
        let sent = claim.write(|buffer| {
            assert_eq!(buffer.len(), length);
            assert!(buffer.as_ptr().addr().is_multiple_of(8));
            buffer.copy_from_slice(&message(1, length));
        });
        sent.unwrap();
        drop(one.outbox().try_claim(2, length).unwrap());
        assert_same(&receive(two.inbox()).msg, &message(1, length), "a claim");
    }
    send(one.outbox(), Envelope::to(2).body("the next"));
    assert_eq!(receive(two.inbox()).msg, "the next");
}

#[test]
fn a_claim_whose_peer_or_server_is_gone_gives_the_message_back() {
    let [one, _two] = pair();
    let cluster::Split { mut outbox, mut handle, inbox: _inbox, events: _events } = one.split();
    for length in [5, 100_000] {
        // Gone before it is written, and while it is written.
        let claim = outbox.claim(2, length).unwrap();
        assert_eq!(handle.remove_peer(2).unwrap().messages, 0);
        let error = claim.write(|buffer| buffer.copy_from_slice(&message(1, length))).unwrap_err();
        assert!(
            matches!(&error, SendError::UnknownPid { envelope, pid: 2, this: 1 } if envelope.message()[..] == message(1, length))
        );
        handle.add_peer(2, "127.0.0.1:1").unwrap();
        let claim = outbox.claim(2, length).unwrap();
        let error = claim.write(|buffer| {
            assert_eq!(handle.remove_peer(2).unwrap().messages, 0);
            buffer.copy_from_slice(&message(2, length));
        });
        let error = error.unwrap_err();
        assert!(
            matches!(&error, SendError::UnknownPid { envelope, .. } if envelope.message()[..] == message(2, length))
        );
        handle.add_peer(2, "127.0.0.1:1").unwrap();
    }
    let claim = outbox.claim(2, 5).unwrap();
    let error = claim.write(|buffer| {
        assert!(handle.stop().is_ok());
        buffer.copy_from_slice(b"stops");
    });
    let error = error.unwrap_err();
    assert!(matches!(&error, SendError::Stopped { envelope } if envelope.message()[..] == *b"stops"));
}

#[test]
fn a_claim_has_the_outcomes_of_a_send() {
    let mut cluster = Cluster::fixed([1, 2])
        .with(|config| config.with_outbox_bytes(Config::MIN_OUTBOX_BYTES).with_max_envelope_bytes(50_000));
    let mut one = cluster.start(1);
    assert!(matches!(one.outbox().claim(9, 8), Err(SendError::UnknownPid { pid: 9, this: 1, .. })));
    assert!(matches!(one.outbox().claim(1, 8), Err(SendError::UnknownPid { pid: 1, this: 1, .. })));
    assert!(matches!(one.outbox().claim(2, 50_001), Err(SendError::TooLarge { limit: 50_000, .. })));
    let (sent, _) = fill(one.outbox(), 2, 8);
    assert!(matches!(one.outbox().try_claim(2, 8), Err(SendError::Full { .. })));
    let cluster::Split { mut outbox, handle: _handle, .. } = one.split();
    let waiting = thread::spawn(move || outbox.claim(2, 8).unwrap().write(|buffer| buffer.fill(9)).unwrap());
    let mut two = cluster.start(2);
    for id in 0..sent {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
    assert_eq!(receive(two.inbox()).msg[..], [9; 8]);
    waiting.join().unwrap();
}

#[test]
fn a_stop_counts_what_it_could_not_deliver() {
    let mut cluster = Cluster::fixed([1, 2, 3]);
    let [mut one, mut three] = cluster.start_each([1, 3]);
    for _ in 0..7 {
        send(one.outbox(), Envelope::to(2).body(vec![0; 10]));
        send(one.outbox(), Envelope::to(3).body(vec![0; 10]));
    }
    send(one.outbox(), Envelope::to(2).urgent().body(vec![0; 100_000]));
    let error = one.stop().unwrap_err();
    let [undelivered] = error.undelivered() else { panic!("{error:?}") };
    assert_eq!((undelivered.pid, undelivered.messages, undelivered.bytes), (2, 8, 100_070));
    assert!(error.to_string().contains("8 messages (100070 bytes) to 2"), "{error}");
    for _ in 0..7 {
        assert_eq!(receive(three.inbox()).msg.len(), 10);
    }
}

#[test]
fn an_inbox_learns_of_the_stop() {
    let [mut one, two] = pair();
    let cluster::Split { mut inbox, outbox: _outbox, events: _events, mut handle } = two.split();
    send(one.outbox(), Envelope::to(2).body("the last"));
    let reader = thread::spawn(move || {
        let all: Vec<Envelope> = inbox.iter().collect();
        (all, inbox)
    });
    eventually("the envelope", || (handle.stats()[0].messages_in == 1).then_some(()));
    handle.stop().unwrap();
    eventually("the end of the reader", || reader.is_finished().then_some(()));
    let (all, mut inbox) = reader.join().unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(inbox.recv(), Err(cluster::RecvError::Stopped));
    assert_eq!(inbox.try_recv(), Err(cluster::TryRecvError::Stopped));
    assert_eq!(inbox.recv_timeout(PATIENCE), Err(cluster::RecvTimeoutError::Stopped));
    assert_eq!(inbox.drain(|_| unreachable!()), 0);
    assert_eq!(inbox.drain_wait(None, |_| unreachable!()), 0);
    assert!(inbox.is_stopped());
}

#[test]
fn a_reader_that_waits_is_woken_by_the_stop() {
    // Again and again: the reader wakes while the server is being taken apart.
    for round in 0..100 {
        let [one, _two] = pair();
        let cluster::Split { mut inbox, mut handle, .. } = one.split();
        let reader = thread::spawn(move || inbox.recv());
        if round % 2 == 0 {
            thread::yield_now();
        }
        handle.stop().unwrap();
        eventually("the end of the reader", || reader.is_finished().then_some(()));
        assert!(reader.join().unwrap().is_err());
    }
}

#[test]
fn an_inbox_without_envelopes_says_so_in_time() {
    let [mut one, _two] = pair();
    assert_eq!(one.inbox().try_recv(), Err(cluster::TryRecvError::Empty));
    let begin = Instant::now();
    let timeout = Duration::from_millis(30);
    assert_eq!(one.inbox().recv_timeout(timeout), Err(cluster::RecvTimeoutError::Timeout));
    assert_eq!(one.inbox().drain_wait(Some(timeout), |_| unreachable!()), 0);
    assert!(one.events().next_timeout(timeout).is_none());
    assert!(begin.elapsed() >= 3 * timeout);
}

#[test]
fn what_was_sent_before_a_stop_arrives() {
    for round in 0..20 {
        let [mut one, mut two] = pair();
        let count = 1 + round * 50;
        for id in 0..count {
            send(one.outbox(), Envelope::to(2).id(id).body(vec![0; 300]));
        }
        // The peer's inbox has room for all of it, whether or not anybody reads.
        one.stop().unwrap();
        for id in 0..count {
            assert_eq!(receive(two.inbox()).msg_id, id);
        }
    }
}
