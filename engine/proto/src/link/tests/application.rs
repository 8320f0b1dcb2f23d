//! Simulated applications of two servers: they write numbered envelopes, and read them at their own pace.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Wake, Waker};
use std::time::Duration;

use fastrand::Rng;

use crate::payload::Body;
use crate::testing::one_in;

use super::super::{Arrival, Delivery, RecvShared};
use crate::stream::{DropPolicy, Lane, SendQueue, SendWindow, stream, stream_id};
use crate::time::Time;
use crate::wire::{FIRST, FRAGMENT, Frames, SegmentHeader, frame_bytes, lane_of};

const LONGEST: usize = 200 * 1024;

/// Random bytes that payloads are cut out of.
static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut text = vec![0; LONGEST + 32 * 1024];
    Rng::with_seed(1).fill(&mut text);
    text
});

/// Returns the payload of an envelope: its number, and bytes that differ between envelopes and between places.
pub(super) fn payload(number: usize, length: usize) -> Vec<u8> {
    let mut payload = (number as u64).to_le_bytes().to_vec();
    let offset = number * 3 % 8192;
    payload.extend_from_slice(&TEXT[offset..offset + length - 8]);
    payload
}

fn is_payload(bytes: &[u8], number: usize) -> bool {
    let offset = number * 3 % 8192;
    bytes[..8] == (number as u64).to_le_bytes() && bytes[8..] == TEXT[offset..offset + bytes.len() - 8]
}

/// Key of a stream: the side, the incarnation of the side, and the stream's number.
pub(super) type StreamKey = (usize, u32, u32);

/// Record of the envelopes written on one stream.
#[derive(Default)]
pub(super) struct Record {
    /// Position behind each envelope.
    pub(super) ends: Vec<u64>,
    /// Number of envelopes delivered or dropped, to any incarnation of the peer.
    pub(super) delivered: usize,
    /// Flag for each envelope: it may be dropped.
    pub(super) droppable: Vec<bool>,
    /// Flag for each envelope: it was delivered.
    pub(super) got: Vec<bool>,
}

impl Record {
    pub(super) fn begin(&self, number: usize) -> u64 {
        if number == 0 { 0 } else { self.ends[number - 1] }
    }

    /// Number of envelopes that were not delivered.
    pub(super) fn lost(&self) -> usize {
        self.got.iter().filter(|got| !**got).count()
    }
}

pub(super) type Records = BTreeMap<StreamKey, Record>;

pub(super) struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(super) struct Outbox {
    pub(super) stream: u32,
    pub(super) writer: SendQueue,
    /// Number of envelopes still to be written.
    pub(super) quota: usize,
    /// Length of the envelope that had no room.
    refused: Option<usize>,
    /// Set while the outbox sleeps until there is room.
    asleep: Option<Arc<Flag>>,
}

impl Outbox {
    pub(super) fn sleeps(&self) -> bool {
        self.asleep.as_ref().is_some_and(|flag| !flag.0.load(Ordering::SeqCst))
    }
}

/// State of an application that receives on one stream.
struct Incoming {
    next: usize,
    consumed: u64,
    /// End of the last frame received in fragments. There is always room for it.
    begun: u64,
    /// Gaps: the position at which each ends, and its length in bytes.
    skipped: Vec<(u64, u64)>,
}

impl Incoming {
    /// Makes the state of a stream whose first segment is at `position`.
    fn new(key: StreamKey, position: u64, acked: Option<u64>, record: &Record) -> Incoming {
        let next = if position == 0 {
            0
        } else {
            record.ends.binary_search(&position).expect("begins in the middle of a frame") + 1
        };
        assert!(next <= record.delivered, "{key:?} begins at {next}, only {} were delivered", record.delivered);
        assert!(acked.is_none_or(|acked| acked == position), "{key:?} begins at {position}, acked is {acked:?}");
        Incoming { next, consumed: position, begun: 0, skipped: Vec::new() }
    }
}

