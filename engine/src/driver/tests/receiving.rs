//! Receives of a driver, and the moments until which it has read everything.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{OverSockets, PATIENCE, batch, close, connect, now, turn, turn_until};
use crate::driver::{ChunkPool, Completion, Driver, Entry, Listener, Reaped, Wait};

/// Bytes arrive after any number of turns without a sleep, and in turns that sleep and turns that do not.
pub(super) fn what_comes_is_received_after_any_number_of_turns_awake<D: OverSockets>() {
    let mut driver = D::start();
    let pool = ChunkPool::new(4096, 4);
    let [listener, near, far] = connect(&mut driver);
    let sent = batch(vec![7; 64]);
    for turns in (0..40).chain([100]) {
        for sleeps in [false, true] {
            driver.receive(far, pool.take().unwrap());
            for _ in 0..turns {
                let completions = turn(&mut driver, false);
                assert!(completions.is_empty(), "{completions:?}");
            }
            assert_eq!(driver.send_now(near, &sent).unwrap(), sent.bytes());
            let deadline = Instant::now() + PATIENCE;
            let received = loop {
                assert!(Instant::now() < deadline, "nothing came after {turns} turns");
                if let Some(completion) = turn(&mut driver, sleeps).pop_front() {
                    break completion;
                }
            };
            let Completion::Received { socket, result, buffer } = received else { panic!("{received:?}") };
            assert_eq!((socket, result.unwrap(), buffer.filled()), (far, sent.bytes(), sent.bytes()));
        }
    }
    // The buffer of a receive is free once the socket is closed, whether the loop or the ring was to receive.
    driver.receive(far, pool.take().unwrap());
    close(&mut driver, &[listener, near, far]);
    assert_eq!(pool.bytes_in_use(), 0);
}

/// The end of a connection is reported also while the loop does not sleep.
pub(super) fn the_end_of_a_connection_is_seen_by_a_loop_that_stays_awake<D: OverSockets>() {
    let mut driver = D::start();
    let pool = ChunkPool::new(4096, 4);
    let [listener, near, far] = connect(&mut driver);
    let silent = connect(&mut driver);
    driver.receive(silent[1], pool.take().unwrap());
    driver.receive(far, pool.take().unwrap());
    driver.finish(near);
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        assert!(Instant::now() < deadline, "nothing came");
        if let Some(completion) = turn(&mut driver, false).pop_front() {
            break completion;
        }
    };
    assert!(matches!(&ended, Completion::Received { socket, result: Ok(0), .. } if *socket == far), "{ended:?}");
    close(&mut driver, &[&[listener, near, far][..], &silent].concat());
}

/// The bytes and the end of the connection are one edge for epoll. A read that takes all of the bytes is a short one.
pub(super) fn an_end_that_comes_with_the_last_bytes_is_seen<D: OverSockets>() {
    let mut driver = D::start();
    let pool = ChunkPool::new(4096, 4);
    for sleeps in [true, false] {
        let [listener, near, far] = connect(&mut driver);
        let sent = batch(vec![7; 64]);
        assert_eq!(driver.send_now(near, &sent).unwrap(), sent.bytes());
        driver.finish(near);
        // Both are there before the first receive, and before the driver is told of them.
        for expected in [sent.bytes(), 0] {
            driver.receive(far, pool.take().unwrap());
            let deadline = Instant::now() + PATIENCE;
            let received = loop {
                assert!(Instant::now() < deadline, "nothing came");
                if let Some(completion) = turn(&mut driver, sleeps).pop_front() {
                    break completion;
                }
            };
            let Completion::Received { result, .. } = received else { panic!("{received:?}") };
            assert_eq!(result.unwrap(), expected);
        }
        close(&mut driver, &[listener, near, far]);
    }
}

/// More sockets are readable than one call reports. Silence is judged by what a turn says that it has read.
pub(super) fn a_turn_that_leaves_nothing_has_read_all_sockets<D: OverSockets>() {
    const SOCKETS: usize = 400;
    let mut driver = D::start();
    let pool = ChunkPool::new(4096, SOCKETS);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    driver.listen(Listener::Socket(listener), None).unwrap();
    let mut near = Vec::new();
    let mut accepted = Vec::new();
    while accepted.len() < SOCKETS {
        near.push(TcpStream::connect(address).unwrap());
        let socket = turn_until(&mut driver, |completion| match completion {
            Completion::Accepted { socket, .. } => Some(socket),
            other => panic!("{other:?}"),
        });
        driver.receive(socket, pool.take().unwrap());
        accepted.push(socket);
    }
    // No receive is left that the driver would poll for itself.
    (0..100).for_each(|_| assert!(turn(&mut driver, false).is_empty()));
    near.iter_mut().for_each(|near| near.write_all(&[7; 8]).unwrap());
    let mut received = 0;
    loop {
        let now = now();
        if let Some(entry) = driver.begin(Wait::No) {
            entry.enter().unwrap();
        }
        let mut completions = VecDeque::new();
        let reaped = driver.reap(&mut completions, now).unwrap();
        received += completions.len();
        if reaped.until >= now {
            break;
        }
        assert!(reaped.is_left);
    }
    assert_eq!(received, SOCKETS);
}

/// The kernel sets the flag for deferred work after it has queued the work, and so sometimes when the work was run
/// already. The flag then stays set until the next work comes. A loop that trusted the flag would not sleep. A spinning
/// loop, which sets no alarm that would be such work, could not notice that a peer is silent.
pub(super) fn everything_was_read_also_while_the_kernel_claims_that_something_is_left<D: OverSockets>() {
    let mut driver = D::start();
    let notifier = driver.notifier();
    let seen = AtomicU32::new(0);
    let rounds = 300_000;
    let mut stuck = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=rounds {
                while seen.load(Ordering::Acquire) < round {
                    std::hint::spin_loop();
                }
                for _ in 0..round % 200 {
                    std::hint::spin_loop();
                }
                notifier.notify();
            }
        });
        for round in 1..=rounds {
            notifier.fall_asleep();
            seen.store(round, Ordering::Release);
            while notifier.is_asleep() {
                look(&mut driver, Wait::Until(now() + Duration::from_millis(1)));
            }
            let quiet = now();
            let is_over = |reaped: Reaped| reaped.until >= quiet && !reaped.is_left;
            stuck += usize::from(!(0..4).any(|_| is_over(look(&mut driver, Wait::No))));
        }
    });
    assert_eq!(stuck, 0, "of {rounds} times");
}

/// Turns the driver once. Returns its progress.
fn look(driver: &mut impl Driver, wait: Wait) -> Reaped {
    if let Some(entry) = driver.begin(wait) {
        entry.enter().unwrap();
    }
    let now = now();
    driver.reap(&mut VecDeque::new(), now).unwrap()
}
