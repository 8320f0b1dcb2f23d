//! Marks: first record of each page of positions.
//!
//! The consumer sends runs of bytes that must end at a record boundary, and it must not walk the records to find one.
//! So the producer leaves a mark for each page of positions: the position of the first record that begins in the page.
//! A page is as long as the longest record, so every page that is followed by later records has a mark.
//!
//! A mark is stored before the `written` that covers its record. So a consumer that has seen this `written` sees the
//! mark, or the mark of a later lap in the same slot. A later lap can only have overwritten the mark of the page that
//! contains `released`, because the producer is never more than one capacity ahead of `released`. The position in a
//! mark identifies its page, so a mark of another lap is never mistaken for the page's own.

use super::MAX_RECORD;
use crate::sync::{AtomicU64, Ordering};

/// First record of each page, one slot for each page of the ring.
pub(super) struct Marks {
    slots: Box<[AtomicU64]>,
}

impl Marks {
    /// Makes the marks of a ring of `capacity` bytes, which is a power of two and spans several pages.
    pub(super) fn new(capacity: usize) -> Marks {
        let slots = (0..capacity as u64 / PAGE).map(|_| AtomicU64::new(NONE)).collect();
        Marks { slots }
    }

    /// Marks `start` as the position of the first record of its page. For the producer. Returns the position where the
    /// next page begins: the lowest position that needs a new mark.
    pub(super) fn set(&self, start: u64) -> u64 {
        let page = start / PAGE;
        self.slot(page).store(start, Ordering::Relaxed);
        (page + 1) * PAGE
    }

    /// Returns the largest mark in `(from, limit]` within the page of `limit` and the page before it. For the consumer.
    /// `limit` is less than the `written` that the consumer has seen.
    ///
    /// A mark exists if `limit - from >= 2 * PAGE`. The page before that of `limit` begins after `from`, so no later
    /// lap has reached it. It ends before `written`, so a record begins in it.
    pub(super) fn last(&self, from: u64, limit: u64) -> Option<u64> {
        let page = limit / PAGE;
        [Some(page), page.checked_sub(1)]
            .into_iter()
            .flatten()
            .filter_map(|page| self.get(page))
            .find(|&mark| from < mark && mark <= limit)
    }

    /// Returns the first record of `page`, or `None` if the slot is empty or holds the mark of another lap.
    fn get(&self, page: u64) -> Option<u64> {
        let mark = self.slot(page).load(Ordering::Relaxed);
        (mark / PAGE == page).then_some(mark)
    }

    fn slot(&self, page: u64) -> &AtomicU64 {
        &self.slots[page as usize & (self.slots.len() - 1)]
    }
}

/// Empty slot: a position that no record reaches.
const NONE: u64 = u64::MAX;

/// Length of a page in bytes: that of the longest record, so that no record covers a whole page without beginning in
/// it.
const PAGE: u64 = MAX_RECORD as u64;
