//! Cluster in one process without a network, to test programs under partitions, loss and delay.
//!
//! Its servers implement [`Server`](crate::Server), with the inbox, the outbox and the events of the real node. A
//! program written against that trait runs on them unchanged.
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
//! Under [`Time::Real`] a thread of the cluster moves the messages, and delays take real time. Programs may block, on
//! any number of threads.
//!
//! Under [`Time::Virtual`] time stands still until the program waits: the test calls [`run_for`](Cluster::run_for), or
//! a server's `recv` finds no envelope. Time then jumps to the next scheduled event. An hour with few messages takes
//! microseconds. If one thread drives all servers, the same seed gives the same [`History`], to the byte. A call
//! without a timeout that would wait for ever, because no message is in flight, panics instead of hanging.
//!
//! A test that panics while its cluster lives prints the cluster's seed.
//!
//! # Faults and conditions
//!
//! | fault | now | at a given time |
//! | --- | --- | --- |
//! | partition | [`partition`](Cluster::partition), [`isolate`](Cluster::isolate), [`cut`](Cluster::cut), [`heal`](Cluster::heal) | [`at`](Cluster::at) with a [`Fault`] |
//! | loss, delay, reordering, duplicates, bandwidth | [`set`](Cluster::set) with [`Conditions`] at a [`Place`] | [`Fault::Set`] |
//! | end of a server | [`crash`](Cluster::crash), [`Server::stop`](crate::Server::stop) | [`Fault::Crash`] |
//!
//! # Differences from the real node
//!
//! - The mock drops messages silently and for good. The real engine retransmits what a connection has lost. With
//!   [`hold_while_partitioned`](Cluster::hold_while_partitioned), the mock keeps messages that are cut off, or whose
//!   recipient is stopped, and delivers them later.
//! - Varying delays change the order of messages, unless they are [`in_order`](Conditions::in_order).
//! - Messages held or in flight count against the recipient's `inbox_bytes`. When these are full, the sender's
//!   `outbox_bytes` take more.
//! - Links are up as soon as both servers run, without a message.
//! - A clone of an outbox knows the peers at the time of its creation.

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

/// Kind of time in a mock cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Time {
    /// Real time. A thread of the cluster moves the messages.
    Real,
    /// Virtual time, which passes when a call waits or when the test advances it. The calling thread moves the
    /// messages.
    Virtual,
}
