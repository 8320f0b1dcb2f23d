//! Frame boundaries: the only positions that an acknowledgement may name (WIRE.md, section Streams).

use std::collections::VecDeque;

use super::SendWindow;

/// Ends of sent segments that are not acknowledged, in ascending order. Peers acknowledge at these positions.
///
/// Beyond [`MOST`] ends, each new one replaces the one before. So a missing end proves nothing: a walk over the frames
/// from the nearest lower end then decides.
#[derive(Debug)]
pub(super) struct Boundaries {
    ends: VecDeque<u64>,
}

/// Largest number of segment ends that are kept for a stream.
const MOST: usize = 1024;

/// Initial capacity, in segment ends.
const FEW: usize = 32;

impl Default for Boundaries {
    fn default() -> Boundaries {
        Boundaries { ends: VecDeque::with_capacity(FEW) }
    }
}

impl Boundaries {
    /// Records the end of a sent segment that ends with a frame. `end` is higher than all before it.
    #[inline]
    pub(super) fn sent(&mut self, end: u64) {
        if self.ends.len() < MOST {
            self.ends.push_back(end);
        } else if let Some(last) = self.ends.back_mut() {
            *last = end;
        }
    }

    /// Forgets the ends up to `position`. Returns the last of them.
    #[inline]
    fn take_until(&mut self, position: u64) -> Option<u64> {
        let mut known = None;
        while self.ends.front().is_some_and(|end| *end <= position) {
            known = self.ends.pop_front();
        }
        known
    }

    /// Forgets all ends.
    pub(super) fn clear(&mut self) {
        self.ends.clear();
    }
}

impl SendWindow {
    /// Returns whether a frame ends at `position`, which the peer acknowledges. Forgets the segment ends up to it.
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

    /// Returns whether a frame ends at `position`, by a walk from `known`, where a frame ends.
    #[cold]
    fn is_boundary_behind(&self, known: u64, position: u64) -> bool {
        // Bytes before `floor` are released and must not be read.
        let from = known.max(self.floor);
        position <= from || self.walk(from, position, |_, _| {}) == position
    }
}
