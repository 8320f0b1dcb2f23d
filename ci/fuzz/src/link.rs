//! Target for a link as a whole: any sequence of segments of a peer, of events of connections, and of calls of the
//! application.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster_engine::batch::Batch;
use cluster_engine::link::{Arrival, Delivery, DownReason, Link, Local, Notice, RecvShared, State, Verdict, Want};
use cluster_engine::stream::{SendQueue, stream};
use cluster_engine::wire::{
    FrameHeader, GoodbyeReason, Grant, Hello, Kind, MAX_SEGMENT_PAYLOAD, NO_STREAM, Receiving, Refusal, RefusalReason,
    SEGMENT_HEADER_BYTES, SegmentHeader, Sending, WireIncarnation, encode_challenge, encode_grants, lane_of, padded,
};
use cluster_engine::{Body, Time};
use zerocopy::IntoBytes;

use crate::allocations::within;
use crate::input::Input;

/// Memory limit of a link in bytes: one begun envelope on each of the four streams of [`STREAMS`], and what the link
/// writes itself.
const MEMORY: usize = 16 << 20;
const WINDOW: u64 = 128 * 1024;
const MAX_ENVELOPE: u64 = 64 << 20;
/// Streams that the peer names.
const STREAMS: [u32; 5] = [0, 1, 2, 7, NO_STREAM];
/// Most steps for one link.
const STEPS: usize = 400;
const PEER: u64 = 200;
/// Incarnation of this side.
const US: WireIncarnation = [1; 16];

/// Runs the steps of an input on one link, in whichever states they lead to.
pub fn link(bytes: &[u8]) {
    within(MEMORY, || {
        let mut scene = Scene::new(Input::new(bytes));
        for _ in 0..STEPS {
            if scene.input.is_empty() {
                break;
            }
            scene.step();
            scene.check();
        }
    });
}

struct Scene<'a> {
    input: Input<'a>,
    pid: u64,
    link: Link,
    now: Time,
    /// Number of streams that this side has opened.
    opened: u32,
    writers: Vec<SendQueue>,
    batch: Batch,
    /// Incarnation of the peer that was accepted last.
    incarnation: Option<WireIncarnation>,
    /// Next position of each of the peer's streams of which something has arrived.
    next: BTreeMap<u32, u64>,
    inbox: Vec<Unread>,
}

/// Unread delivery on one stream.
struct Unread {
    stream: Arc<RecvShared>,
    /// Bytes of room that it takes up.
    room: u64,
    /// Bytes of whole frames in it.
    bytes: u64,
}

