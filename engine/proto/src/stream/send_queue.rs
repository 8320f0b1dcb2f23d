//! Send queue: the application's end of a stream. It encodes frames straight into the ring.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use bytes::Bytes;
use zerocopy::IntoBytes;

use super::buffers::Buffer;
use super::{Counters, DropPolicy, DroppableFrame, MAX_RING_PAYLOAD, Reference, Shared, Ticket};
use crate::callback::OwnedBytes;
use crate::payload::Body;
use crate::ring::{Claim, Producer};
use crate::wire::{FRAME_HEADER_BYTES, FrameHeader, frame_bytes};

/// Error of a stream that has no room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Room for one envelope in the ring. Dropping it writes nothing.
pub struct Slot<'a> {
    claim: Claim<'a>,
    length: usize,
    counters: &'a Counters,
}

impl Slot<'_> {
    /// Payload bytes to be written, which still hold bytes of earlier envelopes.
    #[inline(always)]
    pub fn payload(&mut self) -> &mut [u8] {
        &mut self.claim[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + self.length]
    }

    /// Writes the payload. `bytes` must have the length that was claimed.
    #[inline(always)]
    pub fn fill(&mut self, bytes: &[u8]) {
        copy(bytes, self.payload());
    }

    /// Publishes the envelope. Returns `true` if the link sleeps and must be signalled.
    #[inline(always)]
    pub fn commit(self, id: i64) -> bool {
        let Slot { mut claim, length, counters } = self;
        let header = FrameHeader::new(length as u32, id);
        claim[..FRAME_HEADER_BYTES].copy_from_slice(header.as_bytes());
        if !length.is_multiple_of(8) {
            let bytes = claim.len();
            claim[bytes - 8..][length % 8..].fill(0);
        }
        let signal = claim.commit();
        // Counted after the commit, so that every counted message is in the ring.
        counters.count(1, length as u64);
        signal
    }
}

/// Writing end of a stream, held by the application.
pub struct SendQueue {
    ring: Producer,
    shared: Arc<Shared>,
    /// Counters of `shared`, with one indirection less.
    counters: Arc<Counters>,
    /// Ring position up to which a former sender has written.
    inherited: u64,
}

impl SendQueue {
    pub(super) fn new(ring: Producer, shared: Arc<Shared>) -> SendQueue {
        let counters = shared.counters.clone();
        SendQueue { ring, shared, counters, inherited: 0 }
    }

    /// Hands the queue over to another sender. [`is_unflushed`](SendQueue::is_unflushed) no longer reports envelopes
    /// written before.
    #[inline]
    pub fn hand_over(&mut self) {
        self.inherited = self.ring.written();
    }

    /// Writes one envelope. Returns `Ok(true)` if the link sleeps and must be signalled.
    ///
    /// # Errors
    /// Returns [`Full`] if there is no room now.
    #[inline]
    pub fn push(&mut self, id: i64, body: &Body<'_>) -> Result<bool, Full> {
        match body {
            Body::Owned(bytes) if bytes.len() > MAX_RING_PAYLOAD => self.push_reference(id, bytes.clone()),
            _ => self.push_with(id, body.len(), |buffer| buffer.copy_from_slice(body)),
        }
    }

    /// Writes one envelope that `policy` may drop before it arrives. Returns `Ok(true)` if the link sleeps and must be
    /// signalled.
    ///
    /// # Errors
    /// Returns [`Full`] if there is no room now.
    #[inline]
    pub fn push_droppable(&mut self, id: i64, body: &Body<'_>, policy: DropPolicy) -> Result<bool, Full> {
        self.push_with_ticket(id, body, policy, None)
    }

    /// Writes one envelope that `policy` may drop before it arrives, or that its sender withdraws with `ticket`. Returns
    /// `Ok(true)` if the link sleeps and must be signalled.
    ///
    /// # Errors
    /// Returns [`Full`] if there is no room now.
    pub fn push_with_ticket(
        &mut self,
        id: i64,
        body: &Body<'_>,
        policy: DropPolicy,
        ticket: Option<Ticket>,
    ) -> Result<bool, Full> {
        if !self.has_room(body.len()) {
            return Err(Full);
        }
        let (ring_at, payload_bytes) = (self.ring.written(), body.len() as u64);
        self.shared.droppables.push(DroppableFrame { ring_at, payload_bytes, policy, ticket });
        self.shared.pushed_beside();
        self.push(id, body)
    }

    /// Writes one envelope of `length` bytes that `write` encodes in place. Returns `Ok(true)` if the link sleeps and
    /// must be signalled.
    ///
    /// The slice given to `write` still holds bytes of earlier envelopes.
    ///
    /// # Errors
    /// Returns [`Full`] if there is no room now.
    #[inline]
    pub fn push_with(&mut self, id: i64, length: usize, write: impl FnOnce(&mut [u8])) -> Result<bool, Full> {
        if length > MAX_RING_PAYLOAD {
            let mut buffer = self.buffer(length)?;
            write(&mut buffer);
            return self.push_reference(id, buffer.into());
        }
        let mut slot = self.claim(length)?;
        write(slot.payload());
        Ok(slot.commit(id))
    }