struct Unread {
    key: StreamKey,
    stream: Arc<RecvShared>,
    room: u64,
    end: u64,
    messages: u64,
    bytes: u64,
}

/// Application of one incarnation of one side.
pub(super) struct Application {
    side: usize,
    life: u32,
    window: u64,
    largest: usize,
    /// One envelope in so many may be dropped; 0: none.
    droppable: u64,
    next_outbox: u32,
    pub(super) outboxes: Vec<Outbox>,
    inbox: VecDeque<Unread>,
    incoming: BTreeMap<StreamKey, Incoming>,
}

impl Application {
    pub(super) fn new(side: usize, life: u32, window: u64, largest: usize, droppable: u64) -> Application {
        Application {
            side,
            life,
            window,
            largest,
            droppable,
            next_outbox: 0,
            outboxes: Vec::new(),
            inbox: VecDeque::new(),
            incoming: BTreeMap::new(),
        }
    }

    pub(super) fn open(&mut self, random: &mut Rng, quota: usize) -> SendWindow {
        let lane = if one_in(random, 3) { Lane::Urgent } else { Lane::Normal };
        #[cfg(lanes3)]
        let lane = if one_in(random, 3) { Lane::Bulk } else { lane };
        let id = stream_id(self.next_outbox, lane);
        self.next_outbox += 1;
        let (writer, reader) = stream(id, 1 << (16 + random.u64(..3)), (64 * 1024) << random.u64(..3)).unwrap();
        self.outboxes.push(Outbox { stream: id, writer, quota, refused: None, asleep: None });
        reader
    }

    /// Writes some envelopes. Returns whether the reader must be signalled.
    pub(super) fn write(&mut self, random: &mut Rng, now: Time, records: &mut Records) -> bool {
        let mut signal = false;
        for _ in 0..=random.u64(..6) {
            let Some(outbox) = random.choice(&mut self.outboxes) else { continue };
            if outbox.quota == 0 || outbox.sleeps() {
                continue;
            }
            outbox.asleep = None;
            let length = outbox.refused.take().unwrap_or_else(|| envelope_length(random, self.largest));
            let record = records.entry((self.side, self.life, outbox.stream)).or_default();
            let number = record.ends.len();
            let bytes = payload(number, length);
            // With the shorter limit, many envelopes expire before a lost connection is replaced.
            let longest = if random.bool() { 300_000 } else { 40_000 };
            let life = Duration::from_micros(random.u64(..longest));
            let policy = match random.u64(..3) {
                _ if self.droppable == 0 || !one_in(random, self.droppable) => DropPolicy::default(),
                0 => DropPolicy { best_effort: true, ..DropPolicy::default() },
                1 => DropPolicy { expires: Some(now + life), ..DropPolicy::default() },
                _ => DropPolicy { expires: Some(now + life), best_effort: true, only: None },
            };
            let pushed = match random.u64(..3) {
                _ if policy.is_droppable() => outbox.writer.push_droppable(number as i64, &Body::from(bytes), policy),
                0 => outbox.writer.push_with(number as i64, length, |room| room.copy_from_slice(&bytes)),
                1 if length > 512 => outbox.writer.push_reference(number as i64, bytes.into()),
                _ => outbox.writer.push(number as i64, &Body::from(bytes)),
            };
            match pushed {
                Ok(waits) => {
                    signal |= waits;
                    record.ends.push(record.begin(number) + frame_bytes(length) as u64);
                    record.droppable.push(policy.is_droppable());
                    record.got.push(false);
                    outbox.quota -= 1;
                }
                Err(_) => {
                    outbox.refused = Some(length);
                    let flag = Arc::new(Flag(AtomicBool::new(false)));
                    if outbox.writer.wait_for_room(length, &Waker::from(flag.clone())) {
                        outbox.asleep = Some(flag);
                    }
                }
            }
        }
        signal
    }

