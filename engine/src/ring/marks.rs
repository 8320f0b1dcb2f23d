//! Where records begin, to the nearest page.
//!
//! The consumer sends a stretch of bytes that must end between two records, and it must not walk
//! the records to find out where. So the producer leaves a mark for each page of positions: the
//! position of the first record that begins there. A page is as long as the longest record, hence
//! every page that later records follow has one.
//!
//! A mark is stored before the `written` that covers its record, so a consumer that has seen this
//! `written` sees the mark, or that of a later lap in the same slot. The latter happens only in the
//! page in which `released` stands, for the producer writes a lap ahead no further than that; the
//! position in the mark tells its page, so a mark of another lap is never mistaken.

use super::MAX_RECORD;
use crate::sync::{AtomicU64, Ordering};

/// The first record of each page, one slot for each page of the ring.
pub(super) struct Marks {
    slots: Box<[AtomicU64]>,
}

impl Marks {
    /// `capacity` is that of the ring: a power of two, and several pages.
    pub(super) fn new(capacity: usize) -> Marks {
        let slots = (0..capacity as u64 / PAGE).map(|_| AtomicU64::new(NONE)).collect();
        Marks { slots }
    }

    /// Producer: a record that is the first of its page begins at `start`. Returns the position at
    /// which the next page begins, so the least at which there is something to mark again.
    pub(super) fn set(&self, start: u64) -> u64 {
        let page = start / PAGE;
        self.slot(page).store(start, Ordering::Relaxed);
        (page + 1) * PAGE
    }

    /// Consumer: the largest mark in `(from, limit]` within the pages of `limit` and before it.
    /// `limit` is less than the `written` that the consumer has seen.
    ///
    /// There is one if `limit - from >= 2 * PAGE`: the page before that of `limit` begins after
    /// `from`, so no later lap has reached it, and ends before `written`, so a record begins in it.
    pub(super) fn last(&self, from: u64, limit: u64) -> Option<u64> {
        let page = limit / PAGE;
        [Some(page), page.checked_sub(1)]
            .into_iter()
            .flatten()
            .filter_map(|page| self.get(page))
            .find(|&mark| from < mark && mark <= limit)
    }

    /// The first record of `page`, unless the slot is empty or holds another lap's.
    fn get(&self, page: u64) -> Option<u64> {
        let mark = self.slot(page).load(Ordering::Relaxed);
        (mark / PAGE == page).then_some(mark)
    }

    fn slot(&self, page: u64) -> &AtomicU64 {
        &self.slots[page as usize & (self.slots.len() - 1)]
    }
}

/// No record begins so late.
const NONE: u64 = u64::MAX;

/// As long as the longest record, so that a record covers no page whole without beginning in it.
const PAGE: u64 = MAX_RECORD as u64;
