//! Connections that mean harm, or that speak another language, cost nothing but themselves.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Config, DownReason, Engine, Envelope, Event, Idle, Node, Server};
use cluster_engine::wire::{
    CHECKSUMMED, FIRST, FRAGMENT, FrameHeader, Grant, Hello, Kind, LAST, MAX_SEGMENT_PAYLOAD, NO_STREAM, Receiving,
    Refusal, RefusalReason, SEGMENT_HEADER_BYTES, SegmentHeader, Sending, encode_grants,
};
use zerocopy::IntoBytes;

use crate::support::{Cluster, PATIENCE, Rng, await_event, eventually, receive, send};

/// Who connects and says nothing is hung up on after five seconds; the rest is for a machine that is busy.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5 + 10);

/// A sealed segment.
fn segment(kind: Kind, set: impl FnOnce(&mut SegmentHeader), payload: &[u8]) -> Vec<u8> {
    let mut header = SegmentHeader::new(kind);
    header.flags = CHECKSUMMED.into();
    set(&mut header);
    header.seal(&[payload]);
    [header.as_bytes(), payload].concat()
}

/// A data segment of stream 0.
fn data(position: u64, flags: u16, payload: &[u8]) -> Vec<u8> {
    let set = |header: &mut SegmentHeader| {
        header.stream = 0.into();
        header.position = position.into();
        header.flags = (CHECKSUMMED | flags).into();
    };
    segment(Kind::Data, set, payload)
}

/// A frame whose header says that it has `length` bytes, with `present` bytes.
fn frame(length: u32, present: usize) -> Vec<u8> {
    [FrameHeader::new(length, 666).as_bytes(), &vec![0; present]].concat()
}

static GREETINGS: AtomicU32 = AtomicU32::new(1);

/// What the attacker would say if it were server 3.
fn hello(config: &Config) -> Hello {
    Hello {
        from: 3,
        to: 1,
        incarnation: [7; 16],
        known_incarnation: [0; 16],
        max_envelope_bytes: 1 << 27,
        window_bytes: 1 << 22,
        peer_timeout_ms: 60_000,
        features: 0,
        // Each is news.
        greeting: GREETINGS.fetch_add(1, Ordering::Relaxed),
        cluster: config.cluster.clone(),
        sending: Vec::new(),
        receiving: Vec::new(),
    }
}

fn say_hello(hello: &Hello) -> Vec<u8> {
    segment(Kind::Hello, |_| (), &hello.encode())
}

fn dial(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The next segment: its kind and its payload.
fn hear(stream: &mut TcpStream) -> Option<(Kind, Vec<u8>)> {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    stream.read_exact(&mut header).ok()?;
    let header = *SegmentHeader::parse(&header).unwrap().unwrap();
    let mut payload = vec![0; header.length.get() as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((header.kind(), payload))
}

/// Reads until a segment of one of these kinds comes.
#[track_caller]
fn await_segment(stream: &mut TcpStream, kinds: &[Kind]) {
    while let Some((kind, _)) = hear(stream) {
        if kinds.contains(&kind) {
            return;
        }
    }
    panic!("none of {kinds:?} came");
}

/// Reads until the other side hangs up. A connection that is reset has ended too.
#[track_caller]
fn await_end(stream: &mut TcpStream, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("{what}: not hung up on"),
            Err(_) => return,
        }
        assert!(Instant::now() < deadline, "{what}: not hung up on");
    }
}

/// Connects as server 3, as it should be done. The connection, and what the server said of itself.
fn impersonate(config: &Config, hello: &Hello) -> (TcpStream, Hello) {
    let address = config.address_of(1).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut stream = dial(address);
        stream.write_all(&say_hello(hello)).unwrap();
        match hear(&mut stream) {
            Some((Kind::Welcome, payload)) => return (stream, Hello::decode(&payload).unwrap()),
            // The last connection of this pid may not be forgotten yet.
            Some((Kind::Refuse, _)) | None => thread::sleep(Duration::from_millis(10)),
            other => panic!("{other:?}"),
        }
    }
    panic!("never welcomed");
}

