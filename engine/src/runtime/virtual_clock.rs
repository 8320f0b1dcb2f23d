//! A clock that the waiting threads advance.

use std::time::Instant;

/// Clock that waiting threads advance, where no event loop has a thread.
pub trait VirtualClock: Send + Sync {
    /// Returns the present time.
    fn now(&self) -> Instant;

    /// Does the work that is due now. Returns whether there was any.
    fn turn(&self) -> bool;

    /// Advances to the next time at which work is due, but not beyond `until`, and does the work. Returns whether there
    /// was any.
    fn step(&self, until: Option<Instant>) -> bool;

    /// Advances like [`step`](VirtualClock::step), for a thread that can do nothing else. Without `until`, the thread
    /// waits for ever if no work ever becomes due.
    fn wait(&self, until: Option<Instant>) -> bool;
}
