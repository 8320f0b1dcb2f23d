//! A clock that the threads that wait move on.

use std::time::Instant;

/// What threads that wait turn, where no event loop has a thread.
pub trait VirtualClock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Instant;

    /// Does what is to be done now. Returns whether there was anything.
    fn turn(&self) -> bool;

    /// Goes on to the next moment at which there is something to do, but not beyond `until`, and does it. Returns whether there
    /// was anything.
    fn step(&self, until: Option<Instant>) -> bool;

    /// As [`step`](VirtualClock::step), for a thread that can do nothing else: without `until`, and with nothing ever to be
    /// done, it would wait for ever.
    fn wait(&self, until: Option<Instant>) -> bool;
}
