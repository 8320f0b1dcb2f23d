//! One stream of a switchboard: what an outbox writes is taken out of it envelope by envelope.

use std::sync::Arc;

use bytes::Bytes;

use crate::link::{Pid, RecvCredit, RecvShared};
use crate::stream::{Lane, SendWindow, Taken, lane_of};
use crate::time::Time;
use crate::wire::{FRAGMENT, Frames, LAST, WireIncarnation, frame_bytes};

/// More room than anybody fills: the window is minded here.
const UNBOUNDED: u64 = 1 << 62;

/// Takes an envelope: its message id, its payload, and the incarnation that it is for alone.
pub(super) type EachEnvelope<'a> = dyn FnMut(i64, Bytes, Option<WireIncarnation>) + 'a;

/// What one outbox sends to one peer on one lane.
pub(super) struct Stream {
    /// The place of the server that sends.
    pub(super) from: u32,
    /// The incarnation of that server.
    pub(super) incarnation: WireIncarnation,
    pub(super) to: Pid,
    pub(super) lane: Lane,
    /// `None` once the outbox is gone and everything was taken, or the server has stopped.
    reader: Option<SendWindow>,
    /// The part of the stream that the inbox of the recipient's present incarnation shares.
    inbound: Arc<RecvShared>,
    /// Room in that inbox.
    recv_window: RecvCredit,
    window: u64,
    /// Nothing has arrived at the present incarnation yet.
    is_new: bool,
    /// Letters, their payload and the frames they came in: taken out of the ring, neither delivered nor lost.
    pub(super) packets: u64,
    pub(super) letter_bytes: u64,
    frame_bytes: u64,
    /// A frame longer than a segment, as far as it has been taken.
    part: Vec<u8>,
    /// What the reader has dropped.
    dropped: u64,
    /// More than a window is under way: the next packet that ends is a reason to look again.
    pub(super) is_blocked: bool,
    pub(super) is_dirty: bool,
}

impl Stream {
    pub(super) fn new(from: u32, incarnation: WireIncarnation, to: Pid, window: u64, mut reader: SendWindow) -> Stream {
        reader.restart();
        let lane = lane_of(reader.id());
        let recv_window = RecvCredit::new(window);
        Stream {
            from,
            incarnation,
            to,
            lane,
            inbound: RecvShared::new(recv_window.consumption().clone()),
            recv_window,
            is_new: true,
            reader: Some(reader),
            window,
            packets: 0,
            letter_bytes: 0,
            frame_bytes: 0,
            part: Vec::new(),
            dropped: 0,
            is_blocked: false,
            is_dirty: false,
        }
    }

    /// What the recipient's inbox shares.
    pub(super) fn shared(&self) -> &Arc<RecvShared> {
        &self.inbound
    }

    /// The recipient's next incarnation knows nothing of what was before.
    pub(super) fn begin_anew(&mut self) {
        self.recv_window = RecvCredit::new(self.window);
        self.inbound = RecvShared::new(self.recv_window.consumption().clone());
        self.is_new = true;
    }

    /// Takes what was written and the window allows. At the end it waits to be signalled, or is blocked. Returns how many
    /// envelopes were dropped because they had expired. With each other one comes the incarnation that it is for alone.
    pub(super) fn take(&mut self, now: Time, each: &mut EachEnvelope<'_>) -> u64 {
        let before = self.dropped();
        self.take_all(now, each);
        self.dropped() - before
    }

    fn dropped(&self) -> u64 {
        self.reader.as_ref().map_or(self.dropped, |reader| reader.dropped().total())
    }

    fn take_all(&mut self, now: Time, each: &mut EachEnvelope<'_>) {
        loop {
            self.is_blocked = self.part.is_empty() && self.frame_bytes + self.unread() >= self.window;
            if self.is_blocked {
                return;
            }
            let Some(reader) = &mut self.reader else { return };
            let written = reader.written();
            let taken = reader.take(written, now, UNBOUNDED);
            self.dropped = reader.dropped().total();
            let Some(taken) = taken else {
                let asleep = reader.wait();
                if reader.is_closed() && reader.is_drained() {
                    self.reader = None;
                    return;
                }
                if asleep {
                    return;
                }
                continue;
            };
            let extent = match taken {
                Taken::Data(extent) => extent,
                Taken::Skip { to, .. } => {
                    let acknowledged = reader.acknowledge(to);
                    debug_assert!(acknowledged.is_ok(), "a gap ends where a frame does");
                    continue;
                }
            };
            let mut bytes = std::mem::take(&mut self.part);
            bytes.reserve_exact((extent.to - extent.from) as usize);
            for slice in reader.slices(&extent) {
                bytes.extend_from_slice(slice);
            }
            if extent.flags & FRAGMENT != 0 && extent.flags & LAST == 0 {
                self.part = bytes;
                continue;
            }
            let (sent, bytes) = (reader.sent(), Bytes::from(bytes));
            let mut position = sent - bytes.len() as u64;
            let mut packets = Vec::new();
            for frame in Frames::new(&bytes) {
                let Ok(frame) = frame else { break };
                packets.push((frame.id, bytes.slice_ref(frame.payload), reader.only_for(position)));
                position += frame_bytes(frame.payload.len()) as u64;
            }
            let acknowledged = reader.acknowledge(sent);
            debug_assert!(acknowledged.is_ok(), "a segment's end, or the last fragment's, is a frame boundary");
            for (id, payload, only) in packets {
                self.begin(payload.len());
                each(id, payload, only);
            }
        }
    }

    /// One more packet is under way.
    pub(super) fn begin(&mut self, length: usize) {
        self.packets += 1;
        self.letter_bytes += length as u64;
        self.frame_bytes += frame_bytes(length) as u64;
    }

    /// A packet is not under way any more.
    pub(super) fn end(&mut self, length: usize) {
        self.packets -= 1;
        self.letter_bytes -= length as u64;
        self.frame_bytes -= frame_bytes(length) as u64;
    }

    /// A packet has arrived. Returns whether it is the first one at the present incarnation.
    pub(super) fn arrive(&mut self, length: usize) -> bool {
        self.recv_window.take(frame_bytes(length) as u64);
        std::mem::take(&mut self.is_new)
    }

    /// What was written and not delivered: packets under way, and what still stands in the ring.
    pub(super) fn undelivered(&mut self) -> (u64, u64) {
        let (messages, bytes) = self.reader.as_mut().map_or((0, 0), SendWindow::unacknowledged);
        (messages + self.packets, bytes + self.letter_bytes)
    }

    /// Nothing more is taken; the writer learns of it.
    pub(super) fn close(&mut self) {
        self.reader = None;
    }

    /// Whether nothing more will come of it.
    pub(super) fn is_over(&self) -> bool {
        self.reader.is_none() && self.packets == 0
    }

    /// Bytes that have arrived and that the application has not taken.
    pub(super) fn unread(&mut self) -> u64 {
        self.recv_window.look();
        self.recv_window.unread()
    }
}
