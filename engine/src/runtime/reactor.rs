//! Loops that a reactor turns: an async runtime, or any loop that waits for descriptors.

use std::fmt;
#[cfg(feature = "tokio")]
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::{LoopFailed, LoopHandle};

/// Longest time that a blocking call waits for the loop's answer before it turns the loop once more.
pub(crate) const BLOCKING_TURN: Duration = Duration::from_millis(1);

/// Result of a turn of a loop that a reactor turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Set if there may be more to do at once. If not, the descriptor becomes readable when there is.
    pub worked: bool,
    /// Time of the next timer, if there is one. A hint: the descriptor becomes readable at that time.
    pub next_timer: Option<Instant>,
}

/// Means to turn a loop that has no thread. Any thread may turn it, one at a time.
#[derive(Clone)]
pub struct Reactor {
    loop_handle: LoopHandle,
    descriptor: Arc<OwnedFd>,
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}

impl AsFd for Reactor {
    /// Descriptor that is readable when there is something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Reactor {
    /// Returns the means to turn this loop, if a reactor does.
    pub(crate) fn of(loop_handle: &LoopHandle) -> Option<Reactor> {
        let descriptor = loop_handle.reactor_descriptor()?.clone();
        Some(Reactor { loop_handle: loop_handle.clone(), descriptor })
    }

    /// Takes one turn, without waiting. Returns `None` once the engine has ended: its handles and servers are gone.
    ///
    /// # Errors
    /// When the loop has failed. Its servers have ended, and further turns have no effect.
    pub fn turn(&self) -> Result<Option<Turn>, LoopFailed> {
        let polled = self.loop_handle.poll_shard()?;
        Ok(polled.map(|(worked, next_timer)| Turn { worked, next_timer }))
    }

    /// Makes `waker` the one that is woken, in place of the descriptor, when an application has something for the loop.
    /// The registration ends with the wake-up.
    pub fn register(&self, waker: &Waker) {
        self.loop_handle.mailbox().notifier().register(waker);
    }

    /// Ends the registration of a waker: the descriptor becomes readable instead, at once.
    pub fn deregister(&self) {
        let notifier = self.loop_handle.mailbox().notifier();
        notifier.forget_task();
        // A notification may have gone to the waker that is not used any more.
        notifier.fall_asleep();
        notifier.notify();
    }

    /// Registers the descriptor with the runtime of tokio that the calling task runs on.
    ///
    /// # Errors
    /// When the runtime has no I/O enabled, or no descriptor can be registered.
    #[cfg(feature = "tokio")]
    pub fn async_fd(&self) -> io::Result<tokio::io::unix::AsyncFd<Arc<OwnedFd>>> {
        crate::driver::register(self.descriptor.clone())
    }
}
