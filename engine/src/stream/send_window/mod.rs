//! The link's end of an outgoing stream: positions of what was sent and acknowledged, and retransmits after a reconnect.

mod boundaries;
mod count;
mod extent;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::boundaries::Boundaries;
use super::droppable::Droppables;
use super::{Counters, DroppableFrame, Dropped, Shared};
use crate::callback::OwnedBytes;
use crate::ring::Consumer;
use crate::time::Time;
use crate::wire::{FIRST, FRAGMENT, FRAME_HEADER_BYTES, LAST, MAX_SEGMENT_PAYLOAD, WireIncarnation, padded};

pub use extent::{Extent, Taken};

/// The send queue is given room back in this many steps of the ring.
const RELEASE_STEPS: u64 = 4;

/// A fragment never begins with less of its frame than this, so that the receiver learns the frame's length at once.
const SMALLEST_FIRST_FRAGMENT: u64 = 4096;

/// The retransmit window of an outgoing stream: the link's end.
///
/// Invariant, in stream positions: `acked <= sent <= highest_sent <= written`, and `acked <= floor <= written`.
pub struct SendWindow {
    id: u32,
    ring: Consumer,
    shared: Arc<Shared>,
    /// Envelopes by reference that are not acknowledged, in order.
    references: VecDeque<InFlight>,
    /// Envelopes that may be dropped.
    droppables: Droppables,
    boundaries: Boundaries,
    /// How much of what was pushed beside the ring was taken.
    beside: u64,
    /// Of these it is not known yet where they stand in the stream; empty between calls.
    unplaced: VecDeque<DroppableFrame>,
    /// `stream position - ring position` in front of the first of `references`.
    base: u64,
    acked: u64,
    /// What stands before this is acknowledged or given up, and its memory is given back. The peer may yet stand before
    /// it: then it is told to pass over what was there.
    floor: u64,
    /// The ring position of `acked`, and payload bytes by reference before it, that the send queue has not been given back.
    releasable: u64,
    releasable_references: u64,
    sent: u64,
    highest_sent: u64,
    /// The ring position from which on an acknowledgement is asked for again.
    asks_from: u64,
    /// Envelopes that are acknowledged, as of the last look.
    acknowledged: u64,
    /// The last look found bytes for which there was no room, or not to a frame boundary.
    starved: bool,
    /// A frame by reference was sent in part.
    inside: bool,
    /// Longest payload that the peer accepts, in bytes, if longer ones may be written.
    limit: Option<u64>,
    /// Position up to which the lengths of envelopes were compared with `limit`.
    examined: u64,
}

/// An envelope by reference, with its places in the stream.
struct InFlight {
    /// Where its payload begins; its header stands in the 16 bytes before.
    payload_at: u64,
    /// Where the next frame begins.
    end: u64,
    /// The ring position that `payload_at` and `end` both correspond to.
    ring_after: u64,
    payload: OwnedBytes,
}

impl InFlight {
    fn frame_at(&self) -> u64 {
        self.payload_at - FRAME_HEADER_BYTES as u64
    }

    fn base_before(&self) -> u64 {
        self.payload_at - self.ring_after
    }

    fn base_after(&self) -> u64 {
        self.end - self.ring_after
    }
}

impl SendWindow {
    pub(super) fn new(id: u32, ring: Consumer, shared: Arc<Shared>) -> SendWindow {
        SendWindow {
            id,
            ring,
            shared,
            references: VecDeque::new(),
            droppables: Droppables::default(),
            boundaries: Boundaries::default(),
            beside: 0,
            unplaced: VecDeque::new(),
            base: 0,
            acked: 0,
            floor: 0,
            releasable: 0,
            releasable_references: 0,
            sent: 0,
            highest_sent: 0,
            asks_from: 0,
            acknowledged: 0,
            starved: false,
            inside: false,
            limit: None,
            examined: 0,
        }
    }

    /// The stream's number on the wire.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Every byte before this is in the peer's inbox.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// The position behind the last byte that was handed to a connection.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Messages and bytes that were written.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// The position behind the last byte that the application has written.
    pub fn written(&mut self) -> u64 {
        let ring = self.ring.written();
        let beside = self.shared.beside.load(Ordering::Acquire);
        if beside != self.beside {
            self.take_beside();
        }
        if self.references.is_empty() {
            return ring + self.base;
        }
        // A reference is queued before its header is published: the last ones may not count yet.
        let published = self.references.partition_point(|reference| reference.ring_after <= ring);
        match published.checked_sub(1) {
            Some(last) => ring + self.references[last].base_after(),
            None => ring + self.base,
        }
    }

