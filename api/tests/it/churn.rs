//! Peers that come and go by the thousand.
//!
//! Beside a sender, a minute long: `cargo test --release -p cluster --test it -- churn:: --ignored --nocapture`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cluster::{BROADCAST, Config, Envelope, Handle, PeerStats, Pid, Server, Split};

use crate::support::{Cluster, PATIENCE, assert_alive, eventually, receive, send};

fn sum(rows: &[PeerStats], count: impl Fn(&PeerStats) -> u64) -> u64 {
    rows.iter().map(count).sum()
}

/// However many peers have come and gone, what is kept of them is bounded, and the account balances.
#[test]
fn two_thousand_peers_that_come_and_go_leave_a_bounded_account() {
    const PEERS: u64 = 2_000;
    let mut cluster = Cluster::new([1, 2]);
    let [mut one, mut two] = cluster.start_each([1, 2]);
    let mut clone = one.outbox().clone();
    let mut undelivered = 0;
    for peer in 0..PEERS {
        let pid = FIRST_STRANGER + peer;
        one.add_peer(pid, "127.0.0.1:1").unwrap();
        send(one.outbox(), Envelope::to(BROADCAST).body("to whoever is there"));
        if peer % 2 == 0 {
            send(&mut clone, Envelope::to(pid).body("to nobody"));
        }
        undelivered += one.remove_peer(pid).unwrap().messages;
        assert_eq!(receive(two.inbox()).msg, "to whoever is there");
    }
    one.outbox().flush(PATIENCE).unwrap();
    let rows = one.stats();
    // Those who are peers, the last that were removed, and one row for those before them.
    assert_eq!(rows.len(), 1 + 1024 + 1);
    assert!(rows.is_sorted_by_key(|row| row.pid));
    assert_eq!((rows[0].pid, rows[1].pid, rows[1025].pid), (2, FIRST_STRANGER + PEERS - 1024, BROADCAST));
    assert_eq!(undelivered, PEERS + PEERS / 2);
    assert_eq!(sum(&rows, |row| row.messages_out), PEERS + undelivered);
    assert_eq!((sum(&rows, |row| row.dropped_removed), sum(&rows, |row| row.in_flight)), (undelivered, 0));
    for row in &rows {
        assert_eq!(row.messages_out, row.acknowledged + row.in_flight + row.dropped(), "{row:?}");
    }
    assert_eq!(one.peers(), [2]);
    assert_alive(&mut one, &mut two);
}

/// A peer that is there, removed and added again by both sides in turn: each time they meet again.
#[test]
fn a_peer_that_is_removed_and_added_a_hundred_times_is_met_each_time() {
    let mut cluster = Cluster::fixed([1, 2]);
    let [mut one, mut two] = cluster.start_each([1, 2]);
    let addresses = [cluster.address(1), cluster.address(2)];
    for round in 0..100 {
        assert_alive(&mut one, &mut two);
        // What a peer is not told to have arrived, it sends again.
        [&mut one, &mut two].into_iter().for_each(|node| node.outbox().flush(PATIENCE).unwrap());
        let (remover, peer) = if round % 2 == 0 { (&mut one, 2) } else { (&mut two, 1) };
        assert_eq!(remover.remove_peer(peer).unwrap().messages, 0);
        remover.add_peer(peer, &addresses[peer as usize - 1]).unwrap();
    }
    assert_alive(&mut one, &mut two);
    for (node, rounds) in [(&one, 101), (&two, 101)] {
        let [row] = node.stats()[..] else { panic!("one peer") };
        assert_eq!((row.messages_out, row.messages_in), (rounds, rounds));
        assert_eq!(row.messages_out, row.acknowledged + row.in_flight + row.dropped(), "{row:?}");
    }
}

/// Envelopes that came before the removal are read after it, and count.
#[test]
fn what_a_peer_had_sent_before_it_was_removed_is_read_and_counted() {
    let [mut one, mut two] = Cluster::new([1, 2]).start_each([1, 2]);
    for _ in 0..10 {
        send(two.outbox(), Envelope::to(1).body([7; 100]));
    }
    two.outbox().flush(PATIENCE).unwrap();
    let unread = 10 * (16 + 104);
    eventually("the envelopes", || (one.stats()[0].bytes_unread == unread).then_some(()));
    one.remove_peer(2).unwrap();
    assert_eq!(one.stats()[0].bytes_unread, unread);
    for _ in 0..10 {
        receive(one.inbox());
    }
    assert!(one.inbox().try_recv().is_err());
    let [row] = one.stats()[..] else { panic!("one row") };
    assert_eq!((row.pid, row.messages_in, row.bytes_in, row.bytes_unread), (2, 10, 1000, 0));
}

/// Peers that are not there, beside the one that is.
const ABSENT: Pid = 100;
/// Peers with a lower pid are in the configuration.
const FIRST_STRANGER: Pid = 10_000;
/// The last seconds, whose median is compared with the first.
const LAST: usize = 5;
/// Buffers of the traffic itself that come into memory by and by: half of this in 24 seconds, also with one change a
/// second.
const TRAFFIC_BYTES: f64 = 1024.0 * 1024.0;
/// Until most of them are there.
const WARM_UP: Duration = Duration::from_secs(10);

