//! Event loops and their threads: how loops are driven, how they idle, and how they fail.

mod failure;
mod idle;
mod inline;
mod loop_handle;
mod reactor;
mod virtual_clock;

pub use failure::{LoopFailed, LoopUnavailable};
pub use idle::{Backoff, IdleStrategy, Step};
pub use inline::WrongThread;
pub use loop_handle::LoopHandle;
pub(crate) use reactor::BLOCKING_TURN;
pub use reactor::{Reactor, Turn};
pub use virtual_clock::VirtualClock;
