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
//! Who turns a harness is the [`VirtualClock`](crate::runtime::VirtualClock)'s matter: a thread that [sleeps](Sleeper) until there is something to do, or the
//! threads that wait, under a clock of its own.

mod harness;
mod sleeper;
mod stream;
#[cfg(test)]
mod tests;

pub use harness::{Ends, Harness, Letter, Limits};
pub use sleeper::Sleeper;
