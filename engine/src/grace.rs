//! Short sections of work, and the wait until all that have begun are over.
//!
//! An outbox checks that its server still runs and its peer is still there, and then writes. Whoever stops the server or
//! removes the peer must not count what is undelivered while such a write is on its way from the check to the ring. So the
//! check and the write stand inside a section, and whoever takes something away first says so, then waits for a grace
//! period, and then counts.
//!
//! Why nothing escapes: a section begins with a store, a light [barrier] and then the check; the wait comes after a store of
//! what the check looks for, and begins with a heavy barrier. If the light barrier was first, the wait sees that the section
//! has begun, and waits for its end. If the heavy one was first, the check sees what was taken away. So sections cost two
//! plain stores, and a wait a microsecond or two. (This is the idea of userspace RCU with `membarrier`.)

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::barrier;
use crate::sync::{AtomicU32, Ordering, fence, yield_now};

/// Odd inside a section. On cache lines of its own, for it is written with every section.
#[derive(Debug)]
#[repr(align(128))]
struct Sequence(AtomicU32);

/// All who have sections that one wait covers.
#[derive(Debug, Default)]
pub(crate) struct Grace {
    sequences: Mutex<Vec<Arc<Sequence>>>,
}

/// One who has sections, one at a time.
#[derive(Debug)]
pub(crate) struct Sections {
    /// Written by this end alone.
    sequence: Arc<Sequence>,
    grace: Arc<Grace>,
    /// Without heavy barriers, each section pays for a fence of its own.
    light: bool,
}

/// A section: it ends when this is dropped.
#[must_use = "a section that is dropped is over"]
pub(crate) struct Section<'a> {
    sequence: &'a AtomicU32,
    light: bool,
}

impl Grace {
    /// Returns when every section has ended that began before this was called. What the caller stored before is seen by all
    /// that begin later.
    pub(crate) fn wait(&self) {
        match barrier::available() {
            true => barrier::heavy(),
            false => fence(Ordering::SeqCst),
        }
        let sequences = self.lock().clone();
        let begun: Vec<u32> = sequences.iter().map(|sequence| sequence.0.load(Ordering::Acquire)).collect();
        for (sequence, seen) in sequences.iter().zip(begun) {
            // Odd: inside. Another value: that section is over, be it that the next has begun.
            while seen % 2 == 1 && sequence.0.load(Ordering::Acquire) == seen {
                yield_now();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Sequence>>> {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sections {
    pub(crate) fn new(grace: Arc<Grace>) -> Sections {
        let sequence = Arc::new(Sequence(AtomicU32::new(0)));
        grace.lock().push(sequence.clone());
        Sections { sequence, grace, light: barrier::available() }
    }

    /// Begins a section. It must be short and wait for nobody.
    #[inline]
    pub(crate) fn begin(&self) -> Section<'_> {
        let section = self.begin_light();
        section.strengthen();
        section
    }

    /// Begins a section whose check holds only where heavy barriers are [available](barrier::available), or after
    /// [`strengthen`](Section::strengthen).
    #[inline(always)]
    pub(crate) fn begin_light(&self) -> Section<'_> {
        // Release: who sees that this one has begun sees what was done in those before.
        let sequence = &self.sequence.0;
        sequence.store(sequence.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        barrier::light();
        Section { sequence, light: self.light }
    }
}

impl Section<'_> {
    /// From here on a check holds everywhere.
    #[inline]
    pub(crate) fn strengthen(&self) {
        if !self.light {
            fence(Ordering::SeqCst);
        }
    }
}

impl Drop for Section<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: who sees the end sees what was done inside.
        self.sequence.store(self.sequence.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }
}

impl Drop for Sections {
    fn drop(&mut self) {
        self.grace.lock().retain(|sequence| !Arc::ptr_eq(sequence, &self.sequence));
    }
}

/// Run: `RUSTFLAGS="--cfg loom" cargo test --release --lib loom::`
#[cfg(all(test, loom))]
mod loom {
    use super::*;
    use crate::sync::AtomicBool;
    use ::loom::thread;

    /// What a section did is either seen after the wait, or the section was refused.
    #[test]
    fn whoever_was_let_in_is_counted() {
        ::loom::model(|| {
            let (grace, stopped) = (Arc::new(Grace::default()), Arc::new(AtomicBool::new(false)));
            let taken = Arc::new(AtomicU32::new(0));
            let sections = Sections::new(grace.clone());
            let sender = {
                let (stopped, taken) = (stopped.clone(), taken.clone());
                thread::spawn(move || {
                    let mut sent = 0;
                    for _ in 0..2 {
                        let _section = sections.begin();
                        if !stopped.load(Ordering::Acquire) {
                            sent += 1;
                            taken.store(sent, Ordering::Relaxed);
                        }
                    }
                    // Not dropped here: loom does not see that the mutex hands over what was done.
                    (sent, sections)
                })
            };
            stopped.store(true, Ordering::Release);
            grace.wait();
            let counted = taken.load(Ordering::Relaxed);
            assert_eq!(sender.join().unwrap().0, counted, "sent and counted");
        });
    }
}