/// Servers 1 and 2 play ping-pong; the attacker has the pid, and the address, of server 3.
///
/// They run on an engine of their own, so that one that breaks takes no other test along.
fn under_attack(change: impl FnOnce(Config) -> Config, attack: impl FnOnce(&Config, &dyn Fn())) {
    let mut cluster = Cluster::new([1, 2, 3]).with(change);
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let [one, two] = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    let rounds = AtomicU64::new(0);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        // However the attack ends, the honest servers are told.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let end = End(&ended);
        let (rounds, ended) = (&rounds, &ended);
        let serve = move |mut node: Node, first: bool| {
            let peer = if first { 2 } else { 1 };
            let mut next = i64::from(first);
            if first {
                send(node.outbox(), Envelope::to(peer).id(0).body("ball"));
            }
            while !ended.load(Ordering::Relaxed) {
                match node.inbox().recv_timeout(Duration::from_millis(100)) {
                    Ok(envelope) if envelope.pid == peer => {
                        assert_eq!((envelope.msg_id, &envelope.msg[..]), (next, &b"ball"[..]));
                        send(node.outbox(), Envelope::to(peer).id(next + 1).body("ball"));
                        next += 2;
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                    // What the attacker was allowed to say.
                    Ok(envelope) => assert_eq!(envelope.pid, 3),
                    Err(error) => assert_eq!(error, cluster::RecvTimeoutError::Timeout),
                }
            }
            node
        };
        let servers = [scope.spawn(move || serve(one, true)), scope.spawn(move || serve(two, false))];
        let alive = || {
            let before = rounds.load(Ordering::Relaxed);
            eventually("traffic between the honest servers", || {
                (rounds.load(Ordering::Relaxed) > before + 20).then_some(())
            });
        };
        alive();
        attack(&cluster.config, &alive);
        alive();
        drop(end);
        // Both live until both have been asked.
        let mut servers = servers.map(|server| server.join().unwrap());
        for server in &mut servers {
            while let Some(event) = server.events().try_next() {
                assert!(!matches!(event, Event::Down { pid: 1 | 2, .. }), "the honest link: {event:?}");
            }
        }
    });
}

#[test]
fn garbage_before_the_handshake() {
    let mut rng = Rng::of_test("garbage_before_the_handshake");
    under_attack(
        |config| config,
        |config, alive| {
            for round in 0..50 {
                let mut stream = dial(config.address_of(1).unwrap());
                let length = 4 + rng.below(20_000) as usize;
                let mut garbage: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
                if round % 3 == 0 {
                    // The first bytes are right.
                    let valid = say_hello(&hello(config));
                    let right = rng.below(valid.len() as u64) as usize;
                    garbage.splice(..right.min(length), valid[..right].iter().copied());
                }
                // It may hang up before all is said.
                let _ = stream.write_all(&garbage);
                drop(stream.shutdown(std::net::Shutdown::Write));
                await_end(&mut stream, "garbage");
                if round % 10 == 0 {
                    alive();
                }
            }
            let mut stream = dial(config.address_of(1).unwrap());
            stream.write_all(b"GET / HTTP/1.1\r\nHost: one\r\n\r\n").unwrap();
            await_end(&mut stream, "HTTP");
        },
    );
}

#[test]
fn a_handshake_that_stops_in_the_middle() {
    under_attack(
        |config| config,
        |config, alive| {
            let valid = say_hello(&hello(config));
            for length in (0..valid.len()).step_by(7) {
                let mut stream = dial(config.address_of(1).unwrap());
                stream.write_all(&valid[..length]).unwrap();
                drop(stream);
            }
            alive();
        },
    );
}

#[test]
fn a_connection_that_says_nothing_is_hung_up_on() {
    under_attack(
        |config| config,
        |config, alive| {
            let valid = say_hello(&hello(config));
            let begin = Instant::now();
            let mut streams: Vec<TcpStream> = [0, 0, 2, 47, 48, 100]
                .into_iter()
                .map(|length| {
                    let mut stream = dial(config.address_of(1).unwrap());
                    stream.write_all(&valid[..length]).unwrap();
                    stream
                })
                .collect();
            alive();
            for stream in &mut streams {
                await_end(stream, "silence");
                assert!(begin.elapsed() < GREETING_TIMEOUT, "{:?}", begin.elapsed());
            }
        },
    );
}

