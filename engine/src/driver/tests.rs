//! Tests of the driver against the real kernel, over loopback, and of receive buffers alone.

mod receiving;

use std::collections::VecDeque;
use std::fs::File;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use self::receiving::{
    a_turn_that_leaves_nothing_has_read_all_sockets, an_end_that_comes_with_the_last_bytes_is_seen,
    everything_was_read_also_while_the_kernel_claims_that_something_is_left,
    the_end_of_a_connection_is_seen_by_a_loop_that_stays_awake, what_comes_is_received_after_any_number_of_turns_awake,
};
use super::{
    ChunkPool, Completion, Driver, Entry, Epoll, Listener, SocketId, Uring, Wait, Way, features, hold_at_most,
};
use crate::batch::Batch;
use crate::wire::{Kind, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::{clock::Clock, time::Time};

const TCP: Way = Way { memory: false, socket_bytes: 0 };

const PATIENCE: Duration = Duration::from_secs(30);

/// A driver over sockets of the kernel.
trait OverSockets: Driver {
    fn start() -> Self;
}

impl OverSockets for Uring {
    fn start() -> Uring {
        Uring::new(*CLOCK).unwrap()
    }
}

impl OverSockets for Epoll {
    fn start() -> Epoll {
        Epoll::new(*CLOCK).unwrap()
    }
}

/// Runs each of the tests on each driver.
macro_rules! on_each_driver {
    ($($test:ident),* $(,)?) => {
        mod uring {
            $(#[test]
            fn $test() {
                if !super::features::is_forbidden() {
                    super::$test::<super::Uring>();
                }
            })*
        }

        mod epoll {
            $(#[test]
            fn $test() {
                super::$test::<super::Epoll>();
            })*
        }
    };
}

on_each_driver! {
    the_kernel_holds_no_more_of_a_connection_than_it_may,
    a_number_is_not_used_again_before_everybody_knows_that_its_socket_is_gone,
    bytes_arrive_and_sockets_close,
    what_comes_is_received_after_any_number_of_turns_awake,
    the_end_of_a_connection_is_seen_by_a_loop_that_stays_awake,
    an_end_that_comes_with_the_last_bytes_is_seen,
    what_is_done_already_ends_a_wait,
    nothing_is_told_of_a_send_whose_socket_is_closed,
    a_turn_that_leaves_nothing_has_read_all_sockets,
    a_full_socket_takes_a_part_and_the_kernel_the_rest,
    a_notification_ends_a_wait_also_when_it_came_before,
    waits_end_in_time_and_not_long_before,
    an_address_is_free_when_the_listeners_descriptor_is_closed,
    every_connection_in_a_backlog_is_accepted,
    everything_was_read_also_while_the_kernel_claims_that_something_is_left,
}

static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::start);

fn now() -> Time {
    CLOCK.now()
}

/// Turns the driver once: waits up to 100 milliseconds for a completion, or does not sleep.
fn turn(driver: &mut impl Driver, sleeps: bool) -> VecDeque<Completion> {
    let wait = if sleeps { Wait::Until(now() + Duration::from_millis(100)) } else { Wait::No };
    if let Some(entry) = driver.begin(wait) {
        entry.enter().unwrap();
    }
    let mut completions = VecDeque::new();
    driver.reap(&mut completions, Time::default()).unwrap();
    completions
}

/// Turns the driver until `wanted` returns a value for a completion. Returns the first such value.
fn turn_until<T>(driver: &mut impl Driver, mut wanted: impl FnMut(Completion) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "nothing came");
        let completions = turn(driver, true);
        let mut found = None;
        for completion in completions {
            let wanted = wanted(completion);
            found = found.or(wanted);
        }
        if let Some(found) = found {
            return found;
        }
    }
}

/// Connects the driver to itself. Returns the listener, the dialing end and the accepting end.
fn connect(driver: &mut impl Driver) -> [SocketId; 3] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = driver.listen(Listener::Socket(listener), None).unwrap();
    let dialing = driver.connect(address, TCP).unwrap();
    let (mut connected, mut accepted) = (false, None);
    turn_until(driver, |completion| {
        match completion {
            Completion::Connected { socket, result } => {
                assert_eq!(socket, dialing);
                result.unwrap();
                connected = true;
            }
            Completion::Accepted { listener: at, socket, .. } => {
                assert_eq!(at, listener);
                accepted = Some(socket);
            }
            other => panic!("{other:?}"),
        }
        (connected && accepted.is_some()).then_some(())
    });
    [listener, dialing, accepted.unwrap()]
}