    /// Claims room for an envelope of at most [`MAX_RING_PAYLOAD`] bytes.
    ///
    /// # Errors
    /// Returns [`Full`] if there is no room now.
    #[inline(always)]
    pub fn claim(&mut self, length: usize) -> Result<Slot<'_>, Full> {
        let Some(claim) = self.ring.claim(frame_bytes(length)) else { return Err(Full) };
        Ok(Slot { claim, length, counters: &self.counters })
    }

    /// Returns a buffer for an envelope of more than [`MAX_RING_PAYLOAD`] bytes.
    ///
    /// # Errors
    /// Returns [`Full`] if there is no room now.
    #[cold]
    #[inline]
    pub fn buffer(&mut self, length: usize) -> Result<Buffer, Full> {
        if self.has_room(length) { Ok(self.shared.buffers.take(length)) } else { Err(Full) }
    }

    /// Writes one envelope by reference, without a copy. Returns `Ok(true)` if the link sleeps and must be signalled.
    ///
    /// # Errors
    /// Returns [`Full`] if there is no room now.
    #[cold]
    pub fn push_reference(&mut self, id: i64, payload: Bytes) -> Result<bool, Full> {
        let length = payload.len();
        if !self.has_room(length) {
            return Err(Full);
        }
        let ring_after = self.ring.written() + FRAME_HEADER_BYTES as u64;
        let mut claim = self.ring.claim(FRAME_HEADER_BYTES).ok_or(Full)?;
        claim.copy_from_slice(FrameHeader::new(length as u32, id).as_bytes());
        self.shared.referenced_bytes.fetch_add(length as u64, Ordering::Relaxed);
        let payload = OwnedBytes::new(payload, self.shared.callbacks.clone());
        self.shared.references.push(Reference { ring_after, payload });
        self.shared.pushed_beside();
        let signal = claim.commit();
        // Counted after the commit, so that every counted message is in the ring.
        self.shared.counters.count(1, length as u64);
        Ok(signal)
    }

    /// Returns whether there is room for an envelope of `length` bytes now.
    #[inline]
    pub fn has_room(&mut self, length: usize) -> bool {
        if length <= MAX_RING_PAYLOAD { self.has_room_in_ring(length) } else { self.has_room_by_reference(length) }
    }

    /// Returns whether there is room for an envelope of at most [`MAX_RING_PAYLOAD`] bytes now.
    #[inline(always)]
    pub fn has_room_in_ring(&mut self, length: usize) -> bool {
        self.ring.has_room(frame_bytes(length))
    }

    fn has_room_by_reference(&mut self, length: usize) -> bool {
        let referenced = self.shared.referenced_bytes.load(Ordering::Acquire);
        (referenced == 0 || referenced + length as u64 <= self.shared.reference_bytes)
            && self.ring.has_room(FRAME_HEADER_BYTES)
    }

    /// Registers `waker` to be woken when room for `length` bytes may have come. Returns `false` if there is room
    /// already.
    pub fn wait_for_room(&mut self, length: usize, waker: &Waker) -> bool {
        self.shared.room.register(waker);
        // Wait on the ring even when only the references are full. Every acknowledgement releases ring bytes too,
        // because each reference has its header in the ring. So the send window signals this wait whenever either has
        // room.
        let _ = self.ring.wait_for_room(self.ring.capacity());
        !self.has_room(length)
    }

    /// Returns whether the peer has acknowledged all written envelopes.
    #[inline]
    pub fn is_flushed(&mut self) -> bool {
        self.ring.released() == self.ring.written() && self.shared.referenced_bytes.load(Ordering::Acquire) == 0
    }

    /// Ring bytes that this sender wrote and that are released.
    #[cfg(any(test, feature = "simulation"))]
    pub fn acknowledged(&mut self) -> u64 {
        self.ring.released().saturating_sub(self.inherited)
    }

    /// Returns whether an envelope of this sender is not acknowledged yet. `false` if the stream is closed.
    #[inline]
    pub fn is_unflushed(&mut self) -> bool {
        self.ring.written() > self.inherited && !self.is_closed() && !self.is_flushed()
    }

    /// Asks for an acknowledgement. Returns `true` if the link must be told, because it has read all earlier requests.
    #[inline]
    pub fn request_ack(&mut self) -> bool {
        self.is_unflushed() && !self.shared.ack_requested.swap(true, Ordering::AcqRel)
    }

    /// Registers `waker` to be woken when all envelopes may be acknowledged. Returns `false` if they already are.
    pub fn wait_for_flush(&mut self, waker: &Waker) -> bool {
        self.shared.room.register(waker);
        // The whole ring is free exactly when all is acknowledged: the send window then releases everything.
        let _ = self.ring.wait_for_room(self.ring.capacity());
        !self.is_flushed()
    }

    /// Returns whether the send window is gone, because the peer was removed or the server has stopped.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    /// Closes the stream: no more envelopes follow. Returns `true` if the link sleeps and must be signalled.
    #[inline]
    pub fn close(&mut self) -> bool {
        self.ring.close()
    }

    /// Counters of written messages and bytes.
    #[inline]
    pub fn counters(&self) -> Arc<Counters> {
        self.shared.counters.clone()
    }
}

/// Copies `from` to `to`, which has the same length. Lengths from 8 to 64 bytes need no call of `memcpy`.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    // Copies the first and the last `N` bytes, which overlap if there are fewer than `2 * N`.
    fn ends<const N: usize>(from: &[u8], to: &mut [u8]) -> Option<()> {
        let (first, last) = (*from.first_chunk::<N>()?, *from.last_chunk::<N>()?);
        *to.first_chunk_mut()? = first;
        *to.last_chunk_mut()? = last;
        Some(())
    }
    let copied = match from.len() {
        32..=64 => ends::<32>(from, to),
        16..32 => ends::<16>(from, to),
        8..16 => ends::<8>(from, to),
        _ => None,
    };
    if copied.is_none() {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::copy;

    #[test]
    fn every_length_is_copied_whole() {
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).collect();
            let mut copied = vec![255; bytes.len()];
            copy(&bytes, &mut copied);
            assert_eq!(copied, bytes);
        }
    }
}
