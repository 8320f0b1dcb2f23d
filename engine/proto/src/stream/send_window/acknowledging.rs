//! Acknowledgements of a send window, and its state at a new connection (WIRE.md, sections Streams and Resuming).

use std::sync::atomic::Ordering;

use super::{AckError, RELEASE_STEPS, SendWindow};
use crate::time::Time;

impl SendWindow {
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

    /// Returns whether a receiver of this stream may expect `position` next: after a whole frame, or after a fragment
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
}
