//! Where an acknowledgement of a stream can stand: behind a whole frame.

use std::collections::VecDeque;

use super::StreamReader;

/// Ends of segments that were sent and are not acknowledged, in ascending order: that is where peers acknowledge.
///
/// With too many of them the last ones are not kept. So an end that is missing proves nothing: whether it is a frame's is
/// then seen by a walk from the one before it.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    ends: VecDeque<u64>,
}

/// The most ends of segments that are kept for a stream.
const MOST: usize = 1024;

impl Boundaries {
    /// A segment that ends with a frame was sent.
    #[inline]
    pub(super) fn sent(&mut self, end: u64) {
        let has_room = self.ends.len() < MOST;
        match self.ends.back_mut() {
            // It was sent before, on an earlier connection.
            Some(last) if *last >= end => {}
            Some(last) if !has_room => *last = end,
            _ => self.ends.push_back(end),
        }
    }

    /// Everything before `position` is acknowledged.
    #[inline]
    pub(super) fn acknowledge(&mut self, position: u64) {
        while self.ends.front().is_some_and(|end| *end <= position) {
            self.ends.pop_front();
        }
    }

    /// The last end of a segment that is not behind `position`.
    #[inline]
    fn before(&self, position: u64) -> Option<u64> {
        let behind = self.ends.partition_point(|end| *end <= position);
        self.ends.get(behind.checked_sub(1)?).copied()
    }
}

impl StreamReader {
    /// Returns whether a frame ends at `position`, which is not behind what was sent once.
    #[inline]
    pub(super) fn is_boundary(&self, position: u64) -> bool {
        let known = self.boundaries.before(position);
        known == Some(position) || self.is_boundary_behind(known.unwrap_or(0), position)
    }

    /// Returns whether a frame ends at `position`, by a walk from `known`, where one does.
    #[cold]
    fn is_boundary_behind(&self, known: u64, position: u64) -> bool {
        // What was given up has no bytes any more, and is not read again.
        let from = known.max(self.floor);
        position <= from || self.walk(from, position, |_, _| {}) == position
    }
}
