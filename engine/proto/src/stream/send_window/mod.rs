//! Send window: the link's end of an outgoing stream. It keeps the sent and acknowledged positions, and retransmits
//! after a reconnect.

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

/// Number of steps in which the room of one ring is given back to the send queue.
const RELEASE_STEPS: u64 = 4;

/// Shortest first fragment of a frame, in bytes. It holds the frame's header, so the receiver learns the length at
/// once.
const SMALLEST_FIRST_FRAGMENT: u64 = 4096;

/// Retransmit window of an outgoing stream, held by the link.
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
    /// Number of entries taken from the queues beside the ring.
    beside: u64,
    /// Droppable envelopes whose stream positions are not computed yet. Empty between calls.
    unplaced: VecDeque<DroppableFrame>,
    /// Difference `stream position - ring position` in front of the first of `references`.
    base: u64,
    acked: u64,
    /// Position before which all bytes are acknowledged or given up, and are not read any more. The peer may expect an
    /// earlier position; a Skip then tells it of the gap.
    floor: u64,
    /// Room due to the send queue: the ring position of `floor`, and payload bytes by reference not given back yet.
    releasable: u64,
    releasable_references: u64,
    sent: u64,
    highest_sent: u64,
    /// Ring position from which an acknowledgement is requested again.
    asks_from: u64,
    /// Acknowledged envelopes, as of the last count.
    acknowledged: u64,
    /// Starved flag: the last [`take`](SendWindow::take) found bytes, but no room for them or for the first whole
    /// frame.
    starved: bool,
    /// Fragment flag: a part of a frame by reference was sent, and its rest is next.
    inside: bool,
    /// Longest payload that the peer accepts, in bytes. `None` if no longer ones can be written.
    limit: Option<u64>,
    /// Position up to which the lengths of envelopes were compared with `limit`.
    examined: u64,
}

/// Envelope by reference, with its stream positions.
struct InFlight {
    /// Stream position of the payload. The frame's header takes the 16 bytes before it.
    payload_at: u64,
    /// Stream position of the next frame.
    end: u64,
    /// Ring position that corresponds to both `payload_at` and `end`.
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

    /// Number of the stream on the wire.
    #[inline]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Position before which every byte is in the peer's inbox.
    #[inline]
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Position behind the last byte that was handed to the connection.
    #[inline]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Counters of written messages and bytes.
    #[inline]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Reads and returns the position behind the last byte that the application has written.
    pub fn written(&mut self) -> u64 {
        let ring = self.ring.written();
        let beside = self.shared.beside.load(Ordering::Acquire);
        if beside != self.beside {
            self.take_beside();
        }
        if self.references.is_empty() {
            return ring + self.base;
        }
        // A reference is queued before its header is published, so the last ones may not count yet.
        let published = self.references.partition_point(|reference| reference.ring_after <= ring);
        match published.checked_sub(1) {
            Some(last) => ring + self.references[last].base_after(),
            None => ring + self.base,
        }
    }