    /// Takes what stands beside the ring.
    #[cold]
    fn take_beside(&mut self) {
        // Before the references: all that stand in front of these are then seen below.
        while let Some(frame) = self.shared.droppables.pop() {
            self.beside += 1;
            self.unplaced.push_back(frame);
        }
        while let Some(reference) = self.shared.references.pop() {
            self.beside += 1;
            let base = self.references.back().map_or(self.base, InFlight::base_after);
            let payload_at = reference.ring_after + base;
            let end = payload_at + padded(reference.payload.len()) as u64;
            self.references.push_back(InFlight {
                payload_at,
                end,
                ring_after: reference.ring_after,
                payload: reference.payload,
            });
        }
        while let Some(frame) = self.unplaced.pop_front() {
            let before = self.references.partition_point(|reference| reference.ring_after <= frame.ring_at);
            let base = before.checked_sub(1).map_or(self.base, |last| self.references[last].base_after());
            self.droppables.push(frame.ring_at + base, frame.payload_bytes, frame.policy);
        }
    }

    /// Bytes that are kept because they are neither acknowledged nor given up.
    pub fn held(&mut self) -> u64 {
        self.written() - self.floor
    }

    /// Whether bytes wait that have not been sent, whether or not there is credit for them.
    pub fn has_unsent(&mut self) -> bool {
        self.written() > self.sent
    }

    /// Returns whether a frame was sent in part. It may have been given up since: then a gap ends it.
    pub fn is_inside_frame(&self) -> bool {
        self.inside || self.droppables.is_inside(self.sent)
    }

    fn look_whether_inside(&mut self) {
        let reference = self.references.get(self.references_before(self.sent));
        self.inside = reference.is_some_and(|reference| reference.frame_at() < self.sent);
    }

    /// Whether what waits has to wait for credit.
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// Whether what was taken last is to ask for an acknowledgement: more than half of the ring waits for one.
    ///
    /// Once for each step in which the send queue is given room back: what is acknowledged in between would wait for the
    /// step's end.
    pub fn asks(&mut self) -> bool {
        let capacity = self.ring.capacity() as u64;
        let sent = self.ring_position(self.sent.max(self.floor));
        let asks = sent - self.releasable > capacity / 2 && sent >= self.asks_from;
        if asks {
            self.asks_from = sent + capacity / RELEASE_STEPS;
        }
        asks
    }

    /// The next stretch to send, if there is anything before `written` and there is `room` for its bytes; it counts as
    /// sent.
    ///
    /// The rest of a frame of which a part was sent needs no room, nor does a gap.
    ///
    /// Who takes several asks what is [`written`](SendWindow::written) once, before the first. Asking again for each
    /// would chase a sender that goes on: each segment would be what was written during the one before, shorter and
    /// shorter, and each look would take the sender's cache line away from it.
    pub fn take(&mut self, written: u64, now: Time, room: u64) -> Option<Taken> {
        let from = self.sent;
        if self.limit.is_some() {
            self.examine(written);
        }
        // What is published is whole frames, so a droppable one that begins before `written` ends there too.
        let gap = if from < written { self.droppables.skip(from, now) } else { None };
        let taken = match gap {
            Some(to) => Some(Taken::Skip { from, to: to.min(written) }),
            None => self.next_extent(written, now, room).map(Taken::Data),
        };
        self.starved = taken.is_none() && written > self.sent;
        match &taken {
            Some(Taken::Data(extent)) => {
                self.sent = extent.to;
                self.inside = extent.flags & (FRAGMENT | LAST) == FRAGMENT;
                self.droppables.sent(from, extent.to);
            }
            Some(Taken::Skip { to, .. }) => (self.sent, self.inside) = (*to, false),
            None => {}
        }
        if self.sent > self.highest_sent {
            self.highest_sent = self.sent;
            if !self.inside {
                self.boundaries.sent(self.sent);
            }
        }
        debug_assert!(self.acked <= self.sent && self.sent <= self.highest_sent && self.highest_sent <= written);
        taken
    }

