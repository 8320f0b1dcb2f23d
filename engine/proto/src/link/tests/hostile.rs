//! Tests of hostile or damaged segments: they cost the connection, and cause no panic.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::payload::Body;
use crate::testing::one_in;

use super::super::credit::LEAST_WINDOW;
use super::super::{Arrival, DownReason, Link, Local, State, Violation};
use super::greeting::confirm;
use crate::batch::Batch;
use crate::stream::{SendQueue, stream};
use crate::time::Time;
use crate::wire::{
    FIRST, FRAGMENT, FRAME_HEADER_BYTES, FrameHeader, GoodbyeReason, Grant, Hello, Kind, LAST, Lane, MAX_STREAMS,
    NO_STREAM, Receiving, SegmentHeader, Sending, encode_goodbye, encode_grants, encode_skip,
};
use zerocopy::IntoBytes;

const CASES: u64 = 20_000;
const WINDOW: u64 = 128 * 1024;

/// Makes a link that is up, has sent some envelopes, and has received some.
fn up() -> (Link, SendQueue) {
    up_with_window(WINDOW)
}

fn up_with_window(window_bytes: u64) -> (Link, SendQueue) {
    let local = Arc::new(Local {
        pid: 100,
        incarnation: [1; 16],
        secret: 7,
        cluster: "hostile".to_owned(),
        window_bytes,
        max_envelope_bytes: 1 << 20,
        socket_bytes: 0,
        checksum_payload: false,
        heartbeat_interval: Duration::from_millis(500),
        peer_timeout: Duration::from_millis(1500),
        eager: true,
    });
    let mut link = Link::new(local, 200);
    let (mut writer, reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    link.open(reader);
    let welcome = link.greeted(&hello(), Time::default()).expect("welcomed");
    confirm(&mut link, &welcome, Time::default());
    for length in [8, 100_000, 30] {
        assert!(writer.push(1, &Body::from(vec![7; length])).is_ok());
    }
    link.transmit(Time::default(), &mut Batch::default());
    (link, writer)
}

/// Greeting of the peer's first session.
fn hello() -> Hello {
    Hello {
        from: 200,
        to: 100,
        incarnation: [2; 16],
        known_incarnation: [0; 16],
        max_envelope_bytes: 1 << 20,
        credit: [WINDOW; Lane::COUNT],
        challenge: 0,
        peer_timeout_ms: 1500,
        features: 0,
        greeting: 0,
        cluster: "hostile".to_owned(),
        sending: Vec::new(),
        receiving: Vec::new(),
    }
}

fn number(random: &mut Rng) -> u64 {
    match random.u64(..12) {
        0 => 0,
        1 => 8 * random.u64(..64),
        2 => 24 * random.u64(..8),
        3 => random.u64(..200_000),
        4 => 100_048 - random.u64(..3) * 8,
        5 => WINDOW - 8 + random.u64(..17),
        6 => random.u64(..),
        7 => u64::MAX - random.u64(..3) * 8,
        8 => 1 << random.u64(..64),
        _ => 8 * random.u64(..16_000),
    }
}

fn payload(random: &mut Rng, kind: Kind) -> Vec<u8> {
    let mut payload = match (kind, random.u64(..4)) {
        (_, 0) => (0..8 * random.u64(..40)).map(|_| random.u8(..)).collect(),
        (Kind::Ack, _) => {
            let grants = (0..random.u64(..4))
                .map(|_| {
                    let lane = Lane::ALL[random.usize(..Lane::COUNT)];
                    Grant::new(random.u32(..3), lane, number(random), number(random))
                })
                .collect::<Vec<_>>();
            encode_grants(&grants)
        }
        (Kind::Goodbye, 1) => encode_goodbye(GoodbyeReason::Violation).to_vec(),
        (Kind::Goodbye | Kind::Skip, _) => number(random).to_le_bytes().to_vec(),
        _ => {
            let length = if one_in(random, 3) { number(random) as u32 } else { random.u32(..600) };
            let mut frame = FrameHeader::new(length, 5).as_bytes().to_vec();
            let body = if one_in(random, 8) { random.u64(..66_000) } else { u64::from(length).min(600) };
            frame.resize(FRAME_HEADER_BYTES + body.next_multiple_of(8) as usize, 9);
            frame
        }
    };
    if one_in(random, 6) && !payload.is_empty() {
        let at = random.usize(..payload.len());
        payload[at] ^= 1 << random.u64(..8);
    }
    payload
}

#[test]
fn whatever_a_peer_says_is_taken_or_a_violation() {
    let mut random = Rng::with_seed(20);
    let (mut link, mut writer) = up();
    let (mut taken, mut violations) = (0, 0);
    for case in 0..CASES {
        const KINDS: [Kind; 10] = [
            Kind::Hello,
            Kind::Welcome,
            Kind::Refuse,
            Kind::Data,
            Kind::Ack,
            Kind::Heartbeat,
            Kind::Goodbye,
            Kind::End,
            Kind::Skip,
            Kind::Confirm,
        ];
        let kind = if random.bool() { Kind::Data } else { KINDS[random.usize(..10)] };
        let payload = payload(&mut random, kind);
        let mut header = SegmentHeader::new(kind);
        let stream = if one_in(&mut random, 8) { NO_STREAM } else { random.u32(..4) };
        header.stream = stream.into();
        // Often the expected position, so that the checks behind that of the position are reached too.
        let next = link.incoming.iter().find(|incoming| incoming.id() == stream).map_or(0, |stream| stream.received());
        header.position = if one_in(&mut random, 4) { number(&mut random) } else { next }.into();
        header.flags = random.u16(..32).into();
        if one_in(&mut random, 4) {
            header.ack_stream = random.u32(..2).into();
            header.ack_position = number(&mut random).into();
            header.ack_credit = number(&mut random).into();
        }
        header.seal(&[&payload]);
        let now = Time::default() + Duration::from_millis(case % 100);
        let result = link.receive(&header, &payload, now);
        if matches!(result, Ok(Some(_))) {
            assert_eq!(header.position.get(), next, "case {case}: taken out of place");
        }
        match result {
            Ok(Some(delivery)) if random.bool() => {
                if delivery.stream.consume(delivery.room, 1, 8) {
                    link.consumed();
                }
                taken += 1;
            }
            Ok(_) => taken += 1,
            Err(violation) => {
                let text = violation.to_string();
                let cures = ["run the same release", "raise max_envelope_bytes"];
                assert!(cures.iter().any(|cure| text.contains(cure)), "{text}");
                violations += 1;
            }
        }
        for stream in link.outgoing() {
            let (acked, sent, written) = (stream.acked(), stream.sent(), stream.written());
            assert!(acked <= sent && sent <= written, "case {case}: {acked} {sent} {written} after {header:?}");
        }
        // The answer must not panic either.
        link.transmit(now, &mut Batch::default());
        for stream in link.outgoing() {
            let acked = stream.acked();
            assert!(stream.can_resume(acked), "case {case}: {acked} is no frame's after {header:?}");
        }
        if link.state() != State::Up || one_in(&mut random, 20) {
            (link, writer) = up();
        }
    }
    drop(writer);
    assert!(taken > CASES / 20 && violations > CASES / 20, "{taken} taken, {violations} violations");
}

/// No envelope is delivered on these streams, so the link's list of opened streams is not taken.
#[test]
fn streams_that_come_and_go_take_no_room() {
    let (mut link, _writer) = up();
    for stream in 0..50_000u32 {
        let mut skip = SegmentHeader::new(Kind::Skip);
        skip.stream = stream.into();
        let mut end = SegmentHeader::new(Kind::End);
        (end.stream, end.position) = (stream.into(), 8.into());
        assert!(link.receive(&skip, &encode_skip(8), Time::default()).is_ok());
        assert!(link.receive(&end, &[], Time::default()).is_ok());
    }
    assert!(link.opened.len() <= 2 * MAX_STREAMS, "{} are remembered", link.opened.len());
}

/// Streams come and go, each with an envelope that is not read. Credit belongs to the link, however many streams there
/// are.
#[test]
fn streams_that_come_and_go_do_not_fill_an_inbox_that_nobody_reads() {
    let (mut link, _writer) = up();
    let (mut opened, mut unread) = (0u32, 0);
    let violation = loop {
        let mut data = SegmentHeader::new(Kind::Data);
        data.stream = opened.into();
        let frame = FrameHeader::new(1008, 5);
        let mut end = SegmentHeader::new(Kind::End);
        (end.stream, end.position) = (data.stream, 1024.into());
        match link.receive(&data, &[frame.as_bytes(), &[0; 1008]].concat(), Time::default()) {
            Ok(delivery) => unread += delivery.expect("data").room,
            Err(violation) => break violation,
        }
        opened += 2;
        assert!(link.receive(&end, &[], Time::default()).is_ok());
    };
    assert_eq!(violation, Violation::Credit { stream: opened, bytes: 1024, credit: 0 });
    assert_eq!((unread, link.account().bytes_unread), (WINDOW - LEAST_WINDOW, WINDOW - LEAST_WINDOW));
}

/// Only the first fragment of a frame needs credit, so only one frame of a lane may be under way in fragments.
#[test]
fn one_frame_in_fragments_comes_at_a_time() {
    let (mut link, _writer) = up();
    let first = |stream: u32| {
        let mut data = SegmentHeader::new(Kind::Data);
        (data.stream, data.flags) = (stream.into(), (FRAGMENT | FIRST).into());
        (data, [FrameHeader::new(900_000, 5).as_bytes(), &[0; 8]].concat())
    };
    let mut say = |stream| {
        let (header, payload) = first(stream);
        link.receive(&header, &payload, Time::default()).map(|_| ())
    };
    assert_eq!(say(4), Ok(()));
    assert_eq!(say(5), Ok(()), "another lane");
    assert_eq!(say(6), Err(Violation::Fragment { stream: 6 }));
}

/// A gap gives up a frame of which fragments were received. They take no room, and another frame may begin.
#[test]
fn a_gap_gives_up_a_frame_that_had_begun() {
    let (mut link, _writer) = up();
    let first = |stream: u32| {
        let mut data = SegmentHeader::new(Kind::Data);
        (data.stream, data.flags) = (stream.into(), (FRAGMENT | FIRST).into());
        (data, [FrameHeader::new(900_000, 5).as_bytes(), &[0; 8]].concat())
    };
    let (header, payload) = first(4);
    assert!(link.receive(&header, &payload, Time::default()).is_ok());
    assert_eq!(link.account().bytes_unread, 24);
    let mut skip = SegmentHeader::new(Kind::Skip);
    (skip.stream, skip.position) = (4.into(), 24.into());
    assert!(link.receive(&skip, &encode_skip(900_016), Time::default()).is_ok());
    assert_eq!(link.account().bytes_unread, 0);
    let mut data = SegmentHeader::new(Kind::Data);
    (data.stream, data.position) = (4.into(), 900_016.into());
    assert!(link.receive(&data, FrameHeader::new(0, 5).as_bytes(), Time::default()).is_ok());
    let (header, payload) = first(6);
    assert!(link.receive(&header, &payload, Time::default()).is_ok());
}

/// Regression, found by the lying proxy of `ci/tools/faults`: the received part of the frame was kept with the wrong
/// length, so each connection failed again when the rest of the frame arrived.
#[test]
fn a_frame_whose_fragments_contradict_each_other_is_expected_from_its_beginning() {
    const LENGTH: usize = 100_000;
    const PART: usize = 60_000;
    let frame = [FrameHeader::new(LENGTH as u32, 5).as_bytes(), &[7; LENGTH]].concat();
    let fragment = |bytes: Range<usize>, flags: u16| {
        let mut data = SegmentHeader::new(Kind::Data);
        (data.stream, data.position) = (4.into(), (bytes.start as u64).into());
        data.flags = (FRAGMENT | flags).into();
        data
    };
    let longer = [FrameHeader::new(LENGTH as u32 + 800, 5).as_bytes(), &frame[16..PART]].concat();
    let shorter = [FrameHeader::new(LENGTH as u32 / 2, 5).as_bytes(), &frame[16..PART]].concat();
    let mut whole = fragment(PART..frame.len(), 0);
    whole.flags = 0.into();
    let cases = [
        vec![(fragment(0..PART, FIRST), &longer[..]), (fragment(PART..frame.len(), LAST), &frame[PART..])],
        vec![(fragment(0..PART, FIRST), &shorter[..])],
        vec![(fragment(0..PART, FIRST | LAST), &frame[..PART])],
        vec![(fragment(0..PART, FIRST), &frame[..PART]), (fragment(PART..frame.len(), 0), &frame[PART..])],
        vec![(fragment(0..PART, FIRST), &frame[..PART]), (whole, &frame[PART..PART + 1000])],
    ];
    for (case, lies) in cases.into_iter().enumerate() {
        let now = Time::default();
        let (mut link, _writer) = up();
        let (wrong, right) = lies.split_last().unwrap();
        for (header, payload) in right {
            assert!(link.receive(header, payload, now).is_ok(), "case {case}");
        }
        let violation = link.receive(&wrong.0, wrong.1, now).err();
        assert_eq!(violation, Some(Violation::Fragment { stream: 4 }), "case {case}");
        assert_eq!(link.account().bytes_unread, 0, "case {case}");
        link.lost(DownReason::Violation("of fragments".to_owned()), now);

        let hello = Hello { known_incarnation: [1; 16], greeting: 1, sending: vec![Sending::new(4, 0)], ..hello() };
        let welcome = link.greeted(&hello, now).expect("welcomed");
        assert_eq!(welcome.welcome.receiving, [Receiving::new(4, 0)], "case {case}");
        confirm(&mut link, &welcome, now);
        assert!(link.receive(&fragment(0..PART, FIRST), &frame[..PART], now).is_ok(), "case {case}");
        let last = link.receive(&fragment(PART..frame.len(), LAST), &frame[PART..], now).unwrap().unwrap();
        assert!(matches!(last.arrival, Arrival::Whole { payload, .. } if payload == [7; LENGTH].as_slice()));
    }
}

/// Would take minutes if each segment walked over all the gaps before it, which have not been read past.
#[test]
fn a_hundred_thousand_gaps_cost_each_the_same() {
    const GAPS: u64 = 100_000;
    let mut link = up_with_window(24 * GAPS).0;
    let mut position = 0;
    for _ in 0..GAPS {
        let mut skip = SegmentHeader::new(Kind::Skip);
        (skip.stream, skip.position) = (0.into(), position.into());
        assert!(link.receive(&skip, &encode_skip(position + 8), Time::default()).is_ok());
        let mut data = SegmentHeader::new(Kind::Data);
        (data.stream, data.position) = (0.into(), (position + 8).into());
        assert!(link.receive(&data, FrameHeader::new(0, 5).as_bytes(), Time::default()).is_ok());
        link.transmit(Time::default(), &mut Batch::default());
        position += 24;
    }
}