#[test]
fn hundreds_of_connections_that_say_nothing() {
    under_attack(
        |config| config,
        |config, alive| {
            let streams: Vec<TcpStream> = (0..300).map(|_| dial(config.address_of(1).unwrap())).collect();
            alive();
            drop(streams);
            alive();
        },
    );
}

#[test]
fn a_greeting_that_does_not_fit_is_refused_with_the_reason() {
    under_attack(
        |config| config,
        |config, alive| {
            let good = hello(config);
            let cases = [
                (RefusalReason::WrongCluster, Hello { cluster: "another".into(), ..good.clone() }),
                (RefusalReason::WrongPid, Hello { to: 2, ..good.clone() }),
                (RefusalReason::WrongPid, Hello { to: u64::MAX, ..good.clone() }),
                (RefusalReason::UnknownPeer, Hello { from: 99, ..good.clone() }),
                (RefusalReason::UnknownPeer, Hello { from: 1, ..good.clone() }),
                (RefusalReason::UnknownPeer, Hello { from: u64::MAX, ..good.clone() }),
                // Server 2 is alive: nobody else can be it.
                (RefusalReason::AlreadyConnected, Hello { from: 2, ..good.clone() }),
                (RefusalReason::Malformed, Hello { window_bytes: u64::MAX, ..good.clone() }),
                (RefusalReason::Malformed, Hello { sending: vec![Sending::new(0, u64::MAX)], ..good.clone() }),
            ];
            for (reason, hello) in cases {
                let mut stream = dial(config.address_of(1).unwrap());
                stream.write_all(&say_hello(&hello)).unwrap();
                let (kind, payload) = hear(&mut stream).expect("an answer");
                assert_eq!(
                    (kind, Refusal::decode(&payload)),
                    (Kind::Refuse, Some(Refusal { reason, from: 1 })),
                    "{hello:?}"
                );
                await_end(&mut stream, &format!("{reason:?}"));
                alive();
            }
            // Another version is told so, whatever stands behind the first bytes.
            let mut stream = dial(config.address_of(1).unwrap());
            let mut other = say_hello(&good);
            other[2] = 2;
            stream.write_all(&other).unwrap();
            let (kind, payload) = hear(&mut stream).expect("an answer");
            let refusal = Refusal { reason: RefusalReason::Version, from: 1 };
            assert_eq!((kind, Refusal::decode(&payload)), (Kind::Refuse, Some(refusal)));
        },
    );
}

#[test]
fn greetings_with_random_bytes_in_them() {
    let mut rng = Rng::of_test("greetings_with_random_bytes_in_them");
    under_attack(
        |config| config,
        |config, alive| {
            for round in 0..300 {
                let mut payload = Hello {
                    sending: vec![Sending::new(0, 8)],
                    receiving: vec![Receiving::new(0, 0, 1000)],
                    ..hello(config)
                }
                .encode();
                for _ in 0..=rng.below(4) {
                    let at = rng.below(payload.len() as u64) as usize;
                    payload[at] = rng.next() as u8;
                }
                let mut stream = dial(config.address_of(1).unwrap());
                stream.write_all(&segment(Kind::Hello, |_| (), &payload)).unwrap();
                drop(hear(&mut stream));
                if round % 50 == 0 {
                    alive();
                }
            }
        },
    );
}

/// What a stream's number may be is not what every field that holds one may be.
#[test]
fn a_greeting_that_names_the_stream_that_is_none() {
    under_attack(
        |config| config,
        |config, alive| {
            let sending = vec![Sending::new(NO_STREAM, 4096), Sending::new(NO_STREAM, 8), Sending::new(5, 3)];
            let greeting = Hello { sending, ..hello(config) };
            let mut stream = dial(config.address_of(1).unwrap());
            stream.write_all(&say_hello(&greeting)).unwrap();
            drop(hear(&mut stream));
            drop(hear(&mut stream));
            alive();
        },
    );
}

