//! What has become of what was sent: `flush`, and the account that balances.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{BROADCAST, Engine, Envelope, FlushError, Idle, Outbox, PeerStats, SendError, Server};

use crate::support::{Cluster, PATIENCE, eventually, pair, receive, send};

fn assert_balanced(row: &PeerStats) {
    assert_eq!(row.messages_out, row.acknowledged + row.in_flight + row.dropped(), "{row:?}");
}

#[test]
fn flush_returns_when_everything_is_acknowledged() {
    let [mut one, mut two, mut three] = Cluster::new([1, 2, 3]).start_each([1, 2, 3]);
    one.outbox().flush(Duration::ZERO).unwrap();
    for round in 0..20 {
        send(one.outbox(), Envelope::to(BROADCAST).body("to all"));
        send(one.outbox(), Envelope::to(2).body(vec![0; 100_000]));
        send(one.outbox(), Envelope::to(3).urgent().body("urgent"));
        let begin = Instant::now();
        one.outbox().flush(PATIENCE).unwrap();
        // Far below the delay with which acknowledgements come by themselves, were it not for the slowest machine.
        assert!(begin.elapsed() < PATIENCE);
        for row in one.stats() {
            assert_eq!((row.acknowledged, row.in_flight), (2 * (round + 1), 0));
            assert_balanced(&row);
        }
    }
    // Acknowledged is what is in the inbox, read or not.
    for node in [&mut two, &mut three] {
        for _ in 0..40 {
            receive(node.inbox());
        }
    }
}

#[test]
fn flush_names_the_peers_that_have_not_acknowledged() {
    let mut cluster = Cluster::fixed([1, 2, 3]);
    let (mut one, _three) = (cluster.start(1), cluster.start(3));
    send(one.outbox(), Envelope::to(BROADCAST).body("to all"));
    let pids = eventually("only server 2 is missing", || match one.outbox().flush(Duration::from_millis(20)) {
        Err(FlushError::Timeout { pids }) if pids.len() == 1 => Some(pids),
        Err(FlushError::Timeout { .. }) => None,
        other => panic!("{other:?}"),
    });
    assert_eq!(pids, [2]);
    let rows = one.stats();
    assert_eq!((rows[0].in_flight, rows[0].acknowledged), (1, 0));
    assert_eq!((rows[1].in_flight, rows[1].acknowledged), (0, 1));
    let mut two = cluster.start(2);
    one.outbox().flush(PATIENCE).unwrap();
    assert_eq!(receive(two.inbox()).msg, "to all");
}

#[test]
fn flush_asks_for_nothing_that_an_outbox_before_it_has_sent() {
    let mut cluster = Cluster::fixed([1, 2, 3]);
    let [mut one, mut two] = cluster.start_each([1, 2]);
    send(&mut one.outbox().clone(), Envelope::to(3).body("for somebody who is not there"));
    // Its streams may be those of the clone before it.
    let mut clone = one.outbox().clone();
    clone.flush(Duration::ZERO).unwrap();
    send(&mut clone, Envelope::to(2).id(7));
    clone.flush(PATIENCE).unwrap();
    assert_eq!(receive(two.inbox()).msg_id, 7);
    send(&mut clone, Envelope::to(3).body("another"));
    assert_eq!(clone.flush(Duration::ZERO).unwrap_err(), FlushError::Timeout { pids: vec![3] });
    // Nothing is forgotten for being inherited.
    let mut three = cluster.start(3);
    clone.flush(PATIENCE).unwrap();
    assert_eq!(receive(three.inbox()).msg, "for somebody who is not there");
    assert_eq!(receive(three.inbox()).msg, "another");
}

#[test]
fn flush_works_inline() {
    let idle = Idle { spin_us: 0, yield_us: 0, park: true };
    let mut cluster = Cluster::new([1, 2]);
    let mut one = cluster.start_on(1, &Engine::inline(idle).unwrap());
    let mut two = cluster.start(2);
    for _ in 0..10 {
        send(one.outbox(), Envelope::to(2).body("hello"));
        one.outbox().flush(PATIENCE).unwrap();
        assert_eq!(one.stats()[0].in_flight, 0);
        assert_eq!(receive(two.inbox()).msg, "hello");
    }
}

