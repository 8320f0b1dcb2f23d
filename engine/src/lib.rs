//! The engine under `cluster`: io_uring event loops, SPSC byte rings, and the delivery protocol as a pure state machine.
//!
//! Most users want the `cluster` crate, which puts the `Server` interface on top of this one. `ARCHITECTURE.md` is the map
//! of this crate, `WIRE.md` describes what crosses a connection byte by byte.
//!
//! Arrows between the layers point down only:
//!
//! | module | what it is |
//! | --- | --- |
//! | engine, inbox, outbox | what an application holds |
//! | mock | what takes the place of shards where there is no network |
//! | simulation | shards over a driver that is played, from a seed; with the feature of that name |
//! | shard | one event loop |
//! | link | the protocol of one peer, pure |
//! | stream | what one outbox sends to one peer, pure |
//! | driver | io_uring; knows no frames |
//! | ring | SPSC byte ring with its doorbell |
//! | wire | headers and codecs, pure |
#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "asks the kernel for barriers; the block states what makes it sound")]
mod barrier;
pub mod batch;
mod callback;
mod delivery;
#[allow(unsafe_code, reason = "talks to the kernel; each block states what makes it sound")]
pub mod driver;
mod engine;
mod events;
mod grace;
mod inbox;
pub mod link;
mod mailbox;
pub mod mock;
mod outbox;
mod payload;
#[allow(unsafe_code, reason = "shares memory between two threads; each block states what makes it sound")]
pub mod ring;
mod roster;
mod runtime;
mod shard;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod stats;
pub mod stream;
mod sync;
#[cfg(any(test, feature = "simulation"))]
mod testing;
mod time;
pub mod wire;

pub use callback::Callback;
pub use driver::{Feature, FeatureReport, Unavailable, probe, raise_descriptor_limit};
pub use engine::{Attached, Engine, Events, Stopped, Tenancy, Tenant, Threading};
pub use events::{Event, LinkState, PeerState};
pub use inbox::{Message, Received, Receiver};
pub use link::{BROADCAST, DownReason, DropReason, Local, Pid, Undelivered};
pub use outbox::{PushError, Sender};
pub use payload::{Body, Payload};
pub use runtime::{Drive, IdleStrategy, LoopFailed, LoopUnavailable, Step, VirtualClock, Wait, WrongThread};
pub use stats::PeerStats;
pub use stream::{Lane, Perish};
pub use time::{Clock, Time};
pub use wire::{RefusalReason, WireIncarnation};
