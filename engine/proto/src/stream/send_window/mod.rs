//! Send window: the link's end of an outgoing stream. It keeps the sent and acknowledged positions, and retransmits
//! after a reconnect.

mod acknowledging;
mod boundaries;
mod count;
mod extent;
mod taking;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::boundaries::Boundaries;
use super::droppable::Droppables;
use super::{Counters, DroppableFrame, Dropped, Shared};
use crate::callback::OwnedBytes;
use crate::ring::Consumer;
use crate::time::Time;
use crate::wire::{FRAME_HEADER_BYTES, WireIncarnation, padded};

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

    /// Position after the last byte that was handed to the connection.
    #[inline]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Counters of written messages and bytes.
    #[inline]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Reads and returns the position after the last byte that the application has written.
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
            self.droppables.push(frame.ring_at + base, frame.payload_bytes, frame.policy, frame.ticket);
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

    /// Number of envelopes by reference that end at or before `position`.
    #[inline]
    fn references_before(&self, position: u64) -> usize {
        // The common case.
        if self.references.is_empty() {
            return 0;
        }
        self.references.partition_point(|reference| reference.end <= position)
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
    /// Position after the last sent byte.
    pub sent: u64,
}
