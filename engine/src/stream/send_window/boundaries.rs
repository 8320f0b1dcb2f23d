//! Where an acknowledgement of a stream can stand: behind a whole frame.

use std::collections::VecDeque;

use super::SendWindow;

/// Ends of segments that were sent and are not acknowledged, in ascending order: that is where peers acknowledge.
///
/// With too many of them the last ones are not kept. So an end that is missing proves nothing: whether it is a frame's
/// is then seen by a walk from the one before it.
#[derive(Debug)]
pub(super) struct Boundaries {
    ends: VecDeque<u64>,
}

/// The most ends of segments that are kept for a stream.
const MOST: usize = 1024;

/// The ends for which there is room from the beginning on.
const FEW: usize = 32;

impl Default for Boundaries {
    fn default() -> Boundaries {
        Boundaries { ends: VecDeque::with_capacity(FEW) }
    }
}

impl Boundaries {
    /// A segment that ends with a frame was sent, further on in the stream than any before.
    #[inline]
    pub(super) fn sent(&mut self, end: u64) {
        if self.ends.len() < MOST {
            self.ends.push_back(end);
        } else if let Some(last) = self.ends.back_mut() {
            *last = end;
        }
    }

    /// Forgets the ends that are not behind `position`. Returns the last of them.
    #[inline]
    fn take_until(&mut self, position: u64) -> Option<u64> {
        let mut known = None;
        while self.ends.front().is_some_and(|end| *end <= position) {
            known = self.ends.pop_front();
        }
        known
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.ends.clear();
    }
}

impl SendWindow {
    /// Returns whether a frame ends at `position`, up to which the peer wants everything to be acknowledged.
    #[inline]
    pub(super) fn is_acknowledged_boundary(&mut self, position: u64) -> bool {
        let known = self.boundaries.take_until(position);
        known == Some(position) || self.is_boundary_behind(known.unwrap_or(0), position)
    }

    /// Returns whether a frame ends at `position`.
    pub(super) fn is_boundary(&self, position: u64) -> bool {
        let behind = self.boundaries.ends.partition_point(|end| *end <= position);
        let known = behind.checked_sub(1).map_or(0, |last| self.boundaries.ends[last]);
        known == position || self.is_boundary_behind(known, position)
    }

    /// Returns whether a frame ends at `position`, by a walk from `known`, where one does.
    #[cold]
    fn is_boundary_behind(&self, known: u64, position: u64) -> bool {
        // What was given up has no bytes any more, and is not read again.
        let from = known.max(self.floor);
        position <= from || self.walk(from, position, |_, _| {}) == position
    }
}
