//! Tests of local transports alone: over a driver without a network, with turns made by hand.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use fastrand::Rng;

use super::{LocalAddr, LocalRegistry, LocalTransport, WINDOW_BYTES};
use crate::batch::Batch;
use crate::driver::{
    ChunkPool, Completion, Driver, Entry, Listener, Notifier, Reaped, ReceiveBuffer, Slice, SocketId, Wait, Way,
};
use crate::testing::one_in;
use crate::time::Time;
use crate::wire::{Kind, SEGMENT_HEADER_BYTES, SegmentHeader};

const MEMORY: Way = Way { memory: true, socket_bytes: 0 };

/// A driver without a network.
struct Nowhere {
    notifier: Arc<Notifier>,
    sockets: u32,
    closed: Vec<SocketId>,
}

struct NoEntry(Wait);

impl Entry for NoEntry {
    fn waits(&self) -> bool {
        false
    }

    fn enter(self) -> io::Result<()> {
        Ok(())
    }
}

impl Driver for Nowhere {
    fn now(&self) -> Time {
        Time::default()
    }

    fn notifier(&self) -> Arc<Notifier> {
        self.notifier.clone()
    }

    fn listen(&mut self, _: Listener, _: Option<LocalAddr>) -> io::Result<SocketId> {
        self.sockets += 1;
        Ok(SocketId(self.sockets - 1))
    }

    fn pause_accept(&mut self, _: SocketId) {}

    fn resume_accept(&mut self, _: SocketId) {}

    fn connect(&mut self, _: SocketAddr, _: Way) -> io::Result<SocketId> {
        Err(io::Error::from(io::ErrorKind::NetworkUnreachable))
    }

    fn receive(&mut self, _: SocketId, _: ReceiveBuffer) {
        panic!("there are no connections");
    }

    fn send(&mut self, _: SocketId, _: Box<Batch>, _: usize) {
        panic!("there are no connections");
    }

    fn send_now(&mut self, _: SocketId, _: &Batch) -> io::Result<usize> {
        panic!("there are no connections");
    }

    fn finish(&mut self, _: SocketId) {}

    fn close(&mut self, socket: SocketId) {
        self.closed.push(socket);
    }

    fn begin(&mut self, wait: Wait) -> Option<NoEntry> {
        Some(NoEntry(wait))
    }

    fn reap(&mut self, completions: &mut VecDeque<Completion>, now: Time) -> io::Result<Reaped> {
        completions.extend(self.closed.drain(..).map(|socket| Completion::Closed { socket }));
        Ok(Reaped { until: now, is_left: false })
    }

    type Entry = NoEntry;
}

type Transports = Vec<LocalTransport<Nowhere>>;

/// Makes the local transports of an engine, one for each shard.
fn transports(count: usize) -> Transports {
    let drivers =
        (0..count).map(|_| Nowhere { notifier: Arc::new(Notifier::for_thread()), sockets: 0, closed: Vec::new() });
    let drivers: Vec<Nowhere> = drivers.collect();
    let registry = LocalRegistry::new(drivers.iter().map(Driver::notifier));
    let drivers = drivers.into_iter().enumerate();
    drivers
        .map(|(shard, driver)| {
            LocalTransport::new(driver, registry.clone(), shard, ChunkPool::new(256 * 1024, 4), WINDOW_BYTES)
        })
        .collect()
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

/// Takes one turn. Returns its completions.
fn turn(transport: &mut LocalTransport<Nowhere>) -> Vec<Completion> {
    let mut completions = VecDeque::new();
    transport.reap(&mut completions, Time::default()).unwrap();
    completions.into()
}

/// Takes one turn. Returns its completion, of which there must be exactly one.
#[track_caller]
fn one(transport: &mut LocalTransport<Nowhere>) -> Completion {
    let mut completions = turn(transport);
    assert_eq!(completions.len(), 1, "{completions:?}");
    completions.remove(0)
}

#[track_caller]
fn nothing(transport: &mut LocalTransport<Nowhere>) {
    let completions = turn(transport);
    assert!(completions.is_empty(), "{completions:?}");
}

/// Connects the first transport to the last. Returns the dialing endpoint and the accepting endpoint.
fn connect(transports: &mut Transports) -> [SocketId; 2] {
    let last = transports.len() - 1;
    let listener = listen(&mut transports[last], 1);
    let near = transports[0].connect(address(1), MEMORY).unwrap();
    let Completion::Accepted { listener: at, socket: far, .. } = one_of(&mut transports[last], "accepted") else {
        panic!()
    };
    assert_eq!(at, listener);
    let Completion::Connected { socket, result } = one(&mut transports[0]) else { panic!() };
    result.unwrap();
    assert_eq!(socket, near);
    [near, far]
}

fn listen(transport: &mut LocalTransport<Nowhere>, port: u16) -> SocketId {
    let addr = transport.registry.announce(address(port), transport.shard as usize);
    transport.listen(Listener::At(address(port)), Some(addr)).unwrap()
}

/// Reads one message. Returns its completion. With one transport, the completion of the dial comes in the next turn.
fn one_of(transport: &mut LocalTransport<Nowhere>, what: &str) -> Completion {
    let mut completions = VecDeque::new();
    // The message of the answer is behind that of the dial, in the same queue.
    let message = transport.registry.next_message(transport.shard).expect(what);
    transport.on_message(message, &mut completions);
    completions.pop_front().expect(what)
}

fn batch(payloads: &[Vec<u8>]) -> Box<Batch> {
    let mut batch = Box::<Batch>::default();
    for payload in payloads {
        batch.push_owned(SegmentHeader::new(Kind::Heartbeat), payload.clone());
    }
    batch
}

/// Returns the payloads of segments.
fn payloads(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let header = SegmentHeader::parse(bytes).unwrap().expect("whole segments");
        let payload = &bytes[SEGMENT_HEADER_BYTES..header.segment_bytes()];
        header.verify(payload).unwrap();
        found.push(payload.to_vec());
        bytes = &bytes[header.segment_bytes()..];
    }
    found
}

