//! A cluster in one process, without a network: to test a program under partitions, loss and delay.
//!
//! Its servers are [`Server`](crate::Server)s, with the inbox, the outbox and the events of the real node. A program that is
//! written against that trait runs on them unchanged.
//!
//! ```
//! use std::time::Duration;
//! use cluster::mock::{Cluster, Time};
//! use cluster::{BROADCAST, Envelope, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::with_time(42, Time::Virtual);
//! let mut servers = cluster.add_servers(1..=5)?;
//!
//! cluster.partition(&[&[1, 2, 3], &[4, 5]])?;
//! servers[0].outbox().send(Envelope::to(BROADCAST).body("who hears me?"))?;
//! cluster.run_until_idle();
//! for server in &mut servers[1..] {
//!     assert_eq!(server.inbox().try_recv().is_ok(), server.pid() <= 3);
//! }
//! assert_eq!(cluster.totals().cut, 2);
//!
//! cluster.heal();
//! servers[0].outbox().send(Envelope::to(5).body("and now?"))?;
//! assert_eq!(servers[4].inbox().recv()?.msg, "and now?");
//! println!("{}", cluster.history());
//! # Ok(())
//! # }
//! ```
//!
//! # Two kinds of time
//!
//! Under [`Time::Real`] a thread of the cluster moves the messages, and everything takes as long as it takes. Programs that
//! block, on as many threads as they like, just work.
//!
//! Under [`Time::Virtual`] time stands still until somebody waits: a test that says [`run_for`](Cluster::run_for), or a server
//! whose `recv` finds nothing. Then it jumps to the next thing that is due. An hour with few messages takes microseconds. One
//! thread drives all servers, and the same seed gives the same [`History`], to the byte. A call that would wait for ever, because
//! nothing is under way and it has no timeout, panics rather than hang.
//!
//! A test that panics while its cluster lives prints the cluster's seed.
//!
//! # What can be done to it
//!
//! | | now | at a time |
//! | --- | --- | --- |
//! | partition | [`partition`](Cluster::partition), [`isolate`](Cluster::isolate), [`cut`](Cluster::cut), [`heal`](Cluster::heal) | [`at`](Cluster::at) with a [`Fault`] |
//! | loss, delay, disorder, duplicates, bandwidth | [`set`](Cluster::set) with [`Conditions`] at a [`Place`] | [`Fault::Set`] |
//! | end of a server | [`crash`](Cluster::crash), [`Server::stop`](crate::Server::stop) | [`Fault::Crash`] |
//!
//! # What differs from the real node
//!
//! - A message that is dropped here is gone, in silence. The real engine sends again what a connection has lost; with
//!   [`hold_while_partitioned`](Cluster::hold_while_partitioned), so does this one, as far as cuts and stops go.
//! - Delays that vary change the order, unless they are [`in_order`](Conditions::in_order).
//! - What is held, or under way, counts against the recipient's `inbox_bytes`; the sender's `outbox_bytes` come on top.
//! - Links are up as soon as both servers run, without a message.
//! - A clone of an outbox knows the peers of the time at which it was made.

mod cluster;
mod conditions;
mod cuts;
mod diagram;
mod fault;
mod fault_error;
mod history;
mod members;
mod network;
mod node;
mod rng;
mod runner;
mod totals;

pub use cluster::Cluster;
pub use conditions::{Conditions, Delay};
pub use fault::{Fault, Place};
pub use fault_error::FaultError;
pub use history::{DropReason, Entry, Fate, History, Sent};
pub use node::Node;
pub use totals::Totals;

/// How time goes by in a mock cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Time {
    /// As it does. A thread moves the messages.
    Real,
    /// When somebody waits for something, or the test says so. The thread that does moves the messages.
    Virtual,
}