/// Bytes of the process that are in memory.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Nanoseconds for which the thread has had a processor.
fn processor_nanos(thread: &Path) -> u64 {
    let times = std::fs::read_to_string(thread.join("schedstat")).unwrap();
    times.split_whitespace().next().unwrap().parse().unwrap()
}

/// Figures of one second.
struct Second {
    /// Sends a second.
    rate: f64,
    /// Sends for each second in which the sending thread had a processor: what others do to the machine does not count.
    own_rate: f64,
    resident_bytes: u64,
}

/// Removes one peer and adds it again, and removes and adds one that was never there before, in turn.
fn change(handle: &mut Handle, number: u64) {
    let (round, step) = (number / 4, number % 4);
    let (known, stranger) = (3 + round % ABSENT, FIRST_STRANGER + round);
    match step {
        0 => drop(handle.remove_peer(known).unwrap()),
        1 => handle.add_peer(known, "127.0.0.1:1").unwrap(),
        2 => handle.add_peer(stranger, "127.0.0.1:1").unwrap(),
        _ => drop(handle.remove_peer(stranger).unwrap()),
    }
}

/// `CHURN_SECONDS` (60) of `CHURN_RATE` (1,000) calls of `add_peer` and `remove_peer` a second: the rate of sends and
/// the memory stay what they were in the first second.
#[test]
#[ignore = "measures for a minute"]
fn sends_and_memory_stay_what_they_are_beside_a_thousand_changes_a_second() {
    let number = |name, usual| std::env::var(name).map_or(usual, |number| number.parse::<u64>().unwrap());
    let (seconds, changes_per_second) = (number("CHURN_SECONDS", 60) as usize, number("CHURN_RATE", 1_000));
    // Short of the usual, so that the buffers of the traffic itself are soon all in memory.
    let short = |config: Config| config.with_inbox_bytes(256 * 1024).with_outbox_bytes(256 * 1024);
    let mut cluster = Cluster::new([1, 2].into_iter().chain(3..3 + ABSENT)).with(short);
    let [one, two] = cluster.start_each([1, 2]);
    let Split { mut outbox, mut handle, .. } = one.split();
    let Split { mut inbox, handle: _other, .. } = two.split();
    let (stop, sent, changes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (this_thread, sender_thread) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            this_thread.send(Path::new("/proc").join(std::fs::read_link("/proc/thread-self").unwrap())).unwrap();
            while !stop.load(Ordering::Relaxed) {
                send(&mut outbox, Envelope::to(2).body([7; 64].as_slice()));
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            loop {
                if inbox.recv_timeout(Duration::from_millis(100)).is_ok() {
                    while inbox.try_recv().is_ok() {}
                } else if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let sender = sender_thread.recv().unwrap();
        // What is remembered of peers that were removed is at its bound from the beginning.
        for stranger in 1..=1_024 {
            handle.add_peer(FIRST_STRANGER - stranger, "127.0.0.1:1").unwrap();
            handle.remove_peer(FIRST_STRANGER - stranger).unwrap();
        }
        thread::sleep(WARM_UP);
        scope.spawn(|| {
            let begin = Instant::now();
            for number in 0.. {
                let due = begin + Duration::from_micros(number * 1_000_000 / changes_per_second);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                change(&mut handle, number);
                changes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let counters = || {
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
            (Instant::now(), processor_nanos(&sender), count(&sent), count(&changes))
        };
        let mut rows: Vec<Second> = Vec::new();
        let mut before = counters();
        for second in 1..=seconds {
            thread::sleep(Duration::from_secs(1));
            let after = counters();
            let elapsed = (after.0 - before.0).as_secs_f64();
            let (own, sends, changes) = ((after.1 - before.1) as f64 / 1e9, after.2 - before.2, after.3 - before.3);
            let row = Second { rate: sends / elapsed, own_rate: sends / own, resident_bytes: resident_bytes() };
            eprintln!(
                "second {second}: {:.0} sends/s, {:.0} for each second of the sender's processor, {:.0} changes/s, {} KiB",
                row.rate,
                row.own_rate,
                changes / elapsed,
                row.resident_bytes / 1024
            );
            rows.push(row);
            before = after;
        }
        stop.store(true, Ordering::Relaxed);
        let share = |rate: fn(&Second) -> f64| {
            let mut last: Vec<f64> = rows[seconds.saturating_sub(LAST)..].iter().map(rate).collect();
            last.sort_by(f64::total_cmp);
            last[last.len() / 2] / rate(&rows[0])
        };
        let (rate, own_rate) = (share(|second| second.rate), share(|second| second.own_rate));
        let memory = share(|second| second.resident_bytes as f64);
        eprintln!(
            "to the first second: {rate:.3} times the sends, {own_rate:.3} of its processor's, {memory:.3} the memory"
        );
        assert!(rate.max(own_rate) >= 0.9, "{rate:.3} times the sends of the first second");
        let allowed = 1.1 + TRAFFIC_BYTES / rows[0].resident_bytes as f64;
        assert!(memory <= allowed, "{memory:.3} times the memory of the first second");
    });
}
