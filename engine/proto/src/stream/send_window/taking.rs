//! Extents that a send window sends next.

use super::{Extent, InFlight, RELEASE_STEPS, SMALLEST_FIRST_FRAGMENT, SendWindow, Taken};
use crate::time::Time;
use crate::wire::{FIRST, FRAGMENT, LAST, MAX_SEGMENT_PAYLOAD};

impl SendWindow {
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
        let taken = loop {
            // Only whole frames are published, so a droppable frame that begins before `written` ends there too.
            let gap = if from < written { self.droppables.skip(from, now) } else { None };
            match gap {
                Some(to) => break Some(Taken::Skip { from, to: to.min(written) }),
                None => match self.next_extent(written, now, room) {
                    // An envelope may be withdrawn until here. The next look finds a gap in its place.
                    Some(extent) if !self.droppables.send(from, extent.to) => {}
                    extent => break extent.map(Taken::Data),
                },
            }
        };
        self.starved = taken.is_none() && written > self.sent;
        match &taken {
            Some(Taken::Data(extent)) => {
                self.sent = extent.to;
                self.inside = extent.flags & (FRAGMENT | LAST) == FRAGMENT;
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
}
