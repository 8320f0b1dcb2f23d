//! How many envelopes of a stream have arrived.

use super::StreamReader;
use crate::wire::{FRAME_HEADER_BYTES, frame_bytes};

impl StreamReader {
    /// How many envelopes are acknowledged, at least. Walks those that are not.
    pub fn acknowledged(&mut self) -> u64 {
        // Read first: what is counted stands in the ring, and so is found by the walk if it is not acknowledged.
        let accepted = self.shared.counters.messages();
        let rest = self.unacknowledged().0 + self.dropped().total();
        self.acknowledged = self.acknowledged.max(accepted.saturating_sub(rest));
        self.acknowledged
    }

    /// How many envelopes are neither acknowledged nor dropped, and their payload bytes. Walks them.
    pub fn unacknowledged(&mut self) -> (u64, u64) {
        let written = self.written();
        let (mut position, (mut messages, mut bytes)) = (self.floor, self.perishables.undecided());
        let mut references = self.references.iter();
        let mut next = references.next();
        while position < written {
            messages += 1;
            if let Some(reference) = next.filter(|reference| reference.frame_at() == position) {
                bytes += reference.payload.len() as u64;
                position = reference.end;
                next = references.next();
                continue;
            }
            let at = self.ring_position(position);
            // A peer that acknowledged the middle of a frame has left no frame to count from.
            if at + FRAME_HEADER_BYTES as u64 > self.ring.written() {
                break;
            }
            let length =
                self.ring.slices(at, at + 8)[0].first_chunk::<4>().map_or(0, |field| u32::from_le_bytes(*field));
            bytes += u64::from(length);
            position += frame_bytes(length as usize) as u64;
        }
        let dropped = self.perishables.dropped_of_unacknowledged();
        (messages - dropped.0.min(messages), bytes - dropped.1.min(bytes))
    }
}