/// The attacker is welcome, and then says this.
fn after_a_valid_handshake(what: &str, say: impl Fn(&Config) -> Vec<Vec<u8>>) {
    under_attack(
        |config| config.with_max_envelope_bytes(1 << 20),
        |config, alive| {
            for _ in 0..3 {
                let (mut stream, _) = impersonate(config, &hello(config));
                for segment in say(config) {
                    // It may hang up before all is said.
                    let _ = stream.write_all(&segment);
                }
                await_end(&mut stream, what);
                alive();
            }
        },
    );
}

#[test]
fn garbage_after_the_handshake() {
    after_a_valid_handshake("garbage", |_| vec![vec![0xA5; 1000]]);
}

#[test]
fn a_length_that_is_too_large_or_odd() {
    for length in [MAX_SEGMENT_PAYLOAD as u32 + 8, u32::MAX, u32::MAX - 7, 12] {
        after_a_valid_handshake("length", |_| {
            let mut bytes = data(0, 0, &frame(8, 8));
            bytes[8..12].copy_from_slice(&length.to_le_bytes());
            vec![bytes]
        });
    }
}

#[test]
fn a_checksum_that_is_wrong() {
    for at in [12, 20, SEGMENT_HEADER_BYTES + 20] {
        after_a_valid_handshake("checksum", |_| {
            let mut bytes = data(0, 0, &frame(8, 8));
            bytes[at] ^= 1;
            vec![bytes]
        });
    }
}

#[test]
fn a_kind_or_flags_that_do_not_exist() {
    for (at, byte) in [(3, 0), (3, 200), (45, 0x80)] {
        after_a_valid_handshake("kind", |_| {
            let mut bytes = data(0, 0, &frame(8, 8));
            bytes[at] = byte;
            vec![bytes]
        });
    }
}

#[test]
fn a_position_that_is_not_the_next() {
    after_a_valid_handshake("a new stream in the middle", |_| vec![data(8, 0, &frame(8, 8))]);
    after_a_valid_handshake("again", |_| vec![data(0, 0, &frame(8, 8)), data(0, 0, &frame(8, 8))]);
    after_a_valid_handshake("a gap", |_| vec![data(0, 0, &frame(8, 8)), data(32, 0, &frame(8, 8))]);
    after_a_valid_handshake("far away", |_| vec![data(u64::MAX - 7, 0, &frame(8, 8))]);
    after_a_valid_handshake("an end in the middle", |_| {
        let end = |header: &mut SegmentHeader| {
            header.stream = 0.into();
            header.position = 8.into();
        };
        vec![data(0, 0, &frame(8, 8)), segment(Kind::End, end, &[])]
    });
}

#[test]
fn frames_that_overrun_their_segment() {
    after_a_valid_handshake("too long", |_| vec![data(0, 0, &frame(1000, 16))]);
    after_a_valid_handshake("far too long", |_| vec![data(0, 0, &frame(u32::MAX, 16))]);
    after_a_valid_handshake("the second", |_| vec![data(0, 0, &[frame(8, 8), frame(100, 8)].concat())]);
    after_a_valid_handshake("half a header", |_| vec![data(0, 0, &[frame(8, 8), vec![0; 8]].concat())]);
    after_a_valid_handshake("nothing at all", |_| vec![data(0, 0, &[])]);
}

#[test]
fn fragments_out_of_place() {
    let first = || frame(5_000, 4_000);
    let middle = || vec![0; 496];
    let cases: [(&str, Vec<Vec<u8>>); 9] = [
        ("not the first", vec![data(0, FRAGMENT, &first())]),
        ("the first twice", vec![data(0, FRAGMENT | FIRST, &first()), data(4016, FRAGMENT | FIRST, &frame(8, 8))]),
        ("the last too early", vec![data(0, FRAGMENT | FIRST, &first()), data(4016, FRAGMENT | LAST, &middle())]),
        ("the last not said", vec![data(0, FRAGMENT | FIRST, &first()), data(4016, FRAGMENT, &vec![0; 1000])]),
        ("beyond the end", vec![data(0, FRAGMENT | FIRST, &first()), data(4016, FRAGMENT | LAST, &vec![0; 1008])]),
        ("other frames between", vec![data(0, FRAGMENT | FIRST, &first()), data(4016, 0, &frame(8, 8))]),
        ("above the limit", vec![data(0, FRAGMENT | FIRST, &frame((1 << 20) + 1, 4_000))]),
        ("far above the limit", vec![data(0, FRAGMENT | FIRST, &frame(u32::MAX, 4_000))]),
        ("too short for a header", vec![data(0, FRAGMENT | FIRST, &[0; 8])]),
    ];
    for (what, segments) in &cases {
        after_a_valid_handshake(what, |_| segments.clone());
    }
}

