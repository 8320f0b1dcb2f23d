//! What takes the place of shards where there is no network: for `cluster::mock`.
//!
//! A [`Harness`] gives servers the same ends that an [`Engine`](crate::Engine) does: a [`Receiver`](crate::Receiver), a [`Sender`](crate::Sender), events.
//! So whatever an application does with an inbox or an outbox, it does to the real ones. Where a shard would send what
//! the outboxes wrote, a harness hands it out as [`Letter`]s, one for each envelope. Whoever has the harness keeps them for as
//! long as it likes, in whatever order, and then [delivers](Harness::deliver) or [loses](Harness::lose) them.
//!
//! A letter counts against the inbox that it is for until it is taken out of that or lost. So a peer that does not read
//! makes its senders wait, as it does on the engine.
//!
//! Who turns a harness is the [`Clockwork`]'s matter: a thread that [sleeps](Sleeper) until there is something to do, or the
//! threads that wait, under a clock of its own.

mod harness;
mod sleeper;
mod stream;
#[cfg(test)]
mod tests;

use std::time::Instant;

pub use harness::{Ends, Harness, Letter, Limits};
pub use sleeper::Sleeper;

/// What threads that wait turn, where no event loop has a thread.
pub trait Clockwork: Send + Sync {
    /// The present moment.
    fn now(&self) -> Instant;

    /// Does what is to be done now. Returns whether there was anything.
    fn turn(&self) -> bool;

    /// Goes on to the next moment at which there is something to do, but not beyond `until`, and does it. Returns whether there
    /// was anything.
    fn step(&self, until: Option<Instant>) -> bool;

    /// As [`step`](Clockwork::step), for a thread that can do nothing else: without `until`, and with nothing ever to be
    /// done, it would wait for ever.
    fn wait(&self, until: Option<Instant>) -> bool;
}
