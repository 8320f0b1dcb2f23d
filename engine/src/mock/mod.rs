//! Switchboard that replaces shards where there is no network, for `cluster::mock`.
//!
//! A [`Switchboard`] gives servers the handles that an [`Engine`](crate::Engine) gives them: a
//! [`Receiver`](crate::Receiver), a [`Sender`](crate::Sender) and events. So applications use real inboxes and
//! outboxes. A shard sends what outboxes write. A switchboard hands it out as [`Packet`]s instead, one for each
//! envelope. Its owner keeps packets as long as it likes, and [delivers](Switchboard::deliver) or
//! [loses](Switchboard::lose) them in any order.
//!
//! A packet counts against its recipient's inbox until it is read or lost. So a peer that does not read makes its
//! senders wait, as on the engine.
//!
//! A switchboard is driven by a thread that [sleeps](Parker) until there is something to do. Under a
//! [`VirtualClock`](crate::runtime::VirtualClock), the threads that wait drive it.

mod parker;
mod stream;
mod switchboard;
#[cfg(test)]
mod tests;

pub use crate::mailbox::Alarm;
pub use parker::Parker;
pub use switchboard::{Ends, Limits, Packet, Switchboard};