fn handed(completions: Vec<Completion>, at: SocketId) -> Vec<Slice> {
    let slices = completions.into_iter().map(|completion| match completion {
        Completion::Handed { socket, bytes } if socket == at => bytes,
        other => panic!("{other:?}"),
    });
    slices.collect()
}

/// Runs a test on one shard, and on two.
fn each(test: impl Fn(Transports)) {
    test(transports(1));
    test(transports(2));
}

#[test]
fn what_is_sent_arrives_in_order_and_where_it_stands() {
    each(|mut transports| {
        let [near, far] = connect(&mut transports);
        let last = transports.len() - 1;
        let first = batch(&[vec![1; 8], vec![2; 64]]);
        assert_eq!(transports[0].send_now(near, &first).unwrap(), first.bytes());
        transports[0].send_now(near, &batch(&[vec![3; 16]])).unwrap();
        let slices = handed(turn(&mut transports[last]), far);
        let found: Vec<Vec<u8>> = slices.iter().flat_map(|slice| payloads(slice)).collect();
        assert_eq!(found, [vec![1; 8], vec![2; 64], vec![3; 16]]);
        // The segments are adjacent in one chunk.
        assert_eq!(slices[1].as_ptr().addr() - slices[0].as_ptr().addr(), slices[0].len());
        let start = slices[0].as_ptr();

        // Bytes that an application still reads stay in place. Their place is reused after the drop of the slices.
        transports[0].send_now(near, &batch(&[vec![4; 8]])).unwrap();
        let later = handed(turn(&mut transports[last]), far);
        assert_ne!(later[0].as_ptr(), start);
        assert_eq!(payloads(&slices[0]), [vec![1; 8], vec![2; 64]]);
        drop((slices, later));
        transports[0].send_now(near, &batch(&[vec![5; 8]])).unwrap();
        assert_eq!(handed(turn(&mut transports[last]), far)[0].as_ptr(), start);

        // The other direction.
        transports[last].send(far, batch(&[vec![6; 8]]), 0);
        let mut completions = turn(&mut transports[0]);
        if last > 0 {
            completions.append(&mut turn(&mut transports[last]));
        }
        let [a, b] = &completions[..] else { panic!("{completions:?}") };
        let (sent, came) = if matches!(a, Completion::Sent { .. }) { (a, b) } else { (b, a) };
        assert!(matches!(sent, Completion::Sent { socket, result: Ok(()), .. } if *socket == far));
        assert!(matches!(came, Completion::Handed { socket, bytes } if *socket == near && payloads(bytes) == [[6; 8]]));
    });
}

