//! Stream of a switchboard. It takes the envelopes that an outbox writes out of the ring, one by one.

use std::sync::Arc;

use bytes::Bytes;

use crate::link::{Pid, RecvCredit, RecvShared};
use crate::stream::{Dropped, Lane, SendWindow, Taken, lane_of};
use crate::time::Time;
use crate::wire::{FRAGMENT, Frames, LAST, WireIncarnation, frame_bytes};

/// Credit that is never used up: `Stream::take_all` enforces the window itself.
const UNBOUNDED: u64 = 1 << 62;

/// Callback for each envelope: its message id, its payload, and the only incarnation that it is for, if there is one.
pub(super) type EachEnvelope<'a> = dyn FnMut(i64, Bytes, Option<WireIncarnation>) + 'a;

/// Stream of one outbox to one peer on one lane.
pub(super) struct Stream {
    /// Slot of the sending server.
    pub(super) from: u32,
    /// Incarnation of the sending server.
    pub(super) incarnation: WireIncarnation,
    pub(super) to: Pid,
    pub(super) lane: Lane,
    /// `None` once the outbox is gone and its ring is empty, or the server has stopped.
    reader: Option<SendWindow>,
    /// State of the stream that is shared with the inbox of the recipient's present incarnation.
    inbound: Arc<RecvShared>,
    /// Credit for that inbox.
    recv_window: RecvCredit,
    window: u64,
    /// Set until something arrives at the recipient's present incarnation.
    is_new: bool,
    /// Packets that were taken out of the ring and neither delivered nor lost, with their payload bytes and frame
    /// bytes.
    pub(super) packets: u64,
    pub(super) payload_bytes: u64,
    frame_bytes: u64,
    /// Fragments of a frame that is longer than a segment, as far as they were taken.
    part: Vec<u8>,
    /// Numbers of envelopes that the reader has dropped.
    dropped: Dropped,
    /// Set while a whole window is under way or unread. The stream is checked again when a packet ends or is read.
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
            payload_bytes: 0,
            frame_bytes: 0,
            part: Vec::new(),
            dropped: Dropped::default(),
            is_blocked: false,
            is_dirty: false,
        }
    }

    /// Returns the state that the recipient's inbox shares.
    pub(super) fn shared(&self) -> &Arc<RecvShared> {
        &self.inbound
    }

    /// Starts over for the recipient's next incarnation, which knows nothing of earlier packets.
    pub(super) fn begin_anew(&mut self) {
        self.recv_window = RecvCredit::new(self.window);
        self.inbound = RecvShared::new(self.recv_window.consumption().clone());
        self.is_new = true;
    }

    /// Takes written envelopes, as far as the window allows, and calls `each` with them. Afterwards the stream waits
    /// for a signal, or is blocked. Returns the numbers of envelopes that were dropped before and are dropped now.
    pub(super) fn take(&mut self, now: Time, each: &mut EachEnvelope<'_>) -> (Dropped, Dropped) {
        let before = self.dropped();
        self.take_all(now, each);
        (before, self.dropped())
    }

    fn dropped(&self) -> Dropped {
        self.reader.as_ref().map_or(self.dropped, SendWindow::dropped)
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
            self.dropped = reader.dropped();
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

    /// Counts a packet as under way.
    pub(super) fn begin(&mut self, length: usize) {
        self.packets += 1;
        self.payload_bytes += length as u64;
        self.frame_bytes += frame_bytes(length) as u64;
    }

    /// Counts a packet as not under way any more.
    pub(super) fn end(&mut self, length: usize) {
        self.packets -= 1;
        self.payload_bytes -= length as u64;
        self.frame_bytes -= frame_bytes(length) as u64;
    }

    /// Counts a packet as arrived. Returns whether it is the first one at the recipient's present incarnation.
    pub(super) fn arrive(&mut self, length: usize) -> bool {
        self.recv_window.take(frame_bytes(length) as u64);
        std::mem::take(&mut self.is_new)
    }

    /// Returns the envelopes and payload bytes that were written and not delivered: packets under way, and the rest of
    /// the ring.
    pub(super) fn undelivered(&mut self) -> (u64, u64) {
        let (messages, bytes) = self.reader.as_mut().map_or((0, 0), SendWindow::unacknowledged);
        (messages + self.packets, bytes + self.payload_bytes)
    }

    /// Closes the stream to its writer, which sees this. Nothing more is taken.
    pub(super) fn close(&mut self) {
        self.reader = None;
    }

    /// Returns whether no packet of the stream is under way, and none can follow.
    pub(super) fn is_over(&self) -> bool {
        self.reader.is_none() && self.packets == 0
    }

    /// Returns the bytes that have arrived and that the application has not read.
    pub(super) fn unread(&mut self) -> u64 {
        self.recv_window.look();
        self.recv_window.unread()
    }
}
