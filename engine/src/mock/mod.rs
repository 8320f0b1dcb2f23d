//! A switchboard in the place of shards, without a network: for `cluster::mock`.
//!
//! A [`Switchboard`] gives servers the same ends that an [`Engine`](crate::Engine) does: a
//! [`Receiver`](crate::Receiver), a [`Sender`](crate::Sender) and events. So applications use real inboxes and outboxes.
//! Where a shard would send what the outboxes wrote, a switchboard hands it out as [`Packet`]s, one for each envelope.
//! Its owner keeps them as long as it likes, in any order, and then [delivers](Switchboard::deliver) or
//! [loses](Switchboard::lose) them.
//!
//! A packet counts against the inbox of its recipient until it is taken from there or lost. So a peer that does not read
//! makes its senders wait, as on the engine.
//!
//! A switchboard is turned by a thread that [sleeps](Parker) until there is something to do, or by the threads that
//! wait, under a [`VirtualClock`](crate::runtime::VirtualClock).

mod parker;
mod stream;
mod switchboard;
#[cfg(test)]
mod tests;

pub use parker::Parker;
pub use switchboard::{Ends, Limits, Packet, Switchboard};