#[test]
fn segments_that_have_no_place_in_a_link() {
    after_a_valid_handshake("Hello", |config| vec![say_hello(&hello(config))]);
    after_a_valid_handshake("Welcome", |config| vec![segment(Kind::Welcome, |_| (), &hello(config).encode())]);
    after_a_valid_handshake("Refuse", |_| {
        let refusal = Refusal { reason: RefusalReason::Tie, from: 3 };
        vec![segment(Kind::Refuse, |_| (), &refusal.encode())]
    });
    after_a_valid_handshake("half an Ack", |_| vec![segment(Kind::Ack, |_| (), &[0; 16])]);
    after_a_valid_handshake("Goodbye without reason", |_| vec![segment(Kind::Goodbye, |_| (), &[0; 8])]);
    after_a_valid_handshake("Goodbye with too much of it", |_| vec![segment(Kind::Goodbye, |_| (), &[1; 16])]);
}

#[test]
fn more_streams_than_there_may_be() {
    after_a_valid_handshake("streams", |_| {
        let segments = (0..1100u32).map(|stream| {
            let set = |header: &mut SegmentHeader| header.stream = stream.into();
            segment(Kind::Data, set, &frame(8, 8))
        });
        vec![segments.collect::<Vec<_>>().concat()]
    });
}

/// Frames are looked at by the application that reads them: by then, the peer may have another connection.
#[test]
fn a_violation_that_is_found_late_ends_no_other_connection() {
    let mut cluster = Cluster::new([1, 2, 3]);
    let [mut one, _two] = cluster.start_each([1, 2]);
    let (mut first, _) = impersonate(&cluster.config, &hello(&cluster.config));
    first.write_all(&data(0, 0, &[frame(8, 8), frame(1000, 8)].concat())).unwrap();
    // It is in the inbox.
    await_segment(&mut first, &[Kind::Heartbeat, Kind::Ack]);
    drop(first);
    await_event(one.events(), "end", |event| matches!(event, Event::Down { pid: 3, .. }));
    let next = Hello { incarnation: [8; 16], ..hello(&cluster.config) };
    let (mut second, _) = impersonate(&cluster.config, &next);
    await_event(one.events(), "link", |event| matches!(event, Event::Up { pid: 3, .. }));
    assert_eq!(receive(one.inbox()).msg_id, 666);
    assert!(one.inbox().try_recv().is_err());
    second.write_all(&data(0, 0, &frame(8, 8))).unwrap();
    assert_eq!(receive(one.inbox()).msg_id, 666);
    assert_eq!(one.events().try_next(), None);
}

/// The inbox is not read, so that the attacker is given no more credit; and there is traffic to server 2 meanwhile.
#[test]
fn data_beyond_the_credit() {
    let mut cluster = Cluster::new([1, 2, 3]).with(|config| config.with_inbox_bytes(Config::MIN_INBOX_BYTES));
    let [mut one, mut two] = cluster.start_each([1, 2]);
    let (mut stream, welcome) = impersonate(&cluster.config, &hello(&cluster.config));
    let bytes = MAX_SEGMENT_PAYLOAD as u64;
    for number in 0..welcome.window_bytes / bytes + 1 {
        let _ = stream.write_all(&data(number * bytes, 0, &frame(bytes as u32 - 16, bytes as usize - 16)));
        send(one.outbox(), Envelope::to(2).id(number as i64));
        assert_eq!(receive(two.inbox()).msg_id, number as i64);
    }
    await_end(&mut stream, "beyond the credit");
    let down = |event: &Event| matches!(event, Event::Down { pid: 3, reason: DownReason::Violation(_) });
    await_event(one.events(), "violation", down);
    // What was within it is there, and nothing more.
    for _ in 0..welcome.window_bytes / bytes {
        let envelope = receive(one.inbox());
        assert_eq!((envelope.pid, envelope.msg_id, envelope.msg.len()), (3, 666, bytes as usize - 16));
    }
    assert!(one.inbox().try_recv().is_err());
}

