//! Messaging between servers that know each other by number, over io_uring or epoll.
//!
//! Each server has a number, its **pid**. Servers exchange **envelopes** through an **inbox** and an **outbox**, over
//! TCP, and over memory between servers of one process. The crate needs Linux 6.1 or later.
//!
//! An envelope is addressed to a pid, to several pids, or to [`BROADCAST`]. The outbox takes it, and each recipient
//! reads it from its inbox: once, in order, with the sender's pid. No envelope is dropped silently: an envelope that
//! the outbox cannot take is returned with the reason.
//!
//! ```
//! use cluster::{BROADCAST, Config, Envelope, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new([
//!     (100, "127.0.0.1:18101"),
//!     (200, "127.0.0.1:18102"),
//!     (300, "127.0.0.1:18103"),
//! ])?;
//! let mut alice = cluster::start(100, &config)?;
//! let mut bob = cluster::start(200, &config)?;
//! let mut carol = cluster::start(300, &config)?;
//!
//! alice.outbox().send(Envelope::to(200).body("unicast to 200"))?;
//! alice.outbox().send(Envelope::to([200, 300]).id(7).body("multicast"))?;
//! alice.outbox().send(Envelope::to(BROADCAST).body("broadcast"))?;
//!
//! let envelope = bob.inbox().recv()?;
//! assert_eq!((envelope.pid, &envelope.msg[..]), (100, &b"unicast to 200"[..]));
//! assert_eq!(carol.inbox().recv()?.msg_id, 7);
//!
//! alice.stop()?; // delivers what was sent first
//! # Ok(())
//! # }
//! ```
//!
//! | task | item |
//! | --- | --- |
//! | configure | [`Config`], from a value or a file |
//! | start a server | [`start`](fn@start), or [`Builder`] for a server with its own engine |
//! | choose the threads and the latency (busy polling) | [`Threading`], [`Idle`] |
//! | send | [`Outbox`] |
//! | receive | [`Inbox`] |
//! | follow the state of the peers | [`Events`], [`Server::peer_state`] |
//! | count the traffic with each peer | [`Server::stats`] |
//! | write a program that runs on any kind of server | [`Server`] |
//! | test a program under partitions, loss and delay, without a network | [`mock`] |
#![deny(unsafe_code)]

mod config;
mod engine;
mod envelope;
mod events;
mod inbox;
pub mod mock;
mod node;
mod outbox;
mod reactor;
mod registration;
mod server;
mod start;
mod start_error;
mod typed;
mod wait;

pub use cluster_engine::{
    BROADCAST, Body, Callback, DownReason, DropReason, Event, Feature, FeatureReport, Lane, LinkState, Payload,
    PeerState, PeerStats, Pid, RefusalReason, Unavailable, Undelivered, WireIncarnation as Incarnation, probe,
};
pub use config::{Catalog, Checksum, Config, ConfigError, Connect, Driver, Idle, Member, Neighbours, Threading};
pub use engine::Engine;
pub use envelope::{Draft, Envelope, EnvelopeRef, Recipients};
pub use events::Events;
pub use inbox::{Inbox, Iter, Recv, RecvError, RecvTimeoutError, TryRecvError};
pub use node::{Handle, Node, Split};
pub use outbox::{Claim, FlushError, Outbox, SendError};
pub use reactor::{Reactor, Turn, TurnError};
pub use server::{PeerError, Server, StopError};
pub use start::{Builder, start};
pub use start_error::StartError;
pub use typed::DecodeError;
