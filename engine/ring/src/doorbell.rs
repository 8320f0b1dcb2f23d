//! Doorbell: the state of one waiter, by which the ringer decides whether a signal is due.
//!
//! The [parent module](super) documents the protocol and proves that it loses no wake-up. The ringer calls
//! [`Doorbell::ring`]; the waiter calls the other operations.
//!
//! All accesses are relaxed. Fences order them against the cursors, and ownership of bytes passes with the cursors, not
//! with the doorbell.

use std::fmt;

use crate::barrier;
use crate::sync::{AtomicU32, Ordering, fence};

/// State of one waiter: active, waiting or polling.
pub(super) struct Doorbell {
    state: AtomicU32,
}

impl Doorbell {
    pub(super) fn new() -> Doorbell {
        Doorbell { state: AtomicU32::new(ACTIVE) }
    }

    /// Returns whether the waiter must be signalled. For the ringer, after it has stored the cursor or flag that the
    /// waiter reads.
    #[inline]
    pub(super) fn ring(&self) -> bool {
        barrier::light();
        if self.state.load(Ordering::Relaxed) == POLLING {
            return false;
        }
        fence(Ordering::SeqCst);
        self.state.load(Ordering::Relaxed) == WAITING && self.claim_signal()
    }

    /// Marks the waiter as about to sleep. For the waiter, which must then read the awaited cursor or flag once more,
    /// and call [`wake`](Doorbell::wake) if it has changed.
    pub(super) fn wait(&self) {
        self.state.store(WAITING, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Marks the waiter as awake. For the waiter. A plain store suffices: if it comes before a ringer's swap, the swap
    /// fails and no signal is sent; if it comes after the swap, there is a spurious signal.
    pub(super) fn wake(&self) {
        self.state.store(ACTIVE, Ordering::Relaxed);
    }

    /// Marks the waiter as awake and polling. For the waiter, and only where [`barrier::available`]. Before its next
    /// wait, the waiter must call [`wake`](Doorbell::wake) and then run a heavy barrier.
    pub(super) fn poll(&self) {
        self.state.store(POLLING, Ordering::Relaxed);
    }

    /// Takes the waiter out of `WAITING`. Returns whether this call did so; its caller then owes the signal.
    #[cold]
    fn claim_signal(&self) -> bool {
        self.state.compare_exchange(WAITING, ACTIVE, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state.load(Ordering::Relaxed) {
            ACTIVE => "Active",
            WAITING => "Waiting",
            _ => "Polling",
        })
    }
}

const ACTIVE: u32 = 0;
const WAITING: u32 = 1;
const POLLING: u32 = 2;
