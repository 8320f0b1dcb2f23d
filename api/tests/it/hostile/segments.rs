//! Who is welcome, and then says what no server says.

use std::io::Write;

use cluster::{Config, DownReason, Engine, Envelope, Event, Idle, Server};
use cluster_engine::wire::{
    CHECKSUMMED, FIRST, FRAGMENT, Hello, Kind, LAST, MAX_SEGMENT_PAYLOAD, NO_STREAM, Refusal, RefusalReason,
    SEGMENT_HEADER_BYTES, SegmentHeader,
};

use super::speech::{await_end, await_segment, data, frame, hello, impersonate, say_hello, segment};
use super::{after_a_valid_handshake, under_attack};
use crate::support::{Cluster, await_event, eventually, random_of_test, receive, send};

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
    // It was acknowledged, and nobody reads it any more.
    eventually("account", || one.stats().iter().find(|row| row.pid == 3 && row.bytes_lost == 24).copied());
}

/// Regression: a short envelope kept the receive buffer that it came in, so a peer that sent one for each buffer, and
/// heartbeats behind it, pinned thousands of times what it had credit for.
#[test]
fn short_envelopes_far_apart_pin_little_memory() {
    const INBOX: u64 = 1 << 20;
    const ROUNDS: u64 = 100;
    let mut cluster = Cluster::new([1, 3]).with(|config| config.with_inbox_bytes(INBOX));
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let mut one = cluster.start_on(1, &engine);
    let (mut stream, _) = impersonate(&cluster.config, &hello(&cluster.config));
    // More than a receive buffer holds.
    let heartbeats = segment(Kind::Heartbeat, |_| (), &[]).repeat(6000);
    for round in 0..ROUNDS {
        stream.write_all(&data(24 * round, 0, &frame(8, 8))).unwrap();
        stream.write_all(&heartbeats).unwrap();
    }
    eventually("all of it", || (one.stats()[0].bytes_unread == 24 * ROUNDS).then_some(()));
    let pinned = engine.receive_bytes() as u64;
    assert!(pinned < 3 * INBOX, "{pinned} bytes are kept for {} that came", 24 * ROUNDS);
    for _ in 0..ROUNDS {
        assert_eq!(receive(one.inbox()).msg_id, 666);
    }
    // And it is let go of.
    stream.write_all(&data(24 * ROUNDS, 0, &frame(8, 8))).unwrap();
    assert_eq!(receive(one.inbox()).msg_id, 666);
    assert!((engine.receive_bytes() as u64) < INBOX);
}

/// The inbox is not read, so that the attacker is given no more credit; and there is traffic to server 2 meanwhile.
#[test]
fn data_beyond_the_credit() {
    let mut cluster = Cluster::new([1, 2, 3]).with(|config| config.with_inbox_bytes(Config::MIN_INBOX_BYTES));
    let [mut one, mut two] = cluster.start_each([1, 2]);
    let (mut stream, welcome) = impersonate(&cluster.config, &hello(&cluster.config));
    let bytes = MAX_SEGMENT_PAYLOAD as u64;
    for number in 0..welcome.credit[0] / bytes + 1 {
        let _ = stream.write_all(&data(number * bytes, 0, &frame(bytes as u32 - 16, bytes as usize - 16)));
        send(one.outbox(), Envelope::to(2).id(number as i64));
        assert_eq!(receive(two.inbox()).msg_id, number as i64);
    }
    await_end(&mut stream, "beyond the credit");
    let down = |event: &Event| matches!(event, Event::Down { pid: 3, reason: DownReason::Violation(_) });
    await_event(one.events(), "violation", down);
    // What was within it is there, and nothing more.
    for _ in 0..welcome.credit[0] / bytes {
        let envelope = receive(one.inbox());
        assert_eq!((envelope.pid, envelope.msg_id, envelope.msg.len()), (3, 666, bytes as usize - 16));
    }
    assert!(one.inbox().try_recv().is_err());
}

#[test]
fn random_changes_to_valid_segments() {
    let mut rng = random_of_test("random_changes_to_valid_segments");
    under_attack(
        |config| config.with_max_envelope_bytes(1 << 20),
        |config, alive| {
            for round in 0..100 {
                let greeting = Hello { incarnation: [round as u8 + 1; 16], ..hello(config) };
                let (mut stream, _) = impersonate(config, &greeting);
                let payload = [frame(24, 24), frame(40, 40)].concat();
                let mut position = 0;
                for _ in 0..rng.u64(..5) {
                    // What the one before has said may be found out only now.
                    let _ = stream.write_all(&data(position, 0, &payload));
                    position += payload.len() as u64;
                }
                // A header that is altered and sealed again passes the checksum.
                let kinds = [Kind::Data, Kind::Ack, Kind::Heartbeat, Kind::Goodbye, Kind::End];
                let kind = kinds[rng.usize(..kinds.len())];
                let mut payload: Vec<u8> = payload[..8 * rng.usize(..13)].to_vec();
                for _ in 0..rng.u64(..3) {
                    if !payload.is_empty() {
                        let at = rng.usize(..payload.len());
                        payload[at] = rng.u8(..);
                    }
                }
                let mut any = |usual: u64| if rng.u64(..3) == 0 { rng.u64(..) >> rng.u64(..64) } else { usual };
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