    /// Takes an accepted data segment. `acked`: the position that its sender regards as acknowledged, if the sender
    /// still lives.
    pub(super) fn arrived(
        &mut self,
        key: StreamKey,
        (header, payload): (&SegmentHeader, &[u8]),
        delivery: &Delivery,
        acked: Option<u64>,
        records: &mut Records,
    ) {
        let record = records.get_mut(&key).expect("a stream that was written");
        let position = header.position.get();
        let incoming = self.incoming.entry(key).or_insert_with(|| Incoming::new(key, position, acked, record));
        if header.has(FRAGMENT) && !header.has(FIRST) {
            incoming.begun = record.ends[incoming.next];
        }
        let first = incoming.next;
        let (mut messages, mut bytes) = (0, 0);
        let mut take = |id: i64, payload: &[u8]| {
            assert_eq!(id, incoming.next as i64, "{key:?} is out of order");
            assert!(is_payload(payload, incoming.next), "{key:?} number {} is damaged", incoming.next);
            record.got[incoming.next] = true;
            incoming.next += 1;
            messages += 1;
            bytes += payload.len() as u64;
        };
        match &delivery.arrival {
            Arrival::Frames => {
                for frame in Frames::new(payload) {
                    let frame = frame.expect("whole frames");
                    take(frame.id, frame.payload);
                }
            }
            Arrival::Whole { id, payload } => take(*id, payload),
            Arrival::Part => {
                assert_eq!(delivery.room, 0, "a part is no delivery");
                return;
            }
        }
        let (end, room) = (record.begin(incoming.next), delivery.room);
        assert_eq!(room, end - record.begin(first), "{key:?} takes up another room");
        record.delivered = record.delivered.max(incoming.next);
        self.inbox.push_back(Unread { key, stream: delivery.stream.clone(), room, end, messages, bytes });
        // All streams of a lane count, ended ones and those of earlier incarnations included.
        let lane = lane_of(key.2);
        let unread: u64 =
            self.inbox.iter().filter(|unread| lane_of(unread.key.2) == lane).map(|unread| unread.room).sum();
        let most = self.window + frame_bytes(self.largest) as u64;
        assert!(unread <= most, "{unread} bytes wait to be read on {lane:?}, {most} are allowed");
    }

    /// Takes a gap that the sender has announced, between the positions `from` and `to`.
    pub(super) fn skipped(
        &mut self,
        key: StreamKey,
        (from, to): (u64, u64),
        acked: Option<u64>,
        records: &mut Records,
    ) {
        let record = records.get_mut(&key).expect("a stream that was written");
        let incoming = self.incoming.entry(key).or_insert_with(|| Incoming::new(key, from, acked, record));
        let next = record.ends.binary_search(&to).expect("a gap ends in the middle of a frame") + 1;
        assert!(next > incoming.next, "{key:?}: a gap before what was delivered");
        let first = incoming.next;
        assert!(record.droppable[first..next].iter().all(|droppable| *droppable), "{key:?} lost what must arrive");
        incoming.skipped.push((to, to - record.begin(first)));
        incoming.next = next;
        record.delivered = record.delivered.max(next);
    }

    /// Reads some of the arrived envelopes. Returns whether the link is to be notified.
    pub(super) fn read(&mut self, random: &mut Rng) -> bool {
        let mut look = false;
        for _ in 0..=random.u64(..6) {
            let Some(unread) = self.inbox.pop_front() else { break };
            let incoming = self.incoming.get_mut(&unread.key).expect("it has arrived");
            incoming.consumed = unread.end;
            look |= unread.stream.consume(unread.room, unread.messages, unread.bytes);
        }
        look
    }

    pub(super) fn has_written_all(&self) -> bool {
        self.outboxes.iter().all(|outbox| outbox.quota == 0)
    }

    pub(super) fn has_read_all(&self) -> bool {
        self.inbox.is_empty()
    }
}

fn envelope_length(random: &mut Rng, largest: usize) -> usize {
    let limit = match random.u64(..16) {
        0 => largest,
        1..4 => largest.min(20 * 1024),
        4..8 => 2048,
        _ => 96,
    };
    random.usize(8..limit)
}