impl<'a> Scene<'a> {
    fn new(mut input: Input<'a>) -> Scene<'a> {
        // Of two links that dial at once, the dial of the lower pid is kept: this side may be either.
        let pid = if input.chance() { 100 } else { 300 };
        let local = Local {
            pid,
            incarnation: US,
            secret: 7,
            cluster: "fuzz".to_owned(),
            window_bytes: WINDOW,
            max_envelope_bytes: MAX_ENVELOPE,
            socket_bytes: 0,
            checksum_payload: false,
            heartbeat_interval: Duration::from_millis(250),
            peer_timeout: Duration::from_millis(1250),
            eager: input.chance(),
        };
        let mut scene = Scene {
            input,
            pid,
            link: Link::new(Arc::new(local), PEER),
            now: Time::default(),
            opened: 0,
            writers: Vec::new(),
            batch: Batch::default(),
            incarnation: None,
            next: BTreeMap::new(),
            inbox: Vec::new(),
        };
        scene.open();
        scene
    }

    fn step(&mut self) {
        match self.input.below(32) {
            0 => self.wait(),
            1 => self.greeted(),
            2 => self.dial(),
            3 => self.welcomed(),
            4 => {
                let reason = [RefusalReason::Tie, RefusalReason::UnknownPeer][self.input.below(2)];
                self.link.refused(Refusal { reason, from: PEER }, self.now);
            }
            5 => self.link.lost(DownReason::Closed, self.now),
            6 => self.link.dial_failed(self.now),
            7 => self.open(),
            8 => drop(self.writers.pop()),
            9 => self.link.request_ack(),
            10 if self.input.below(16) == 0 => self.link.close(GoodbyeReason::Stopped, &mut self.batch),
            10..13 => self.transmit(),
            13..16 => self.write(),
            16..19 => self.read(),
            _ => self.hear(),
        }
    }

    fn check(&mut self) {
        for stream in self.link.outgoing() {
            let (acked, sent, written) = (stream.acked(), stream.sent(), stream.written());
            assert!(acked <= sent && sent <= written, "{acked} {sent} {written}");
        }
        let _ = (self.link.deadline(), self.link.take_notices());
    }

    fn wait(&mut self) {
        self.now += Duration::from_millis([1, 25, 50, 250, 500, 1250, 2000, 60_000][self.input.below(8)]);
        self.link.timeout(self.now, self.now);
        self.follow();
    }

    /// Dials if the link wants to, as a shard would.
    fn follow(&mut self) {
        if self.link.wants(self.now, false) == Want::Dial {
            self.link.dials(self.now);
            if self.input.chance() {
                self.link.dial_failed(self.now);
            }
        }
    }

    fn dial(&mut self) {
        self.follow();
        if self.link.state() == State::Dialing {
            let hello = self.link.connected(self.now);
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }
    }

    fn greeted(&mut self) {
        let hello = self.hello();
        if let Verdict::Welcome(welcome) = self.link.greeted(&hello, self.now)
            && self.input.below(16) != 15
        {
            let confirm = SegmentHeader::new(Kind::Confirm);
            let taken = self.link.receive(&confirm, &encode_challenge(welcome.challenge), self.now);
            assert!(matches!(taken, Ok(None)));
            self.met(&hello);
        }
    }

    fn welcomed(&mut self) {
        let welcome = self.hello();
        if self.link.welcomed(&welcome, self.now) {
            self.met(&welcome);
        }
    }

    /// Forgets the streams that do not go on in the session that has begun. A stream of which something has arrived goes
    /// on behind it, unless the greeting does not list it, the incarnation is another one, or the link has told of a
    /// reset.
    fn met(&mut self, hello: &Hello) {
        assert_eq!(self.link.state(), State::Up);
        let is_reset = self.link.take_notices().contains(&Notice::Reset);
        if self.incarnation.replace(hello.incarnation) != Some(hello.incarnation) || is_reset {
            self.next.clear();
        }
        self.next.retain(|stream, _| hello.sending.iter().any(|entry| entry.stream.get() == *stream));
    }

    /// Returns a greeting that is acceptable, or nearly.
    fn hello(&mut self) -> Hello {
        let pid = self.pid;
        let input = &mut self.input;
        let streams: Vec<(u64, u64)> =
            self.link.outgoing().iter_mut().map(|stream| (stream.acked(), stream.sent())).collect();
        let sending = (0..input.below(4)).map(|_| {
            let stream = STREAMS[input.below(5)];
            let next = self.next.get(&stream).copied().unwrap_or(0);
            Sending::new(stream, input.number(next))
        });
        let sending = sending.collect();
        let receiving = (0..input.below(4)).map(|_| {
            let stream = input.below(4);
            let (acked, sent) = streams.get(stream).copied().unwrap_or_default();
            let near = if input.chance() { acked } else { sent };
            Receiving::new(stream as u32, input.number(near))
        });
        let receiving = receiving.collect();
        Hello {
            from: input.number(PEER),
            to: input.number(pid),
            incarnation: [2 + input.below(3) as u8; 16],
            known_incarnation: [US, [0; 16], [9; 16]][input.below(3)],
            max_envelope_bytes: input.number(MAX_ENVELOPE),
            credit: [input.number(WINDOW), WINDOW],
            challenge: 0,
            peer_timeout_ms: 1250,
            features: 0,
            greeting: u32::from(input.byte()),
            cluster: if input.below(16) == 15 { "another" } else { "fuzz" }.to_owned(),
            sending,
            receiving,
        }
    }

    /// Receives a segment. A violation of the protocol ends the connection.
    fn hear(&mut self) {
        const KINDS: [Kind; 10] = [
            Kind::Data,
            Kind::Skip,
            Kind::Ack,
            Kind::End,
            Kind::Heartbeat,
            Kind::Goodbye,
            Kind::Hello,
            Kind::Welcome,
            Kind::Refuse,
            Kind::Confirm,
        ];
        let choice = self.input.below(16);
        let kind = KINDS[if choice < 10 { choice } else { 0 }];
        let stream = STREAMS[self.input.below(5)];
        let next = self.next.get(&stream).copied();
        let mut header = SegmentHeader::new(kind);
        header.stream = stream.into();
        header.position = self.input.number(next.unwrap_or(0)).into();
        header.flags = u16::from(self.input.byte() & 0x1F).into();
        if self.input.chance() {
            let (stream, position, credit) = self.grant();
            (header.ack_stream, header.ack_position, header.ack_credit) =
                (stream.into(), position.into(), credit.into());
        }
        let payload = self.payload(kind, header.position.get());
        header.seal(&[&payload]);
        let position = header.position.get();
        match self.link.receive(&header, &payload, self.now) {
            Ok(delivery) => {
                match kind {
                    Kind::Data => drop(self.next.insert(stream, position + payload.len() as u64)),
                    Kind::Skip => {
                        let to = payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                        self.next.insert(stream, to);
                    }
                    Kind::End => drop(self.next.remove(&stream)),
                    _ => {}
                }
                assert_eq!(delivery.is_some(), kind == Kind::Data);
                if let Some(delivery) = delivery {
                    assert!(next.is_none_or(|next| position == next), "{position} taken, expected {next:?}");
                    self.delivered(delivery, payload.len() as u64);
                }
            }
            Err(violation) => {
                assert!(!violation.to_string().is_empty());
                self.link.lost(DownReason::Violation(violation.to_string()), self.now);
                assert_ne!(self.link.state(), State::Up);
            }
        }
    }

    fn delivered(&mut self, delivery: Delivery, length: u64) {
        let bytes = match &delivery.arrival {
            Arrival::Frames => length,
            // Only the beginning of a whole envelope needs credit, whatever the window.
            Arrival::Whole { payload, .. } => {
                assert!(payload.len() as u64 <= MAX_ENVELOPE);
                0
            }
            Arrival::Part => return,
        };
        self.inbox.push(Unread { stream: delivery.stream, room: delivery.room, bytes });
        let unread: u64 = self.inbox.iter().map(|unread| unread.bytes).sum();
        assert!(unread <= WINDOW, "{unread} unread bytes came, {WINDOW} had credit");
    }

    /// Returns the payload of a segment of this kind, or of none.
    fn payload(&mut self, kind: Kind, position: u64) -> Vec<u8> {
        if self.input.below(8) == 7 {
            let input = &mut self.input;
            let length = input.below(16) * 8;
            let mut payload = input.take(length).to_vec();
            payload.resize(padded(payload.len()), 0);
            return payload;
        }
        let input = &mut self.input;
        match kind {
            Kind::Data => {
                let present = (input.number(8) as usize % (MAX_SEGMENT_PAYLOAD - 8)) & !7;
                let length = input.number(present as u64) as u32;
                let mut payload = FrameHeader::new(length, 5).as_bytes().to_vec();
                if input.chance() {
                    // The middle of an envelope has no frame header.
                    payload.clear();
                }
                payload.resize(payload.len() + present.min(MAX_SEGMENT_PAYLOAD - payload.len()), 0);
                payload
            }
            Kind::Ack => {
                let grants: Vec<Grant> = (0..self.input.below(4))
                    .map(|_| {
                        let (stream, position, credit) = self.grant();
                        Grant::new(stream, lane_of(stream), position, credit)
                    })
                    .collect();
                encode_grants(&grants)
            }
            Kind::Skip => input.number(position.wrapping_add(64)).to_le_bytes().to_vec(),
            Kind::Goodbye => u64::from(input.byte() % 5).to_le_bytes().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Returns an acknowledgement that is acceptable, or nearly.
    fn grant(&mut self) -> (u32, u64, u64) {
        let stream = self.input.below(4);
        let near = self.link.outgoing().get(stream).map_or((0, 0), |stream| (stream.acked(), stream.sent()));
        let near_position = if self.input.chance() { near.0 } else { near.1 };
        let position = self.input.number(near_position);
        (stream as u32, position, self.input.number(near.1 + WINDOW))
    }

    fn open(&mut self) {
        if self.writers.len() < 4 && self.opened < 8 {
            let (writer, reader) = stream(self.opened, 64 * 1024, 1 << 20).unwrap();
            self.opened += 1;
            self.writers.push(writer);
            self.link.open(reader);
        }
    }

    fn write(&mut self) {
        let (length, outbox) = ([0, 8, 33, 1_000, 30_000, 100_000][self.input.below(6)], self.input.below(4));
        if let Some(writer) = self.writers.get_mut(outbox) {
            let _ = writer.push(1, &Body::from(vec![7; length]));
        }
    }

    fn read(&mut self) {
        if self.inbox.is_empty() {
            return;
        }
        let Unread { stream, room, bytes } = self.inbox.remove(0);
        if stream.consume(room, 1, bytes) {
            self.link.consumed();
        }
    }

    fn transmit(&mut self) {
        self.batch.clear();
        self.link.transmit(self.now, &mut self.batch);
        assert!(self.batch.bytes() >= self.batch.segments() * SEGMENT_HEADER_BYTES);
        let _ = self.link.take_opened();
    }
}