    fn next_extent(&mut self, written: u64, now: Time, room: u64) -> Option<Extent> {
        let most = written.min(self.sent + MAX_SEGMENT_PAYLOAD as u64);
        if self.inside {
            return self.take_reference(self.references_before(self.sent), most);
        }
        // Frames and their parts are multiples of 8.
        let limit = most.min(self.sent.saturating_add(room & !7));
        if self.sent >= limit {
            return None;
        }
        let gap = self.droppables.next_gap(self.sent, limit, now);
        let limit = gap.unwrap_or(limit);
        let index = self.references_before(self.sent);
        let extent = match self.references.get(index) {
            Some(reference) if reference.frame_at() == self.sent => self.take_reference(index, limit)?,
            next => {
                let base = next.map_or_else(|| self.base_at_end(), InFlight::base_before);
                let to = match next.map(InFlight::frame_at).into_iter().chain(gap).min() {
                    // Where an envelope by reference begins, or a gap, is a boundary, which the ring's marks may not
                    // tell.
                    Some(boundary) if boundary <= limit => boundary,
                    _ => self.ring.cut(self.sent - base, limit - base) + base,
                };
                if to == self.sent {
                    return None;
                }
                Extent { from: self.sent, to, flags: 0, reference: None }
            }
        };
        Some(extent)
    }

    /// Number of envelopes by reference that end at `position` or before.
    #[inline]
    fn references_before(&self, position: u64) -> usize {
        // Mostly there are none.
        if self.references.is_empty() {
            return 0;
        }
        self.references.partition_point(|reference| reference.end <= position)
    }

    fn take_reference(&self, index: usize, limit: u64) -> Option<Extent> {
        let reference = self.references.get(index)?;
        let (begin, end) = (reference.frame_at(), reference.end);
        let to = end.min(limit);
        let from = self.sent;
        let is_first_part = from == begin && to < end;
        if is_first_part && to < begin + SMALLEST_FIRST_FRAGMENT {
            return None;
        }
        let mut flags = 0;
        if from != begin || to != end {
            flags |= FRAGMENT;
            flags |= if from == begin { FIRST } else { 0 };
            flags |= if to == end { LAST } else { 0 };
        }
        Some(Extent { from, to, flags, reference: Some(index) })
    }

    /// The peer has everything before `position` in its inbox.
    ///
    /// # Errors
    /// When the peer acknowledges what was never sent, or the middle of an envelope.
    pub fn acknowledge(&mut self, position: u64) -> Result<(), AckError> {
        if position <= self.acked {
            return Ok(());
        }
        if position > self.sent || !self.is_acknowledged_boundary(position) {
            return Err(AckError { position, sent: self.sent });
        }
        self.droppables.acknowledge(position);
        self.acked = position;
        if position <= self.floor {
            return Ok(());
        }
        self.raise_floor(position);
        let steps = self.releasable - self.ring.released() >= self.ring.capacity() as u64 / RELEASE_STEPS
            || self.releasable_references >= self.shared.reference_bytes / RELEASE_STEPS;
        if steps || self.acked == self.sent {
            self.release();
        }
        Ok(())
    }

    /// While there is no connection: gives up what stands first and has expired, and gives its memory back.
    pub fn give_up_stale(&mut self, now: Time) {
        let written = self.written();
        let end = self.droppables.give_up(self.floor, written, now);
        if end > self.floor {
            self.raise_floor(end);
            self.release();
        }
    }

    /// Nothing before `position`, which is a frame's, is to be read any more.
    fn raise_floor(&mut self, position: u64) {
        self.releasable = self.ring_position(position);
        while let Some(reference) = self.references.front().filter(|reference| reference.end <= position) {
            self.base = reference.base_after();
            self.releasable_references += reference.payload.len() as u64;
            self.references.pop_front();
        }
        self.floor = position;
    }

    /// Gives the send queue the room of what is acknowledged, and wakes the sender if it waits for room.
    ///
    /// In large steps: a sender that is faster than the connection would otherwise be woken for every acknowledgement.
    /// What is held back is given when nothing more is under way, and at every new connection.
    fn release(&mut self) {
        // Before the ring's release: a sender that waits for room looks at both once the release wakes it.
        self.shared.referenced_bytes.fetch_sub(std::mem::take(&mut self.releasable_references), Ordering::Release);
        if self.ring.release(self.releasable) {
            self.shared.callbacks.wake(&self.shared.room);
        }
    }

