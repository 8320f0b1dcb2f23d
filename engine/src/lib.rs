//! Engine under the crate `cluster`: io_uring event loops that carry envelopes between servers, over TCP and memory.
//!
//! Most users want the `cluster` crate, which puts the `Server` interface on top of this one. `ARCHITECTURE.md` is the
//! map of this crate and of the crates below it, `WIRE.md` describes every byte on a connection.
//!
//! Each module uses only those below it; `ci/layers` checks that.
//!
//! | module | content |
//! | --- | --- |
//! | simulation | shards over a simulated driver, from a seed; with the feature of that name |
//! | [`mock`] | switchboard that replaces shards where there is no network |
//! | engine | loops, and the servers that are attached to them |
//! | outbox, inbox | the two ends that an application holds |
//! | runtime | the threads of loops: how they are driven, idle and fail |
//! | shard | one event loop |
//! | mailbox, delivery | the queues between applications and shards |
//! | events, stats, roster | events about peers, counts of their traffic, and the peers themselves |
//! | [`driver`] | io_uring, and connections through memory |
//!
//! Below it are the crates `cluster_proto` ([`session`], [`link`], [`stream`], [`batch`], [`wire`]: the protocol, pure)
//! and `cluster_ring` (the SPSC byte ring).
#![deny(unsafe_code)]

mod clock;
mod delivery;
#[allow(unsafe_code, reason = "talks to the kernel; each block states what makes it sound")]
pub mod driver;
mod engine;
mod events;
mod inbox;
mod mailbox;
pub mod mock;
mod outbox;
mod roster;
mod runtime;
mod shard;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod stats;

pub use callback::Callback;
pub use clock::Clock;
pub use cluster_proto::{batch, link, session, stream, wire};
pub use cluster_ring as ring;
pub use driver::{DriverChoice, Feature, FeatureReport, Unavailable, probe, raise_descriptor_limit};
pub use engine::{Engine, Events, NodeConfig, NodeHandle, NodeParts, PeerStates, Stopped, Threading};
pub use events::{Event, LinkState, PeerState};
pub use inbox::{Message, Received, Receiver};
pub use link::{BROADCAST, DownReason, DropReason, Local, Pid, Undelivered};
pub use outbox::{PushError, Sender};
pub use payload::{Body, Payload};
pub use runtime::{
    Backoff, IdleStrategy, LoopFailed, LoopHandle, LoopUnavailable, Reactor, Step, Turn, VirtualClock, WrongThread,
};
pub use stats::PeerStats;
pub use stream::{DropPolicy, Lane, Ticket, TicketState};
pub use time::Time;
pub use wire::{RefusalReason, WireIncarnation};

#[cfg(any(test, feature = "simulation"))]
use cluster_proto::testing;
use cluster_proto::{callback, payload, time};
use cluster_ring::{barrier, grace};