fn batch(payload: Vec<u8>) -> Box<Batch> {
    let mut batch = Box::<Batch>::default();
    batch.push_owned(SegmentHeader::new(Kind::Heartbeat), payload);
    batch
}

fn close(driver: &mut impl Driver, sockets: &[SocketId]) {
    let mut open = sockets.to_vec();
    for socket in sockets {
        driver.close(*socket);
        // Requests after a close have no effect.
        driver.send(*socket, batch(vec![0; 8]), 0);
        driver.close(*socket);
    }
    turn_until(driver, |completion| {
        let Completion::Closed { socket } = completion else { panic!("{completion:?} after close") };
        open.retain(|other| *other != socket);
        open.is_empty().then_some(())
    });
}

/// Bytes that the kernel holds cannot be overtaken, so the kernel must not hold many.
fn the_kernel_holds_no_more_of_a_connection_than_it_may<D: OverSockets>() {
    let mut driver = D::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    hold_at_most(64 * 1024, &listener);
    let way = Way { memory: false, socket_bytes: 64 * 1024 };
    let dialing = driver.connect(listener.local_addr().unwrap(), way).unwrap();
    turn_until(&mut driver, |completion| matches!(completion, Completion::Connected { .. }).then_some(()));
    let (_silent, _) = listener.accept().unwrap();
    let (mut held, batch) = (0, batch(vec![7; 32 * 1024]));
    while let Ok(taken) = driver.send_now(dialing, &batch) {
        held += taken;
        // The limit holds for each direction. Without a limit, the kernel holds some megabytes.
        assert!(held <= 2 * 64 * 1024, "{held} bytes");
    }
    assert!(held >= 64 * 1024, "{held} bytes");
}

/// Found by the simulator. One call of `reap` reported the end of two connections. The shard processed the first one
/// and dialed, and the dial got the id of the other connection. The end of that connection, which was not processed
/// yet, was then taken for the end of the dial.
fn a_number_is_not_used_again_before_everybody_knows_that_its_socket_is_gone<D: OverSockets>() {
    let mut driver = D::start();
    let [_listener, near, far] = connect(&mut driver);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    driver.close(near);
    driver.close(far);
    let mut gone = vec![near, far];
    while !gone.is_empty() {
        if let Some(entry) = driver.begin(Wait::Until(now() + Duration::from_millis(100))) {
            entry.enter().unwrap();
        }
        let mut completions = VecDeque::new();
        driver.reap(&mut completions, Time::default()).unwrap();
        let closed = completions.iter().filter_map(|completion| match completion {
            Completion::Closed { socket } => Some(*socket),
            _ => None,
        });
        let closed: Vec<SocketId> = closed.collect();
        for _ in 0..3 {
            let dialed = driver.connect(address, TCP).unwrap();
            assert!(!closed.contains(&dialed), "{dialed:?} is still being told");
        }
        gone.retain(|socket| !closed.contains(socket));
    }
    // The ids are reused afterwards, so they do not grow without bound.
    driver.reap(&mut VecDeque::new(), Time::default()).unwrap();
    let again = [driver.connect(address, TCP).unwrap(), driver.connect(address, TCP).unwrap()];
    assert!(again.contains(&near) && again.contains(&far), "{again:?}");
}

fn bytes_arrive_and_sockets_close<D: OverSockets>() {
    let mut driver = D::start();
    let pool = ChunkPool::new(64 * 1024, 4);
    let [listener, near, far] = connect(&mut driver);
    driver.receive(far, pool.take().unwrap());
    driver.send(near, batch(vec![7; 64]), 0);
    let (mut sent, mut received) = (false, None);
    turn_until(&mut driver, |completion| {
        match completion {
            Completion::Sent { socket, result, batch } => {
                assert_eq!((socket, batch.bytes()), (near, SEGMENT_HEADER_BYTES + 64));
                result.unwrap();
                sent = true;
            }
            Completion::Received { socket, result, buffer } => {
                assert_eq!((socket, result.unwrap()), (far, buffer.filled()));
                received = Some(buffer);
            }
            other => panic!("{other:?}"),
        }
        (sent && received.is_some()).then_some(())
    });
    let mut buffer = received.unwrap();
    assert_eq!(buffer.bytes()[SEGMENT_HEADER_BYTES..], [7; 64]);

    // The end of a connection is a receive of zero bytes. A receive that is under way at a close is dropped without a
    // completion.
    assert!(buffer.reset());
    driver.receive(far, buffer);
    driver.finish(near);
    let ended = turn_until(&mut driver, |completion| match completion {
        Completion::Received { socket, result, .. } => Some((socket, result.unwrap())),
        other => panic!("{other:?}"),
    });
    assert_eq!(ended, (far, 0));
    driver.receive(near, pool.take().unwrap());
    close(&mut driver, &[listener, near, far]);
}