    /// Takes the entries in the queues beside the ring.
    #[cold]
    fn take_beside(&mut self) {
        // Taken before the references: then the loop below sees every reference in front of a droppable envelope.
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
    #[inline]
    pub fn held(&mut self) -> u64 {
        self.written() - self.floor
    }

    /// Returns whether there are unsent bytes, with or without credit for them.
    #[inline]
    pub fn has_unsent(&mut self) -> bool {
        self.written() > self.sent
    }

    /// Returns whether a frame was sent in part. If it was given up since, a gap ends it.
    #[inline]
    pub fn is_inside_frame(&self) -> bool {
        self.inside || self.droppables.is_inside(self.sent)
    }

    fn look_whether_inside(&mut self) {
        let reference = self.references.get(self.references_before(self.sent));
        self.inside = reference.is_some_and(|reference| reference.frame_at() < self.sent);
    }

    /// Returns whether unsent bytes wait for credit.
    #[inline]
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// Returns whether the last taken segment is to request an acknowledgement ([`ACK_NOW`](crate::wire::ACK_NOW)):
    /// more than half of the ring is unacknowledged.
    ///
    /// This happens once for each step in which room is given back to the send queue. Acknowledgements within a step
    /// would have no effect before its end.
    pub fn asks(&mut self) -> bool {
        let capacity = self.ring.capacity() as u64;
        let sent = self.ring_position(self.sent.max(self.floor));
        let asks = sent - self.releasable > capacity / 2 && sent >= self.asks_from;
        if asks {
            self.asks_from = sent + capacity / RELEASE_STEPS;
        }
        asks
    }

    /// Takes the next extent or gap before position `written` and counts it as sent. Returns `None` if there is none,
    /// or if `room` bytes of credit do not suffice for it.
    ///
    /// The rest of a partly sent frame needs no room, and neither does a gap (WIRE.md, section Streams).
    ///
    /// A caller that takes several extents reads [`written`](SendWindow::written) once, before the first. A new read
    /// for each would chase an active sender: each segment would hold only the bytes written during the one before and
    /// get shorter, and each read would take the sender's cache line away.
    pub fn take(&mut self, written: u64, now: Time, room: u64) -> Option<Taken> {
        let from = self.sent;
        if self.limit.is_some() {
            self.examine(written);
        }
        // Only whole frames are published, so a droppable frame that begins before `written` ends there too.
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
        self.check_invariant(written);
        taken
    }

    fn next_extent(&mut self, written: u64, now: Time, room: u64) -> Option<Extent> {
        let most = written.min(self.sent + MAX_SEGMENT_PAYLOAD as u64);
        if self.inside {
            return self.take_reference(self.references_before(self.sent), most);
        }
        // Frames and fragments are multiples of 8 bytes.
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
                    // The beginning of an envelope by reference or of a gap is a boundary that the ring's marks may not
                    // show.
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

    /// Number of envelopes by reference that end at or before `position`.
    #[inline]
    fn references_before(&self, position: u64) -> usize {
        // The common case.
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

    /// Records that the peer has everything before `position` in its inbox (WIRE.md, section Streams). A position that
    /// is not above [`acked`](SendWindow::acked) changes nothing.
    ///
    /// # Errors
    /// Returns an error, and changes nothing, when `position` is above [`sent`](SendWindow::sent) or inside a frame.
    /// The peer has violated the protocol.
    pub fn acknowledge(&mut self, position: u64) -> Result<(), AckError> {
        if position <= self.acked {
            return Ok(());
        }
        if position > self.sent || !self.is_acknowledged_boundary(position) {
            return Err(AckError { position, sent: self.sent });
        }
        self.droppables.acknowledge(position);
        self.acked = position;
        if position > self.floor {
            self.raise_floor(position);
            let steps = self.releasable - self.ring.released() >= self.ring.capacity() as u64 / RELEASE_STEPS
                || self.releasable_references >= self.shared.reference_bytes / RELEASE_STEPS;
            if steps || self.acked == self.sent {
                self.release();
            }
        }
        self.check_invariant(self.furthest());
        Ok(())
    }

    /// Gives up the expired and lost envelopes at the front of the stream and frees their memory. Called only without a
    /// connection.
    pub fn give_up_stale(&mut self, now: Time) {
        let written = self.written();
        let end = self.droppables.give_up(self.floor, written, now);
        if end > self.floor {
            self.raise_floor(end);
            self.release();
        }
        self.check_invariant(written);
    }

    /// Raises `floor` to `position`, the beginning of a frame. Bytes before it are not read any more.
    fn raise_floor(&mut self, position: u64) {
        self.releasable = self.ring_position(position);
        while let Some(reference) = self.references.front().filter(|reference| reference.end <= position) {
            self.base = reference.base_after();
            self.releasable_references += reference.payload.len() as u64;
            self.references.pop_front();
        }
        self.floor = position;
    }

    /// Gives the room of acknowledged and given-up bytes back to the send queue, and wakes a sender that waits for
    /// room.
    ///
    /// Room is given back in large steps, because a sender that is faster than the connection would otherwise be woken
    /// for every acknowledgement. The remainder is given back when everything sent is acknowledged, and at every new
    /// connection.
    fn release(&mut self) {
        // Subtracted before the ring's release, because a sender that is woken by the release reads both.
        self.shared.referenced_bytes.fetch_sub(std::mem::take(&mut self.releasable_references), Ordering::Release);
        if self.ring.release(self.releasable) {
            self.shared.callbacks.wake(&self.shared.room);
        }
    }

    /// Returns whether a receiver of this stream may expect `position` next: behind a whole frame, or behind a fragment
    /// (WIRE.md, section Resuming).
    pub fn can_resume(&self, position: u64) -> bool {
        let inside = self.references.get(self.references_before(position));
        let inside = inside.filter(|reference| position > reference.frame_at());
        (self.acked..=self.highest_sent).contains(&position)
            && match inside {
                // The first fragment of a frame holds its header, and more.
                Some(reference) => position > reference.payload_at && position.is_multiple_of(8),
                None => self.is_boundary(position),
            }
    }

    /// Resumes at `position` on a new connection. [`can_resume`](SendWindow::can_resume) must hold for `position`.
    pub fn resume(&mut self, position: u64) {
        debug_assert!(self.can_resume(position));
        self.sent = position;
        self.look_whether_inside();
        self.asks_from = 0;
        self.droppables.reconnect();
        self.release();
        self.check_invariant(self.furthest());
    }

    /// Restarts at the first unacknowledged position, on a new connection to a peer that does not know this stream.
    pub fn restart(&mut self) {
        self.sent = self.acked;
        self.inside = false;
        self.asks_from = 0;
        self.droppables.reconnect();
        self.release();
        self.check_invariant(self.furthest());
    }

    /// Forgets bytes sent on earlier connections: they went to an incarnation of the peer that is gone, and the present
    /// one has received none of them.
    pub fn forget_sent(&mut self) {
        self.highest_sent = self.sent;
        self.boundaries.clear();
        self.check_invariant(self.furthest());
    }

    /// Sets the longest payload that the peer accepts from this connection on, in bytes. `None` if the peer accepts
    /// every envelope that can be written. A longer envelope is dropped at its turn.
    pub fn set_limit(&mut self, limit: Option<u64>) {
        if self.limit != limit {
            self.limit = limit;
            self.examined = self.floor;
            self.droppables.set_limit(limit.unwrap_or(u64::MAX));
        }
    }

    /// Sets the incarnation of the peer from this connection on. An envelope for another incarnation is dropped at its
    /// turn.
    #[inline]
    pub fn set_incarnation(&mut self, incarnation: WireIncarnation) {
        self.droppables.set_incarnation(incarnation);
    }

    /// Returns the only incarnation of the peer that the envelope at `position` is for, or `None` if it is for any.
    #[inline]
    pub fn only_for(&self, position: u64) -> Option<WireIncarnation> {
        self.droppables.only_for(position)
    }

    /// Frees some memory of long envelopes that the sender has not used for long. Returns whether there is more.
    #[inline]
    pub fn trim(&self) -> bool {
        self.shared.buffers.trim()
    }

    /// Frees all spare memory of long envelopes.
    #[inline]
    pub fn give_back_spare(&self) {
        self.shared.buffers.clear();
    }

    /// Expiry of the next envelope to send, if it has one.
    #[inline]
    pub fn next_expiry(&self) -> Option<Time> {
        self.droppables.next_expiry(self.sent)
    }

    /// Number of envelopes dropped so far, by reason.
    #[inline]
    pub fn dropped(&self) -> Dropped {
        self.droppables.dropped()
    }

    /// Returns whether all written bytes are acknowledged.
    #[inline]
    pub fn is_drained(&mut self) -> bool {
        self.written() == self.acked
    }

    /// Takes the sender's request for an acknowledgement. Returns whether there was one; the sender may then request
    /// again. All bytes that the sender wrote before the request are visible from now on.
    #[inline]
    pub fn take_ack_request(&self) -> bool {
        self.shared.ack_requested.swap(false, Ordering::AcqRel)
    }

    /// Returns whether the outbox is gone. Bytes that it has written are still sent.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    /// Announces that the link is about to sleep. Returns `true` if it may, and the next write signals; `false` if
    /// there are unsent bytes or the stream has just closed.
    pub fn wait(&mut self) -> bool {
        let seen = self.ring.written();
        self.written() <= self.sent && self.ring.wait(seen)
    }

    /// Promises to read [`written`](SendWindow::written) again unasked, so that writes need no fence.
    #[inline]
    pub fn poll(&mut self) {
        self.ring.poll();
    }

    /// Takes back a [`wait`](SendWindow::wait), so that no signal is sent. A stream that polls goes on polling.
    #[inline]
    pub fn wake(&mut self) {
        self.ring.wake();
    }

    /// Asserts the invariant of the cursors. `written` is the position as last read, or
    /// [`furthest`](SendWindow::furthest) where it was not read: to read it takes entries from the queues beside the
    /// ring, which a check must not do.
    #[inline]
    fn check_invariant(&self, written: u64) {
        let SendWindow { acked, floor, sent, highest_sent, .. } = *self;
        debug_assert!(
            acked <= sent && sent <= highest_sent && highest_sent <= written,
            "{acked} {sent} {highest_sent}"
        );
        debug_assert!(acked <= floor && floor <= written, "acked {acked}, floor {floor}, written {written}");
        debug_assert!(self.ring.released() <= self.releasable);
    }

    /// Position before which everything is written. Only [`take`](SendWindow::take) and
    /// [`give_up_stale`](SendWindow::give_up_stale) raise it, and both compare it with the written position.
    #[inline]
    fn furthest(&self) -> u64 {
        self.highest_sent.max(self.floor)
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
    /// Closes the send queue, and wakes a sender that waits for room.
    fn drop(&mut self) {
        if self.ring.close() {
            self.shared.callbacks.wake(&self.shared.room);
        }
    }
}

/// Acknowledgement that violates the protocol: beyond the sent bytes, or inside a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckError {
    /// Acknowledged position.
    pub position: u64,
    /// Position behind the last sent byte.
    pub sent: u64,
}