#[test]
fn flush_learns_of_the_stop() {
    let mut one = Cluster::fixed([1, 2]).start(1);
    send(one.outbox(), Envelope::to(2).body("nobody there"));
    let mut outbox = one.outbox().clone();
    send(&mut outbox, Envelope::to(2).body("nobody there"));
    let flushing = thread::spawn(move || outbox.flush(PATIENCE));
    assert_eq!(one.stop().unwrap_err().undelivered()[0].messages, 2);
    assert_eq!(flushing.join().unwrap(), Err(FlushError::Stopped));
    let row = one.stats()[0];
    assert_eq!((row.messages_out, row.dropped_stopped, row.in_flight), (2, 2, 0));
    assert_balanced(&row);
}

/// Whoever looks at any time sees an account that balances, and in the end one that is exact.
#[test]
fn the_account_balances_at_any_time() {
    let [mut one, two] = pair();
    let two = two.split();
    let mut inbox = two.inbox;
    let done = AtomicBool::new(false);
    let sent = 20_000u64;
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..sent {
                receive(&mut inbox);
            }
        });
        let mut outbox = one.outbox().clone();
        let done = &done;
        scope.spawn(move || {
            for number in 0..sent {
                send(&mut outbox, Envelope::to(2).body(vec![0; (number % 300) as usize]));
            }
            outbox.flush(PATIENCE).unwrap();
            done.store(true, Ordering::Release);
        });
        let mut acknowledged = 0;
        while !done.load(Ordering::Acquire) {
            let row = one.stats()[0];
            assert_balanced(&row);
            assert!(row.acknowledged >= acknowledged, "an acknowledgement was taken back: {row:?}");
            acknowledged = row.acknowledged;
        }
    });
    let row = one.stats()[0];
    assert_eq!((row.messages_out, row.acknowledged, row.in_flight, row.dropped()), (sent, sent, 0, 0));
}

/// Sends to an absent peer without a pause, until that is refused. Returns how many envelopes were taken.
fn send_until_refused(mut outbox: Outbox, claims: bool) -> u64 {
    let mut taken = 0;
    loop {
        let sent = match claims {
            true => outbox.try_claim(2, 8).and_then(|claim| claim.write(|buffer| buffer.fill(1))),
            false => outbox.try_send(Envelope::to(2).body("")),
        };
        match sent {
            Ok(()) => taken += 1,
            Err(SendError::Full { .. }) => {}
            Err(SendError::Stopped { .. } | SendError::UnknownPid { .. }) => return taken,
            Err(error) => panic!("{error}"),
        }
    }
}

/// However close a send on another thread is to a removal or a stop: what was taken is counted, what was not comes back.
#[test]
fn what_is_taken_while_the_peer_is_removed_or_the_server_stops_is_counted() {
    let mut cluster = Cluster::fixed([1, 2]);
    for round in 0..100 {
        let cluster::Split { outbox, mut handle, inbox: _inbox, events: _events } = cluster.start(1).split();
        let mut taken_before = 0;
        for stop in [false, false, true] {
            let sender = thread::spawn({
                let outbox = outbox.clone();
                move || send_until_refused(outbox, round % 2 == 0)
            });
            eventually("traffic", || (handle.stats()[0].messages_out > taken_before + round).then_some(()));
            let undelivered = match stop {
                true => handle.stop().unwrap_err().undelivered()[0].messages,
                false => handle.remove_peer(2).unwrap().messages,
            };
            let taken = sender.join().unwrap();
            assert_eq!(taken, undelivered, "taken and undelivered in round {round}, stop: {stop}");
            taken_before += taken;
            let row = handle.stats()[0];
            assert_eq!((row.messages_out, row.dropped()), (taken_before, taken_before), "{row:?}");
            assert_balanced(&row);
            if !stop {
                handle.add_peer(2, "127.0.0.1:1").unwrap();
            }
        }
    }
}
