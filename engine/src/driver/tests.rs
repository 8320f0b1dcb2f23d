//! The driver against the real kernel, over loopback; and the receive buffers by themselves.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use super::{ChunkPool, Completion, Driver, Entry, Listener, SocketId, Uring, Wait};
use crate::link::Batch;
use crate::time::{Clock, Time};
use crate::wire::{Kind, SEGMENT_HEADER_BYTES, SegmentHeader};

const PATIENCE: Duration = Duration::from_secs(30);

static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::start);

fn now() -> Time {
    CLOCK.now()
}

/// Turns the driver until it has completed something that `wanted` picks.
fn turn_until<T>(driver: &mut Uring, mut wanted: impl FnMut(Completion) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "nothing came");
        if let Some(entry) = driver.begin(Wait::Until(now() + Duration::from_millis(100))) {
            entry.enter().unwrap();
        }
        let mut completions = VecDeque::new();
        driver.reap(&mut completions).unwrap();
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

/// A connection of the driver with itself: listener, dialing end, accepting end.
fn connect(driver: &mut Uring) -> [SocketId; 3] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = driver.listen(Listener::Socket(listener), None).unwrap();
    let dialing = driver.connect(address, false).unwrap();
    let (mut connected, mut accepted) = (false, None);
    turn_until(driver, |completion| {
        match completion {
            Completion::Connected { socket, result } => {
                assert_eq!(socket, dialing);
                result.unwrap();
                connected = true;
            }
            Completion::Accepted { listener: at, socket } => {
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

fn close(driver: &mut Uring, sockets: &[SocketId]) {
    let mut open = sockets.to_vec();
    for socket in sockets {
        driver.close(*socket);
        // What is asked for after that comes to nothing.
        driver.send(*socket, batch(vec![0; 8]), 0);
        driver.close(*socket);
    }
    turn_until(driver, |completion| {
        let Completion::Closed { socket } = completion else { panic!("{completion:?} after close") };
        open.retain(|other| *other != socket);
        open.is_empty().then_some(())
    });
}

#[test]
fn bytes_arrive_and_sockets_close() {
    let mut driver = Uring::new(*CLOCK).unwrap();
    let pool = ChunkPool::new(64 * 1024, 4);
    let [listener, near, far] = connect(&mut driver);
    driver.receive(far, pool.take());
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

    // The end of a connection is a receive of nothing; what was asked for before a close is given back in silence.
    assert!(buffer.reset());
    driver.receive(far, buffer);
    driver.finish(near);
    let ended = turn_until(&mut driver, |completion| match completion {
        Completion::Received { socket, result, .. } => Some((socket, result.unwrap())),
        other => panic!("{other:?}"),
    });
    assert_eq!(ended, (far, 0));
    driver.receive(near, pool.take());
    close(&mut driver, &[listener, near, far]);
}

#[test]
fn a_full_socket_takes_a_part_and_the_kernel_the_rest() {
    let mut driver = Uring::new(*CLOCK).unwrap();
    let pool = ChunkPool::new(256 * 1024, 4);
    let [listener, near, far] = connect(&mut driver);
    let mut total = 0;
    // Until the socket is full, nobody reads.
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
    let mut idle = Some(pool.take());
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

#[test]
fn a_bell_ends_a_wait_also_when_it_was_rung_before() {
    let mut driver = Uring::new(*CLOCK).unwrap();
    let bell = driver.bell();
    for early in [true, false] {
        bell.fall_asleep();
        let ringer = bell.clone();
        let ring = move || thread::spawn(move || ringer.ring());
        let ringing = if early {
            ring().join().unwrap();
            None
        } else {
            Some(ring)
        };
        let began = Instant::now();
        let entry = driver.begin(Wait::Until(now() + PATIENCE)).unwrap();
        let ringing = ringing.map(|ring| ring());
        entry.enter().unwrap();
        driver.reap(&mut VecDeque::new()).unwrap();
        assert!(began.elapsed() < PATIENCE);
        assert!(!bell.is_asleep());
        if let Some(ringing) = ringing {
            ringing.join().unwrap();
        }
    }
}

/// A wait that is to end earlier than an alarm which is set already has its own; one that is to end later needs none.
#[test]
fn waits_end_in_time_and_not_long_before() {
    let mut driver = Uring::new(*CLOCK).unwrap();
    let mut waits = 0;
    for milliseconds in [200, 20, 60, 5, 5, 250] {
        let until = now() + Duration::from_millis(milliseconds);
        while now() < until {
            driver.begin(Wait::Until(until)).unwrap().enter().unwrap();
            waits += 1;
            let mut completions = VecDeque::new();
            driver.reap(&mut completions).unwrap();
            assert!(completions.is_empty());
        }
        assert!(now().since(until) < PATIENCE);
    }
    // Each alarm may end one wait early, and there are at most six.
    assert!(waits <= 12, "{waits}");
}

#[test]
fn a_chunk_is_used_again_once_nobody_shares_it() {
    let pool = ChunkPool::new(4096, 1);
    let mut buffer = pool.take();
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
    // The share outlives the buffer, and the memory goes home with the last of them.
    drop(buffer);
    assert_ne!(pool.take().bytes().as_ptr(), first);
    assert_eq!(&share[..], b"kept");
}