fn what_is_done_already_ends_a_wait<D: OverSockets>() {
    let mut driver = D::start();
    let [listener, near, far] = connect(&mut driver);
    let began = Instant::now();
    driver.send(near, batch(vec![7; 64]), 0);
    driver.begin(Wait::Until(now() + PATIENCE)).unwrap().enter().unwrap();
    let mut completions = VecDeque::new();
    driver.reap(&mut completions, Time::default()).unwrap();
    assert!(began.elapsed() < PATIENCE);
    assert!(matches!(completions.pop_front(), Some(Completion::Sent { result: Ok(()), .. })), "{completions:?}");
    close(&mut driver, &[near, far]);
    // No event comes from the end of a listener.
    driver.close(listener);
    driver.begin(Wait::Until(now() + PATIENCE)).map(Entry::enter).transpose().unwrap();
    driver.reap(&mut completions, Time::default()).unwrap();
    assert!(began.elapsed() < PATIENCE);
    assert!(matches!(completions.pop_front(), Some(Completion::Closed { socket }) if socket == listener));
}

fn nothing_is_told_of_a_send_whose_socket_is_closed<D: OverSockets>() {
    let mut driver = D::start();
    let [listener, near, far] = connect(&mut driver);
    driver.send(near, batch(vec![7; 64]), 0);
    close(&mut driver, &[near, far, listener]);
}

fn a_full_socket_takes_a_part_and_the_kernel_the_rest<D: OverSockets>() {
    let mut driver = D::start();
    let pool = ChunkPool::new(256 * 1024, 4);
    let [listener, near, far] = connect(&mut driver);
    let mut total = 0;
    // The test receives only after the socket is full.
    let (rest, taken) = loop {
        let batch = batch(vec![1; 64 * 1024]);
        match driver.send_now(near, &batch) {
            Ok(taken) if taken == batch.bytes() => total += taken,
            Ok(taken) => break (batch, taken),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                break (batch, 0);
            }
        }
    };
    let all = total + rest.bytes();
    driver.send(near, rest, taken);
    let (mut sent, mut received) = (false, 0);
    let mut idle = Some(pool.take().unwrap());
    while received < all {
        if let Some(buffer) = idle.take() {
            driver.receive(far, buffer);
        }
        idle = turn_until(&mut driver, |completion| match completion {
            Completion::Sent { result, .. } => {
                result.unwrap();
                sent = true;
                None
            }
            Completion::Received { result, mut buffer, .. } => {
                received += result.unwrap();
                assert!(buffer.reset());
                Some(buffer)
            }
            other => panic!("{other:?}"),
        })
        .into();
    }
    assert_eq!((received, sent), (all, true));
    close(&mut driver, &[listener, near, far]);
}

fn a_notification_ends_a_wait_also_when_it_came_before<D: OverSockets>() {
    let mut driver = D::start();
    let notifier = driver.notifier();
    for early in [true, false] {
        notifier.fall_asleep();
        let other = notifier.clone();
        let notify = move || thread::spawn(move || other.notify());
        let later = if early {
            notify().join().unwrap();
            None
        } else {
            Some(notify)
        };
        let began = Instant::now();
        let entry = driver.begin(Wait::Until(now() + PATIENCE)).unwrap();
        let later = later.map(|notify| notify());
        entry.enter().unwrap();
        driver.reap(&mut VecDeque::new(), Time::default()).unwrap();
        assert!(began.elapsed() < PATIENCE);
        assert!(!notifier.is_asleep());
        if let Some(later) = later {
            later.join().unwrap();
        }
    }
}

