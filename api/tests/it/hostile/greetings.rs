//! Who connects and does not greet as it should; and who answers a greeting so.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use cluster::{Engine, Envelope, Idle, Server};
use cluster_engine::wire::{Hello, Kind, MAX_STREAMS, NO_STREAM, Receiving, Refusal, RefusalReason, Sending};

use super::speech::{await_end, dial, frame, hear, hello, say_hello, segment};
use super::under_attack;
use crate::support::{Cluster, PATIENCE, random_of_test, receive, send};

/// Who connects and says nothing is hung up on after five seconds; the rest is for a machine that is busy.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5 + 10);

#[test]
fn garbage_before_the_handshake() {
    let mut rng = random_of_test("garbage_before_the_handshake");
    under_attack(
        |config| config,
        |config, alive| {
            for round in 0..50 {
                let mut stream = dial(config.address_of(1).unwrap());
                let length = rng.usize(4..20_004);
                let mut garbage: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
                if round % 3 == 0 {
                    // The first bytes are right.
                    let valid = say_hello(&hello(config));
                    let right = rng.usize(..valid.len());
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
fn a_greeting_that_is_too_long_is_refused_by_its_header() {
    under_attack(
        |config| config,
        |config, alive| {
            let mut stream = dial(config.address_of(1).unwrap());
            stream.write_all(&segment(Kind::Hello, |_| (), &[0; 60_000])[..1000]).unwrap();
            let (kind, payload) = hear(&mut stream).expect("a refusal");
            assert_eq!((kind, Refusal::decode(&payload).unwrap().reason), (Kind::Refuse, RefusalReason::Malformed));
            await_end(&mut stream, "a long greeting");
            // The longest that there may be is heard to its end, however its bytes come.
            let streams = 0..MAX_STREAMS as u32;
            let longest = Hello {
                from: 99,
                sending: streams.clone().map(|stream| Sending::new(stream, 0)).collect(),
                receiving: streams.map(|stream| Receiving::new(stream, 0)).collect(),
                ..hello(config)
            };
            let mut stream = dial(config.address_of(1).unwrap());
            for part in say_hello(&longest).chunks(5000) {
                stream.write_all(part).unwrap();
            }
            let (kind, payload) = hear(&mut stream).expect("a refusal");
            assert_eq!((kind, Refusal::decode(&payload).unwrap().reason), (Kind::Refuse, RefusalReason::UnknownPeer));
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
                (RefusalReason::Malformed, Hello { credit: [0, u64::MAX], ..good.clone() }),
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
            other[2] = 1;
            stream.write_all(&other).unwrap();
            let (kind, payload) = hear(&mut stream).expect("an answer");
            let refusal = Refusal { reason: RefusalReason::Version, from: 1 };
            assert_eq!((kind, Refusal::decode(&payload)), (Kind::Refuse, Some(refusal)));
        },
    );
}

#[test]
fn greetings_with_random_bytes_in_them() {
    let mut rng = random_of_test("greetings_with_random_bytes_in_them");
    under_attack(
        |config| config,
        |config, alive| {
            for round in 0..300 {
                let mut payload =
                    Hello { sending: vec![Sending::new(0, 8)], receiving: vec![Receiving::new(0, 0)], ..hello(config) }
                        .encode();
                for _ in 0..=rng.u64(..4) {
                    let at = rng.usize(..payload.len());
                    payload[at] = rng.u8(..);
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
        welcome(&Hello { receiving: vec![Receiving::new(0, 1 << 50)], ..good.clone() }),
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