#[test]
fn a_sender_waits_for_one_that_does_not_turn() {
    let mut transports = transports(2);
    let [near, far] = connect(&mut transports);
    let payload = vec![7; 60_000];
    let (mut sent, mut segments) = (0, 0);
    // Sends until only a part of a batch has room.
    let rest = loop {
        let batch = batch(&[payload.clone(), payload.clone(), payload.clone()]);
        let now = transports[0].send_now(near, &batch).unwrap();
        (sent, segments) = (sent + now, segments + 3);
        if now < batch.bytes() {
            assert_eq!(now % (SEGMENT_HEADER_BYTES + payload.len()), 0, "whole segments");
            transports[0].send(near, batch, now);
            break now;
        }
    };
    assert!(rest < 3 * (SEGMENT_HEADER_BYTES + payload.len()));
    assert!((WINDOW_BYTES..WINDOW_BYTES + 2 * 60_000).contains(&sent), "{sent} are under way");
    nothing(&mut transports[0]);

    let mut arrived = 0;
    while arrived < segments {
        for slice in handed(turn(&mut transports[1]), far) {
            arrived += payloads(&slice).len();
        }
        match &turn(&mut transports[0])[..] {
            [] => {}
            [Completion::Sent { socket, result: Ok(()), .. }] => assert_eq!(*socket, near),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(arrived, segments);
    nothing(&mut transports[0]);
}

/// Regardless of the bytes sent and taken before, a sender that waits for room is told of it.
#[test]
fn a_sender_that_waits_is_always_told() {
    let mut transports = transports(2);
    let [near, far] = connect(&mut transports);
    let mut random = Rng::with_seed(7);
    let (mut waits, mut sent, mut arrived) = (false, 0u64, 0);
    for _ in 0..2000 {
        if !waits {
            let segments = random.u64(1..=4);
            let sizes = (0..segments).map(|_| vec![0; 8 * random.usize(..8000)]);
            let batch = batch(&sizes.collect::<Vec<_>>());
            sent += segments;
            match transports[0].send_now(near, &batch).unwrap() {
                all if all == batch.bytes() => {}
                some => {
                    transports[0].send(near, batch, some);
                    waits = true;
                }
            }
        }
        if waits || one_in(&mut random, 10) {
            for slice in handed(turn(&mut transports[1]), far) {
                arrived += payloads(&slice).len() as u64;
            }
            waits &= turn(&mut transports[0]).is_empty();
        }
    }
    while arrived < sent {
        let slices = handed(turn(&mut transports[1]), far);
        turn(&mut transports[0]);
        assert!(!slices.is_empty(), "{arrived} of {sent}");
        arrived += slices.iter().map(|slice| payloads(slice).len() as u64).sum::<u64>();
    }
}

#[test]
fn the_end_comes_behind_what_was_sent() {
    each(|mut transports| {
        let [near, far] = connect(&mut transports);
        let last = transports.len() - 1;
        transports[0].send_now(near, &batch(&[vec![1; 8]])).unwrap();
        transports[0].finish(near);
        transports[0].finish(near);
        let completions = turn(&mut transports[last]);
        let [Completion::Handed { bytes, .. }, Completion::Ended { socket }] = &completions[..] else {
            panic!("{completions:?}")
        };
        assert_eq!((payloads(bytes), *socket), (vec![vec![1; 8]], far));

        // The other direction is still open.
        transports[last].send_now(far, &batch(&[vec![2; 8]])).unwrap();
        transports[last].close(far);
        let completions = turn(&mut transports[0]);
        let of_near = completions.iter().filter(|completion| !matches!(completion, Completion::Closed { .. }));
        let of_near: Vec<&Completion> = of_near.collect();
        assert!(
            matches!(of_near[..], [Completion::Handed { .. }, Completion::Ended { socket }] if *socket == near),
            "{completions:?}"
        );
        let error = transports[0].send_now(near, &batch(&[vec![3; 8]])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        transports[0].send(near, batch(&[vec![3; 8]]), 0);
        let completions = turn(&mut transports[0]);
        assert!(matches!(&completions[..], [Completion::Sent { result: Err(_), .. }]), "{completions:?}");
    });
}

#[test]
fn a_close_ends_a_send_that_waits() {
    for this_side in [true, false] {
        let mut transports = transports(2);
        let [near, far] = connect(&mut transports);
        let large = vec![0; 60_000];
        let segments: Vec<Vec<u8>> = (0..20).map(|_| large.clone()).collect();
        transports[0].send(near, batch(&segments), 0);
        nothing(&mut transports[0]);
        if this_side {
            transports[0].close(near);
            // The driver reports no more about the socket, not even the end of the send.
            transports[0].send(near, batch(&[vec![1; 8]]), 0);
            transports[0].close(near);
            assert!(matches!(one(&mut transports[0]), Completion::Closed { socket } if socket == near));
            let mut completions = turn(&mut transports[1]);
            assert!(matches!(completions.pop(), Some(Completion::Ended { socket }) if socket == far));
            assert!(!handed(completions, far).is_empty(), "what was sent before");
            transports[1].close(far);
            assert!(matches!(one(&mut transports[1]), Completion::Closed { .. }));
        } else {
            transports[1].close(far);
            assert!(matches!(one(&mut transports[1]), Completion::Closed { socket } if socket == far));
            let completions = turn(&mut transports[0]);
            let [Completion::Ended { .. }, Completion::Sent { result: Err(_), .. }] = &completions[..] else {
                panic!("{completions:?}")
            };
        }
        nothing(&mut transports[0]);
        nothing(&mut transports[1]);
    }
}

/// A slot is reused. A message to the endpoint that had the slot before reaches no other endpoint.
#[test]
fn messages_to_an_endpoint_that_is_gone_reach_nobody() {
    let mut transports = transports(2);
    let [near, far] = connect(&mut transports);
    transports[1].send_now(far, &batch(&[vec![1; 8]])).unwrap();
    transports[0].close(near);
    assert!(matches!(one(&mut transports[0]), Completion::Closed { .. }));
    nothing(&mut transports[0]);
    let again = transports[0].connect(address(1), MEMORY).unwrap();
    assert_eq!(again, near);
    transports[1].send_now(far, &batch(&[vec![2; 8]])).unwrap();
    nothing(&mut transports[0]);
}

/// A shard that works through the completions of one turn may dial before it has processed the close of another
/// connection.
#[test]
fn a_number_is_not_given_away_before_the_shard_knows_that_its_endpoint_is_gone() {
    let mut transports = transports(2);
    let [near, _] = connect(&mut transports);
    transports[0].close(near);
    assert!(matches!(one(&mut transports[0]), Completion::Closed { socket } if socket == near));
    assert_ne!(transports[0].connect(address(1), MEMORY).unwrap(), near);
    nothing(&mut transports[0]);
    assert_eq!(transports[0].connect(address(1), MEMORY).unwrap(), near);
}

#[test]
fn a_dial_finds_only_listeners_that_have_a_local_address() {
    let mut transports = transports(2);
    let unreachable = |transports: &mut Transports, port, memory| {
        let error = transports[0].connect(address(port), Way { memory, socket_bytes: 0 }).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable, "asked the inner driver");
    };
    transports[1].listen(Listener::At(address(2)), None).unwrap();
    let listener = listen(&mut transports[1], 3);
    unreachable(&mut transports, 1, true);
    unreachable(&mut transports, 2, true);
    unreachable(&mut transports, 3, false);

    // A listener closes while a dial is under way. Later, a dial is given up.
    let dial = transports[0].connect(address(3), MEMORY).unwrap();
    transports[1].close(listener);
    assert!(matches!(one(&mut transports[1]), Completion::Closed { socket } if socket == listener));
    assert!(matches!(one(&mut transports[0]), Completion::Connected { socket, result: Err(_) } if socket == dial));
    unreachable(&mut transports, 3, true);
    listen(&mut transports[1], 3);
    let given_up = transports[0].connect(address(3), MEMORY).unwrap();
    transports[0].close(given_up);
    assert!(matches!(one(&mut transports[0]), Completion::Closed { .. }));
    let Completion::Accepted { socket, .. } = one(&mut transports[1]) else { panic!() };
    nothing(&mut transports[0]);
    assert!(matches!(one(&mut transports[1]), Completion::Ended { socket: ended } if ended == socket));
}

/// A server can be dialed as soon as it is announced: its shard may process the start later.
#[test]
fn a_dial_waits_for_an_announced_listener() {
    let mut transports = transports(2);
    let addr = transports[1].registry.announce(address(1), 1);
    let near = transports[0].connect(address(1), MEMORY).unwrap();
    nothing(&mut transports[1]);
    nothing(&mut transports[0]);
    let listener = transports[1].listen(Listener::At(address(1)), Some(addr)).unwrap();
    assert!(matches!(one(&mut transports[1]), Completion::Accepted { listener: at, .. } if at == listener));
    assert!(matches!(one(&mut transports[0]), Completion::Connected { socket, result: Ok(()) } if socket == near));
}

#[test]
fn a_transport_does_not_wait_when_there_is_something() {
    let mut transports = transports(2);
    let [near, _far] = connect(&mut transports);
    let waits = |transport: &mut LocalTransport<Nowhere>| transport.begin(Wait::Forever).unwrap().0 == Wait::Forever;
    assert!(waits(&mut transports[1]));
    transports[1].notifier().fall_asleep();
    transports[0].send_now(near, &batch(&[vec![1; 8]])).unwrap();
    assert!(!transports[1].notifier().is_asleep(), "it was notified");
    assert!(!waits(&mut transports[1]));
    turn(&mut transports[1]);
    assert!(waits(&mut transports[1]));
    transports[0].close(near);
    assert!(!waits(&mut transports[0]));
}

/// A loop that fails ends its servers, and their peers learn of that.
#[test]
fn a_transport_that_is_dropped_closes_its_endpoints() {
    let mut transports = transports(2);
    let [near, _far] = connect(&mut transports);
    transports.pop();
    assert!(matches!(one(&mut transports[0]), Completion::Ended { socket } if socket == near));
    assert!(transports[0].connect(address(1), MEMORY).is_err(), "and nobody finds them");
}
