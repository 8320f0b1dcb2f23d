//! Walks over the envelopes of a stream: to count the unacknowledged ones, and to find those longer than the peer
//! accepts.

use super::SendWindow;
use crate::wire::{FRAME_HEADER_BYTES, frame_bytes};

impl SendWindow {
    /// Returns a lower bound on the number of acknowledged envelopes. Walks the unacknowledged ones.
    pub fn acknowledged(&mut self) -> u64 {
        // Read before the walk: every counted envelope is in the ring, so the walk finds those that are not
        // acknowledged.
        let accepted = self.shared.counters.messages();
        let rest = self.unacknowledged().0 + self.dropped().total();
        self.acknowledged = self.acknowledged.max(accepted.saturating_sub(rest));
        self.acknowledged
    }

    /// Returns number and payload bytes of the envelopes that are neither acknowledged nor dropped. Walks them.
    pub fn unacknowledged(&mut self) -> (u64, u64) {
        let written = self.written();
        let (mut messages, mut bytes) = self.droppables.undecided();
        self.walk(self.floor, written, |_, length| {
            messages += 1;
            bytes += length;
        });
        let dropped = self.droppables.dropped_of_unacknowledged();
        (messages - dropped.0.min(messages), bytes - dropped.1.min(bytes))
    }

    /// Finds envelopes before position `written` that are longer than the peer accepts, and marks them to be dropped.
    #[cold]
    pub(super) fn examine(&mut self, written: u64) {
        let Some(limit) = self.limit else { return };
        let mut longer = Vec::new();
        let from = self.examined.max(self.floor);
        self.examined = self.walk(from, written, |position, length| {
            if length > limit {
                longer.push((position, length));
            }
        });
        longer.into_iter().for_each(|(position, length)| self.droppables.refuse(position, length));
    }

    /// Calls `each` with the position and the payload bytes of each envelope between `from` and `to`. `from` must be
    /// the beginning of a frame. Returns the position where the walk ended.
    pub(super) fn walk(&self, from: u64, to: u64, mut each: impl FnMut(u64, u64)) -> u64 {
        let mut position = from;
        let mut index = self.references.partition_point(|reference| reference.frame_at() < from);
        while position < to {
            if let Some(reference) = self.references.get(index).filter(|reference| reference.frame_at() == position) {
                each(position, reference.payload.len() as u64);
                position = reference.end;
                index += 1;
                continue;
            }
            if position + FRAME_HEADER_BYTES as u64 > to {
                // `to` lies inside a frame.
                break;
            }
            let at = self.ring_position(position);
            let length =
                self.ring.slices(at, at + 8)[0].first_chunk::<4>().map_or(0, |field| u32::from_le_bytes(*field));
            each(position, length.into());
            position += frame_bytes(length as usize) as u64;
        }
        position
    }
}
