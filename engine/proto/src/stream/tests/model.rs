//! Random operations on a stream, compared with all the bytes that were ever written to it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Wake, Waker};

use bytes::Bytes;
use fastrand::Rng;
use zerocopy::IntoBytes;

use super::super::{Extent, MAX_RING_PAYLOAD, SendQueue, SendWindow, Taken, stream};
use super::part_bytes;
use crate::payload::Body;
use crate::testing::{one_in, seeded};
use crate::time::Time;
use crate::wire::{FIRST, FRAGMENT, FrameHeader, LAST, MAX_SEGMENT_PAYLOAD};

const SEEDS: u64 = 200;

/// Text from which payloads are cut.
static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut text = vec![0; 212 * 1024];
    Rng::with_seed(1).fill(&mut text);
    text
});

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Frame {
    begin: u64,
    end: u64,
    length: usize,
    by_reference: bool,
}

struct Model {
    random: Rng,
    writer: SendQueue,
    reader: SendWindow,
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    highest_sent: u64,
    /// Ends of sent segments: positions that a receiver may expect next.
    cuts: Vec<u64>,
    asleep: Option<(Arc<Flag>, usize)>,
    /// Bytes for which the receiver has room.
    room: u64,
}

#[test]
fn a_stream_is_its_bytes() {
    for seed in 0..SEEDS {
        let run = AssertUnwindSafe(|| Model::new(seed).run());
        if let Err(panic) = catch_unwind(run) {
            let message = panic.downcast_ref::<String>().cloned();
            let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let Some(message) = message else { resume_unwind(panic) };
            panic!("seed {seed}: {message}");
        }
    }
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut random = seeded(seed);
        let (writer, reader) = stream(4, 1 << (16 + random.u64(..3)), 1 << (16 + random.u64(..5))).unwrap();
        Model {
            random,
            writer,
            reader,
            bytes: Vec::new(),
            frames: Vec::new(),
            highest_sent: 0,
            cuts: vec![0],
            asleep: None,
            room: 0,
        }
    }

    fn run(&mut self) {
        for _ in 0..300 {
            match self.random.u64(..16) {
                0..5 => self.push(),
                5..9 => self.take(),
                9..12 => self.acknowledge(),
                12 => self.acknowledge_wrongly(),
                13 => self.resume(),
                14 if one_in(&mut self.random, 4) => self.restart(),
                _ => self.count(),
            }
            let (acked, sent) = (self.reader.acked(), self.reader.sent());
            assert!(acked <= sent && sent <= self.reader.written());
            assert_eq!(self.reader.written(), self.bytes.len() as u64);
        }
        // All bytes can be sent, acknowledged, and written again.
        self.reader.resume(self.reader.sent());
        self.room = u64::MAX;
        while self.send_one() {}
        assert_eq!(self.reader.sent(), self.bytes.len() as u64, "something is not sent");
        let end = self.reader.sent();
        self.acknowledged(end);
        assert!(self.reader.is_drained() && self.asleep.is_none());
        for length in [0, MAX_RING_PAYLOAD, 200 * 1024] {
            assert!(self.writer.has_room(length), "no room for {length} in a stream that is drained");
            assert!(!self.writer.wait_for_room(length, Waker::noop()), "an empty stream need not be waited for");
        }
    }

    fn push(&mut self) {
        let largest = [64, 2000, MAX_RING_PAYLOAD + 2, 200 * 1024][self.random.usize(..4)];
        let length = self.random.usize(..=largest);
        let begin = self.random.usize(..4096);
        let payload = TEXT[begin..begin + length].to_vec();
        let id = self.frames.len() as i64;
        let had_room = self.writer.has_room(length);
        let way = self.random.u64(..3);
        let pushed = match way {
            0 => self.writer.push_with(id, length, |room| room.copy_from_slice(&payload)),
            1 => self.writer.push_reference(id, Bytes::from(payload.clone())),
            _ => self.writer.push(id, &Body::from(payload.clone())),
        };
        assert!(way == 1 || pushed.is_ok() == had_room, "has_room says {had_room} for {length}: {pushed:?}");
        if pushed.is_ok() {
            let begin = self.bytes.len() as u64;
            self.bytes.extend_from_slice(FrameHeader::new(length as u32, id).as_bytes());
            self.bytes.extend_from_slice(&payload);
            self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
            let by_reference = way == 1 || length > MAX_RING_PAYLOAD;
            self.frames.push(Frame { begin, end: self.bytes.len() as u64, length, by_reference });
        } else if way != 1 && self.asleep.is_none() {
            let flag = Arc::new(Flag(AtomicBool::new(false)));
            assert!(self.writer.wait_for_room(length, &Waker::from(flag.clone())), "full, and yet there is room");
            self.asleep = Some((flag, length));
        }
    }

    fn take(&mut self) {
        self.room = self.random.u64(..300_000);
        for _ in 0..=self.random.u64(..4) {
            self.send_one();
        }
    }

    /// Takes and checks the next segment, if there is one.
    fn send_one(&mut self) -> bool {
        let (sent, room) = (self.reader.sent(), self.room);
        let written = self.reader.written();
        let Some(taken) = self.reader.take(written, Time::default(), room) else {
            assert!(sent == self.bytes.len() as u64 || room < 2 * 16 * 1024, "nothing to take at {sent} with {room}");
            return false;
        };
        let Taken::Data(extent) = taken else { panic!("nothing here may be dropped: {taken:?}") };
        assert_eq!(extent.from, sent);
        let bytes = extent.to - extent.from;
        let continues = extent.flags & FRAGMENT != 0 && extent.flags & FIRST == 0;
        assert!(bytes > 0 && bytes <= MAX_SEGMENT_PAYLOAD as u64 && (continues || bytes <= room));
        self.room -= if continues { 0 } else { bytes };
        self.check_flags(&extent);
        let expected = &self.bytes[extent.from as usize..extent.to as usize];
        assert!(self.reader.slices(&extent).concat() == expected, "slices of {extent:?}");
        let mut parts = Vec::new();
        self.reader.parts(&extent, &mut |part| parts.extend_from_slice(&part_bytes(&part)));
        assert!(parts == expected, "parts of {extent:?}");
        self.highest_sent = self.highest_sent.max(extent.to);
        self.cuts.push(extent.to);
        true
    }

    fn check_flags(&self, extent: &Extent) {
        let first = self.frames.partition_point(|frame| frame.end <= extent.from);
        let frame = &self.frames[first];
        if extent.flags & FRAGMENT == 0 {
            assert_eq!((extent.flags, frame.begin), (0, extent.from), "whole frames begin at one's beginning");
            assert!(self.frames[first..].iter().any(|frame| frame.end == extent.to), "whole frames end at one's end");
            return;
        }
        assert!(extent.to <= frame.end && frame.by_reference, "a fragment is of one frame: {extent:?}");
        assert_eq!(extent.flags & FIRST != 0, extent.from == frame.begin, "{extent:?}");
        assert_eq!(extent.flags & LAST != 0, extent.to == frame.end, "{extent:?}");
        assert!(extent.flags & FIRST == 0 || extent.flags & LAST == 0, "{extent:?} is whole");
        assert!(extent.flags & FIRST == 0 || extent.to - extent.from >= 24, "{extent:?} is too short");
    }

    fn acknowledge(&mut self) {
        let (acked, sent) = (self.reader.acked(), self.reader.sent());
        let ends: Vec<u64> =
            self.frames.iter().map(|frame| frame.end).filter(|end| *end > acked && *end <= sent).collect();
        if !ends.is_empty() {
            let position = ends[self.random.usize(..ends.len())];
            self.acknowledged(position);
        }
    }

    fn acknowledged(&mut self, position: u64) {
        assert_eq!(self.reader.acknowledge(position), Ok(()));
        assert_eq!(self.reader.acked(), position);
        if let Some((flag, length)) = &self.asleep {
            let woken = flag.0.load(Ordering::SeqCst);
            // All sent bytes are acknowledged: the room that was held back is given back now.
            assert!(woken || position < self.reader.sent() || !self.writer.has_room(*length), "the writer sleeps on");
            if woken {
                self.asleep = None;
            }
        }
    }

    fn acknowledge_wrongly(&mut self) {
        let (acked, sent) = (self.reader.acked(), self.reader.sent());
        let mut wrong = vec![sent + 8, sent + 1, u64::MAX];
        if acked + 1 < sent {
            wrong.push((acked + self.random.u64(1..=sent - acked - 1)) | 1);
        }
        wrong.extend(self.frames.iter().map(|frame| frame.end - 8).filter(|position| *position > acked));
        for position in wrong {
            let error = self.reader.acknowledge(position).expect_err("cannot be right");
            assert_eq!((error.position, error.sent), (position, sent));
        }
        assert_eq!(self.reader.acked(), acked);
    }

    /// Reconnects to the same receiver.
    fn resume(&mut self) {
        let acked = self.reader.acked();
        self.cuts.retain(|cut| *cut >= acked);
        self.cuts.push(acked);
        let position = self.cuts[self.random.usize(..self.cuts.len())];
        assert!(self.reader.can_resume(position));
        let ring = self.frames.iter().rev().find(|frame| !frame.by_reference && frame.end - 8 > acked);
        let inside = ring.map(|frame| frame.end - 8);
        for wrong in [acked.wrapping_sub(8), position + 1, self.highest_sent + 8].into_iter().chain(inside) {
            assert!(!self.reader.can_resume(wrong), "{wrong}");
        }
        self.reader.resume(position);
        self.room = self.random.u64(..100_000);
        assert_eq!(self.reader.sent(), position);
    }

    /// Connects to a new receiver.
    fn restart(&mut self) {
        let acked = self.reader.acked();
        self.reader.restart();
        self.room = 70_000;
        assert!(self.reader.can_resume(self.highest_sent), "nobody has shown yet that there is a new receiver");
        self.reader.forget_sent();
        assert_eq!(self.reader.sent(), acked);
        (self.highest_sent, self.cuts) = (acked, vec![acked]);
    }

    fn count(&mut self) {
        let acked = self.reader.acked();
        let left = self.frames.iter().filter(|frame| frame.begin >= acked);
        let expected = left.fold((0, 0), |sum, frame| (sum.0 + 1, sum.1 + frame.length as u64));
        assert_eq!(self.reader.unacknowledged(), expected);
    }
}
