//! One waiter's state, and the ringer's question whether it must be woken.
//!
//! The protocol and the proof that it loses no wake-up are in the [module above](super). The
//! operations here are its halves: [`Doorbell::ring`] is the ringer's, the others the waiter's.
//!
//! All accesses are relaxed: the fences order them against the cursors, and the cursors, not the
//! doorbell, hand over the bytes.

use std::fmt;

use crate::barrier;
use crate::sync::{AtomicU32, Ordering, fence};

/// Where one side says whether it sleeps.
pub(super) struct Doorbell {
    state: AtomicU32,
}

impl Doorbell {
    pub(super) fn new() -> Doorbell {
        Doorbell { state: AtomicU32::new(ACTIVE) }
    }

    /// Ringer, after it has stored what the waiter looks for: whether the waiter must be signalled.
    #[inline]
    pub(super) fn ring(&self) -> bool {
        barrier::light();
        if self.state.load(Ordering::Relaxed) == POLLING {
            return false;
        }
        fence(Ordering::SeqCst);
        self.state.load(Ordering::Relaxed) == WAITING && self.claim_signal()
    }

    /// Waiter: says that it is about to sleep. It must then look once more at what it waits for,
    /// and [`wake`](Doorbell::wake) if that has come.
    pub(super) fn wait(&self) {
        self.state.store(WAITING, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Waiter: is awake. A plain store will do: if it overtakes a ringer's swap, the swap fails and
    /// no signal comes; if it comes after, there is a spurious signal.
    pub(super) fn wake(&self) {
        self.state.store(ACTIVE, Ordering::Relaxed);
    }

    /// Waiter: is awake and will look again by itself. To be left with [`wake`](Doorbell::wake) and
    /// then a heavy barrier, before it may wait. Only where [`barrier::available`].
    pub(super) fn poll(&self) {
        self.state.store(POLLING, Ordering::Relaxed);
    }

    /// The one who takes the waiter out of `WAITING` owes the signal.
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