/// Server 1 sends to the attacker, who acknowledges what it likes.
fn false_acknowledgements(say: impl Fn() -> Vec<u8>) {
    let mut cluster = Cluster::new([1, 2, 3]);
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let [mut one, mut two] = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    let mut incarnation = 0;
    for _ in 0..5 {
        incarnation += 1;
        let greeting = Hello { incarnation: [incarnation; 16], ..hello(&cluster.config) };
        let (mut stream, _) = impersonate(&cluster.config, &greeting);
        for id in 0..5 {
            send(one.outbox(), Envelope::to(3).id(id).body(vec![0xFF; 40]));
        }
        send(one.outbox(), Envelope::to(3).body(vec![0xFF; 20_000]));
        // Some of it has come.
        await_segment(&mut stream, &[Kind::Data]);
        stream.write_all(&say()).unwrap();
        for id in 0..5 {
            send(one.outbox(), Envelope::to(3).id(id).body(vec![0xFF; 40]));
        }
        for id in 0..20 {
            send(one.outbox(), Envelope::to(2).id(id));
            assert_eq!(receive(two.inbox()).msg_id, id);
            send(two.outbox(), Envelope::to(1).id(id));
            assert_eq!(receive(one.inbox()).msg_id, id);
        }
    }
    // Counting what is not acknowledged walks over it.
    let begin = Instant::now();
    let _ = one.stop();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let _ = two.stop();
}

fn acknowledge(position: u64, credit: u64) -> Vec<u8> {
    let set = |header: &mut SegmentHeader| {
        header.ack_stream = 0.into();
        header.ack_position = position.into();
        header.ack_credit = credit.into();
    };
    segment(Kind::Heartbeat, set, &[])
}

#[test]
fn an_acknowledgement_of_what_was_not_sent() {
    false_acknowledgements(|| acknowledge(1 << 40, 1 << 41));
    false_acknowledgements(|| acknowledge(u64::MAX, u64::MAX));
    false_acknowledgements(|| {
        segment(Kind::Ack, |_| (), &encode_grants(&[Grant::new(0, 1 << 40, 0), Grant::new(77, 5, 5)]))
    });
}

#[test]
fn an_acknowledgement_in_the_middle_of_an_envelope() {
    for position in [1, 8, 16, 24, 33, 60] {
        false_acknowledgements(|| acknowledge(position, 1 << 20));
    }
}