/// A wait that ends before the earliest alarm sets an alarm of its own. A wait that ends later needs none.
fn waits_end_in_time_and_not_long_before<D: OverSockets>() {
    let mut driver = D::start();
    let mut waits = 0;
    for milliseconds in [200, 20, 60, 5, 5, 250] {
        let until = now() + Duration::from_millis(milliseconds);
        while now() < until {
            driver.begin(Wait::Until(until)).unwrap().enter().unwrap();
            waits += 1;
            let mut completions = VecDeque::new();
            driver.reap(&mut completions, Time::default()).unwrap();
            assert!(completions.is_empty());
        }
        assert!(now().since(until) < PATIENCE);
    }
    // Each alarm may end one wait early, and there are at most six alarms.
    assert!(waits <= 12, "{waits}");
}

#[test]
fn a_chunk_is_used_again_once_nobody_shares_it() {
    let pool = ChunkPool::new(4096, 1);
    let mut buffer = pool.take().unwrap();
    buffer.append(b"hello, world");
    let share = buffer.share(7..12);
    assert_eq!((&share[..], &share.part(1..3)[..]), (&b"world"[..], &b"or"[..]));
    assert!(!buffer.reset());
    assert_eq!((buffer.filled(), buffer.free()), (12, 4084));
    drop(share);
    assert!(buffer.reset());
    assert_eq!(buffer.free(), 4096);

    let first = buffer.bytes().as_ptr();
    let share = {
        buffer.append(b"kept");
        buffer.share(0..4)
    };
    // The share outlives the buffer. The memory returns to the pool with the last of the two.
    drop(buffer);
    assert_ne!(pool.take().unwrap().bytes().as_ptr(), first);
    assert_eq!(&share[..], b"kept");
}

/// When a process is killed, the kernel closes its descriptors long before it ends the operations under way on its
/// rings.
fn an_address_is_free_when_the_listeners_descriptor_is_closed<D: OverSockets>() {
    let mut driver = D::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, descriptor) = (listener.local_addr().unwrap(), listener.as_raw_fd());
    driver.listen(Listener::Socket(listener), None).unwrap();
    for _ in 0..3 {
        let entered = driver.begin(Wait::Until(now() + Duration::from_millis(1))).map(Entry::enter);
        entered.transpose().unwrap();
    }
    assert!(TcpListener::bind(address).is_err());
    // Another file takes the descriptor's place, so that the driver can close the descriptor once more.
    let other = File::open("/dev/null").unwrap();
    // SAFETY: both descriptors are open. The replaced one belongs to the driver, which does not use it any more.
    assert_eq!(unsafe { libc::dup3(other.as_raw_fd(), descriptor, libc::O_CLOEXEC) }, descriptor);
    TcpListener::bind(address).unwrap();
}

fn every_connection_in_a_backlog_is_accepted<D: OverSockets>() {
    let mut driver = D::start();
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    // These connections wait before the driver's first turn, and are more than one turn accepts.
    let early: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(addresses[0]).unwrap()).collect();
    let listeners = listeners.map(|listener| driver.listen(Listener::Socket(listener), None).unwrap());
    let mut accepted = [0; 3];
    let mut sockets = Vec::new();
    let mut turn_until_accepted = |driver: &mut D, wanted: [u32; 3]| {
        turn_until(driver, |completion| {
            let Completion::Accepted { listener, socket, source } = completion else { panic!("{completion:?}") };
            assert_eq!(source, Some(IpAddr::from([127, 0, 0, 1])));
            sockets.push(socket);
            accepted[listeners.iter().position(|each| *each == listener).unwrap()] += 1;
            (accepted == wanted).then_some(())
        });
    };
    turn_until_accepted(&mut driver, [100, 0, 0]);
    let late = [1, 2, 2].map(|index: usize| TcpStream::connect(addresses[index]).unwrap());
    turn_until_accepted(&mut driver, [100, 1, 2]);
    // A closed listener accepts no connections; the others do.
    close(&mut driver, &listeners[2..]);
    assert!(TcpStream::connect(addresses[2]).is_err());
    let last = TcpStream::connect(addresses[0]).unwrap();
    turn_until_accepted(&mut driver, [101, 1, 2]);
    close(&mut driver, &sockets);
    drop((early, late, last));
}