    /// Returns whether a receiver of this stream can stand at `position`: behind a whole frame, or behind a part of one
    /// that is sent in parts.
    pub fn can_resume(&self, position: u64) -> bool {
        let inside = self.references.get(self.references_before(position));
        let is_inside = inside.is_some_and(|reference| position > reference.frame_at());
        (self.acked..=self.highest_sent).contains(&position)
            && if is_inside { position.is_multiple_of(8) } else { self.is_boundary(position) }
    }

    /// Goes on at `position` on a new connection, where that [can be](SendWindow::can_resume).
    pub fn resume(&mut self, position: u64) {
        debug_assert!(self.can_resume(position));
        self.sent = position;
        self.look_whether_inside();
        self.asks_from = 0;
        self.droppables.reconnect();
        self.release();
    }

    /// A new connection to a peer that does not know this stream: begin at what is not acknowledged.
    pub fn restart(&mut self) {
        self.sent = self.acked;
        self.inside = false;
        self.asks_from = 0;
        self.droppables.reconnect();
        self.release();
    }

    /// What was sent before this connection went to an incarnation of the peer that is gone: no other one has received
    /// it.
    pub fn forget_sent(&mut self) {
        self.highest_sent = self.sent;
        self.boundaries.clear();
    }

    /// Sets the longest payload that the peer accepts from this connection on, in bytes. `None` if it accepts all that
    /// is written. A longer envelope is dropped when its turn comes.
    pub fn set_limit(&mut self, limit: Option<u64>) {
        if self.limit != limit {
            self.limit = limit;
            self.examined = self.floor;
            self.droppables.set_limit(limit.unwrap_or(u64::MAX));
        }
    }

    /// Sets the incarnation of the peer from this connection on. An envelope for another one is dropped when its turn
    /// comes.
    pub fn set_incarnation(&mut self, incarnation: WireIncarnation) {
        self.droppables.set_incarnation(incarnation);
    }

    /// Incarnation of the peer that the envelope at a position is for, if it is for one alone.
    pub(crate) fn only_for(&self, position: u64) -> Option<WireIncarnation> {
        self.droppables.only_for(position)
    }

    /// Gives back some memory of long envelopes that the sender has not used for long. Returns whether there is more.
    pub(crate) fn trim(&self) -> bool {
        self.shared.buffers.trim()
    }

    /// Gives back all of it.
    pub(crate) fn give_back_spare(&self) {
        self.shared.buffers.clear();
    }

    /// When what waits to be sent next expires, if it does.
    pub fn next_expiry(&self) -> Option<Time> {
        self.droppables.next_expiry(self.sent)
    }

    /// The envelopes that were dropped so far.
    pub fn dropped(&self) -> Dropped {
        self.droppables.dropped()
    }

    /// Whether everything that was written is acknowledged.
    pub fn is_drained(&mut self) -> bool {
        self.written() == self.acked
    }

    /// Takes note that the sender has asked for an acknowledgement, if it has: it may ask again. Everything that it had
    /// written is seen from now on.
    pub fn take_ack_request(&self) -> bool {
        self.shared.ack_requested.swap(false, Ordering::AcqRel)
    }

    /// Whether the outbox is gone; what it had written stays to be sent.
    pub fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    /// Sleeps on this stream: the next write signals. `false`: there is something to send already, stay awake.
    pub fn wait(&mut self) -> bool {
        let seen = self.ring.written();
        self.written() <= self.sent && self.ring.wait(seen)
    }

    /// Promises to look again without being signalled, so that writes need no fence.
    pub fn poll(&mut self) {
        self.ring.poll();
    }

    /// Takes back a [`wait`](SendWindow::wait) or [`poll`](SendWindow::poll).
    pub fn wake(&mut self) {
        self.ring.wake();
    }

    fn base_at_end(&self) -> u64 {
        self.references.back().map_or(self.base, InFlight::base_after)
    }

    fn ring_position(&self, position: u64) -> u64 {
        match self.references.get(self.references_before(position)) {
            Some(reference) if position >= reference.payload_at => reference.ring_after,
            Some(reference) => position - reference.base_before(),
            None => position - self.base_at_end(),
        }
    }
}

impl Drop for SendWindow {
    /// Closes the send queue, and wakes the sender if it waits for room.
    fn drop(&mut self) {
        if self.ring.close() {
            self.shared.callbacks.wake(&self.shared.room);
        }
    }
}

/// An acknowledgement that cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckError {
    /// What was acknowledged.
    pub position: u64,
    /// What had been sent.
    pub sent: u64,
}
