//! The thread of a loop that has none of its own: the first one that turns the loop, until it ends.
//!
//! io_uring takes the submissions of a ring from one thread only, so a loop cannot move to another. What has to turn
//! the loop is an error on other threads ([`WrongThread`]). When the thread ends, its loops fail, and their servers
//! stop.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::virtual_clock::VirtualClock;

/// What there is to know of a loop that has no thread of its own.
pub(super) struct Inline {
    /// The thread that turns it: the first one that did; 0 before.
    owner: AtomicU64,
    /// What is turned in the place of a loop: a network without sockets. Any thread may do so.
    pub(super) virtual_clock: Option<Arc<dyn VirtualClock>>,
}

thread_local! {
    /// Number of this thread; 0 until it has one.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    /// The loops of this thread.
    static LOOPS: RefCell<Loops> = const { RefCell::new(Loops(Vec::new())) };
}

/// The loops of a thread. They fail when it ends.
struct Loops(Vec<Owned>);

/// A loop that belongs to a thread, which does not keep it alive.
pub(super) struct Owned {
    pub(super) is_alive: Box<dyn Fn() -> bool>,
    /// Fails the loop, for this reason.
    pub(super) fail: Box<dyn Fn(&str)>,
}

impl Drop for Loops {
    fn drop(&mut self) {
        for owned in self.0.drain(..) {
            (owned.fail)("the thread that ran it has ended");
        }
    }
}

/// Number of this thread. No other thread of the process ever has the same; an address would be reused.
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
    /// A loop without a thread yet, or what stands in for one.
    pub(super) fn new(virtual_clock: Option<Arc<dyn VirtualClock>>) -> Inline {
        Inline { owner: AtomicU64::new(0), virtual_clock }
    }

    /// Whether this thread turns the loop already.
    #[inline]
    pub(super) fn is_driven_here(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == here()
    }

    /// Whether this thread turns the loop, from now on if there was none that did. `owned` is the loop.
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

/// The loop of an inline server belongs to another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongThread;

impl fmt::Display for WrongThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the event loop of this inline server belongs to another thread, the first one that used it; make this call \
             there, or configure Threading::Shared",
        )
    }
}

impl std::error::Error for WrongThread {}
