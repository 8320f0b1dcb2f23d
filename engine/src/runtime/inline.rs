//! Inline loops: loops without a thread of their own. Such a loop belongs to the first thread that turns it, until that
//! thread ends.
//!
//! io_uring takes the submissions of a ring from one thread only, so a loop cannot move to another. Calls that have to
//! turn the loop fail on other threads with [`WrongThread`]. When the thread ends, its loops fail, and their servers
//! stop.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::virtual_clock::VirtualClock;

/// State of a loop that has no thread of its own.
pub(super) struct Inline {
    /// Number of the thread that turns the loop: the first one that did. 0: none did yet.
    owner: AtomicU64,
    /// Virtual clock that is turned in place of a loop: a network without sockets. Any thread may turn it.
    pub(super) virtual_clock: Option<Arc<dyn VirtualClock>>,
}

thread_local! {
    /// Number of this thread; 0 until it has one.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    /// Loops that belong to this thread.
    static LOOPS: RefCell<Loops> = const { RefCell::new(Loops(Vec::new())) };
}

/// Loops of a thread. They fail when the thread ends.
struct Loops(Vec<Owned>);

/// A loop that belongs to a thread. The thread does not keep the loop alive.
pub(super) struct Owned {
    pub(super) is_alive: Box<dyn Fn() -> bool>,
    /// Fails the loop, with this reason.
    pub(super) fail: Box<dyn Fn(&str)>,
}

impl Drop for Loops {
    fn drop(&mut self) {
        for owned in self.0.drain(..) {
            (owned.fail)("the thread that ran it has ended");
        }
    }
}

/// Returns the number of this thread. No other thread of the process ever has the same number; an address would be
/// reused.
#[inline]
fn here() -> u64 {
    match NUMBER.get() {
        0 => number_this_thread(),
        number => number,
    }
}

#[cold]
fn number_this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    NUMBER.set(number);
    number
}

impl Inline {
    /// Makes the state of a loop that no thread has turned yet. With a virtual clock, the clock is turned in place of a
    /// loop.
    pub(super) fn new(virtual_clock: Option<Arc<dyn VirtualClock>>) -> Inline {
        Inline { owner: AtomicU64::new(0), virtual_clock }
    }

    /// Returns whether the loop belongs to this thread already.
    #[inline]
    pub(super) fn is_driven_here(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == here()
    }

    /// Returns whether this thread may turn the loop. If the loop belongs to no thread yet, it belongs to this one from
    /// now on, and `owned` makes the entry that fails the loop when the thread ends.
    #[inline]
    pub(super) fn is_mine(&self, owned: impl FnOnce() -> Owned) -> bool {
        if self.virtual_clock.is_some() {
            return true;
        }
        match self.owner.load(Ordering::Relaxed) {
            0 => self.claim(owned),
            owner => owner == here(),
        }
    }

    #[cold]
    fn claim(&self, owned: impl FnOnce() -> Owned) -> bool {
        let mine = here();
        let claimed = LOOPS.try_with(|loops| {
            let owner = self.owner.compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed);
            if owner.is_ok() {
                let mut loops = loops.borrow_mut();
                loops.0.retain(|owned| (owned.is_alive)());
                loops.0.push(owned());
            }
            owner.is_ok() || owner == Err(mine)
        });
        // A thread that is ending runs no loop.
        claimed.unwrap_or(false)
    }
}

/// Error: the loop of an inline server belongs to another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongThread;

impl fmt::Display for WrongThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the event loop of this inline server belongs to another thread, the first one that used it; make this \
             call there, or configure Threading::Shared",
        )
    }
}

impl std::error::Error for WrongThread {}
