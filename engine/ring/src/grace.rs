//! Grace periods: short sections of work, and a wait until all sections that have begun are over.
//!
//! An outbox checks that its server still runs and that its peer is still configured, and then writes. When the server
//! stops or the peer is removed, undelivered envelopes are counted; no such write may then be between its check and the
//! ring. So the check and the write form a section. The thread that stops the server or removes the peer first
//! publishes this, then waits for a grace period, and then counts.
//!
//! No write is missed. A section begins with a store and a light [barrier], and the check follows. The wait comes after
//! the publishing store and begins with a heavy barrier. If the light barrier came first, the wait sees that the
//! section has begun, and waits for its end. If the heavy barrier came first, the check sees the published change. So a
//! section costs two plain stores, and a wait a microsecond or two. (Userspace RCU with `membarrier` uses the same
//! algorithm.)

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::barrier;
use crate::sync::{AtomicU32, Ordering, fence, yield_now};

/// Counter that is odd inside a section. On cache lines of its own, because every section writes it.
#[derive(Debug)]
#[repr(align(128))]
struct Sequence(AtomicU32);

/// Registry of all [`Sections`] that one wait covers.
#[derive(Debug, Default)]
pub struct Grace {
    sequences: Mutex<Vec<Arc<Sequence>>>,
}

/// Handle that begins sections, one at a time.
#[derive(Debug)]
pub struct Sections {
    /// Counter of this handle, which alone writes it.
    sequence: Arc<Sequence>,
    grace: Arc<Grace>,
    /// Availability of heavy barriers. Without them each section runs a fence of its own.
    light: bool,
}

/// Section of work that ends when this guard is dropped.
#[must_use = "a section that is dropped is over"]
pub struct Section<'a> {
    sequence: &'a AtomicU32,
    light: bool,
}

impl Grace {
    /// Waits until every section that began before this call has ended. Every section that begins later sees all stores
    /// that the caller made before it.
    pub fn wait(&self) {
        match barrier::available() {
            true => barrier::heavy(),
            false => fence(Ordering::SeqCst),
        }
        let sequences = self.lock().clone();
        let begun: Vec<u32> = sequences.iter().map(|sequence| sequence.0.load(Ordering::Acquire)).collect();
        for (sequence, seen) in sequences.iter().zip(begun) {
            // Odd: inside a section. Another value: that section is over, even if the next one has begun.
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
    /// Makes a handle whose sections the waits of `grace` cover.
    pub fn new(grace: Arc<Grace>) -> Sections {
        let sequence = Arc::new(Sequence(AtomicU32::new(0)));
        grace.lock().push(sequence.clone());
        Sections { sequence, grace, light: barrier::available() }
    }

    /// Begins a section. The section must be short and must not wait for other threads.
    #[inline]
    pub fn begin(&self) -> Section<'_> {
        let section = self.begin_light();
        section.strengthen();
        section
    }

    /// Begins a section whose check is valid only where heavy barriers are [available](barrier::available), or after
    /// [`strengthen`](Section::strengthen).
    #[inline(always)]
    pub fn begin_light(&self) -> Section<'_> {
        // Release: a reader that sees this section begin sees all work of the earlier ones.
        let sequence = &self.sequence.0;
        sequence.store(sequence.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        barrier::light();
        Section { sequence, light: self.light }
    }
}

impl Section<'_> {
    /// Makes checks after this call valid everywhere, with a fence if heavy barriers are not available.
    #[inline]
    pub fn strengthen(&self) {
        if !self.light {
            fence(Ordering::SeqCst);
        }
    }
}

impl Drop for Section<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: a reader that sees the end sees all work of the section.
        self.sequence.store(self.sequence.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }
}

impl Drop for Sections {
    fn drop(&mut self) {
        self.grace.lock().retain(|sequence| !Arc::ptr_eq(sequence, &self.sequence));
    }
}

/// Loom models. Run: `RUSTFLAGS="--cfg loom" cargo test --release --lib loom::`
#[cfg(all(test, loom))]
mod loom {
    use super::*;
    use crate::sync::AtomicBool;
    use ::loom::thread;

    /// Checks that the work of a section is visible after the wait, unless the section's check has failed.
    #[test]
    fn each_admitted_sender_is_counted() {
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
                    // Dropped by the main thread: loom does not see that the mutex hands the work over.
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