#[test]
fn a_greeting_that_goes_on_in_the_middle_of_an_envelope() {
    let mut cluster = Cluster::new([1, 2, 3]);
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let [mut one, mut two] = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    let (mut stream, welcome) = impersonate(&cluster.config, &hello(&cluster.config));
    for id in 0..5 {
        send(one.outbox(), Envelope::to(3).id(id).body(vec![0xFF; 40]));
    }
    send(one.outbox(), Envelope::to(3).body(vec![0xFF; 20_000]));
    await_segment(&mut stream, &[Kind::Data]);
    drop(stream);
    for position in [1, 8, 20, 40, 64, 8] {
        let receiving = vec![Receiving::new(0, position, 1 << 20)];
        let known_incarnation = welcome.incarnation;
        let greeting = Hello { receiving, known_incarnation, ..hello(&cluster.config) };
        let mut stream = dial(cluster.config.address_of(1).unwrap());
        stream.write_all(&say_hello(&greeting)).unwrap();
        drop(hear(&mut stream));
        for id in 0..20 {
            send(one.outbox(), Envelope::to(2).id(id));
            assert_eq!(receive(two.inbox()).msg_id, id);
            send(two.outbox(), Envelope::to(1).id(id));
            assert_eq!(receive(one.inbox()).msg_id, id);
        }
    }
    let begin = Instant::now();
    let _ = one.stop();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn random_changes_to_valid_segments() {
    let mut rng = Rng::of_test("random_changes_to_valid_segments");
    under_attack(
        |config| config.with_max_envelope_bytes(1 << 20),
        |config, alive| {
            for round in 0..100 {
                let greeting = Hello { incarnation: [round as u8; 16], ..hello(config) };
                let (mut stream, _) = impersonate(config, &greeting);
                let payload = [frame(24, 24), frame(40, 40)].concat();
                let mut position = 0;
                for _ in 0..rng.below(5) {
                    // What the one before has said may be found out only now.
                    let _ = stream.write_all(&data(position, 0, &payload));
                    position += payload.len() as u64;
                }
                // A header that is altered and sealed again passes the checksum.
                let kinds = [Kind::Data, Kind::Ack, Kind::Heartbeat, Kind::Goodbye, Kind::End];
                let kind = kinds[rng.below(kinds.len() as u64) as usize];
                let mut payload: Vec<u8> = payload[..8 * rng.below(13) as usize].to_vec();
                for _ in 0..rng.below(3) {
                    if !payload.is_empty() {
                        let at = rng.below(payload.len() as u64) as usize;
                        payload[at] = rng.next() as u8;
                    }
                }
                let mut any = |usual: u64| if rng.below(3) == 0 { rng.next() >> rng.below(64) } else { usual };
                let set = |header: &mut SegmentHeader| {
                    header.stream = (any(0) as u32).into();
                    header.position = any(position).into();
                    header.ack_stream = (any(u64::from(NO_STREAM)) as u32).into();
                    header.ack_position = any(0).into();
                    header.ack_credit = any(0).into();
                    header.flags = (any(u64::from(CHECKSUMMED)) as u16 & 0x1F).into();
                };
                let bytes = segment(kind, set, &payload);
                let _ = stream.write_all(&bytes);
                drop(stream);
                if round % 20 == 0 {
                    alive();
                }
            }
        },
    );
}

/// A listener that is not the server it should be.
#[test]
fn a_false_server_answers_the_dial() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut cluster = Cluster::new([1, 2]);
    cluster.config.servers.push(cluster::Member::new(3, address));
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let [mut one, mut two] = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    send(one.outbox(), Envelope::to(3).body("for the real one"));
    let good = Hello { from: 3, to: 1, ..hello(&cluster.config) };
    let welcome = |hello: &Hello| segment(Kind::Welcome, |_| (), &hello.encode());
    let answers = [
        Vec::new(),
        vec![0x5A; 500],
        welcome(&good)[..60].to_vec(),
        welcome(&Hello { from: 2, ..good.clone() }),
        welcome(&Hello { to: 2, ..good.clone() }),
        welcome(&Hello { cluster: "another".into(), ..good.clone() }),
        welcome(&Hello { receiving: vec![Receiving::new(0, 1 << 50, 1 << 50)], ..good.clone() }),
        segment(Kind::Refuse, |_| (), &[0; 16]),
        segment(Kind::Refuse, |_| (), &Refusal { reason: RefusalReason::Tie, from: 3 }.encode()),
        segment(Kind::Data, |header| header.stream = 0.into(), &frame(8, 8)),
        say_hello(&good),
        [welcome(&good), vec![1; 100]].concat(),
    ];
    for (number, answer) in answers.iter().enumerate() {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(hear(&mut stream), Some((Kind::Hello, _))), "answer {number}");
        stream.write_all(answer).unwrap();
        if answer.len() == 60 {
            drop(stream.shutdown(std::net::Shutdown::Write));
        }
        if !answer.is_empty() {
            await_end(&mut stream, &format!("answer {number}"));
        }
        drop(stream);
        send(one.outbox(), Envelope::to(2).id(number as i64));
        assert_eq!(receive(two.inbox()).msg_id, number as i64);
    }
    assert!(one.inbox().try_recv().is_err());
}
