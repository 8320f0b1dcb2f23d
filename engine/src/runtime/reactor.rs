//! Loops that a reactor turns: an async runtime, or any loop that waits for descriptors.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::LoopFailed;
use super::loop_handle::{LoopHandle, poisoned};
use crate::callback::panic_message;

/// Longest time that a blocking call waits for the loop's answer before it turns the loop once more.
pub(crate) const BLOCKING_TURN: Duration = Duration::from_millis(1);

/// Most turns of a call that turns the loop beside its reactor.
const TURNS: usize = 4;

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
    pub(super) fn new(loop_handle: LoopHandle, descriptor: Arc<OwnedFd>) -> Reactor {
        Reactor { loop_handle, descriptor }
    }

    /// Takes one turn, without waiting. Returns `None` once the engine has ended: its handles and servers are gone.
    ///
    /// # Errors
    /// When the loop has failed. Its servers have ended, and further turns have no effect.
    pub fn turn(&self) -> Result<Option<Turn>, LoopFailed> {
        let message = match catch_unwind(AssertUnwindSafe(|| self.try_turn())) {
            Ok(Ok(Some(turn))) => return Ok(Some(turn)),
            Ok(Ok(None)) => {
                self.loop_handle.end();
                return self.loop_handle.failure().map_or(Ok(None), Err);
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("a panic: {}", panic_message(panic)),
        };
        self.loop_handle.fail(&message);
        self.loop_handle.failure().map_or(Ok(None), Err)
    }

    fn try_turn(&self) -> io::Result<Option<Turn>> {
        let mut guard = self.loop_handle.shard.lock().map_err(poisoned)?;
        let Some(shard) = guard.as_mut() else { return Ok(None) };
        let worked = shard.poll()?;
        if shard.is_finished() {
            return Ok(None);
        }
        let start = self.loop_handle.clock.start_instant();
        let next_timer = shard.next_timer().map(|time| start + Duration::from_nanos(time.as_nanos()));
        Ok(Some(Turn { worked, next_timer }))
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

    /// Turns the loop while there is work, at most a few times, for a call that needs its answer.
    pub(super) fn turn_beside(&self) -> bool {
        (0..TURNS).take_while(|_| matches!(self.turn(), Ok(Some(Turn { worked: true, .. })))).count() > 0
    }
}
