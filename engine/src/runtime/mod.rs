//! Event loops and their threads: how loops are driven, how they idle, and how they fail.

mod failure;
mod idle;
mod inline;
mod loop_handle;
mod virtual_clock;

pub use failure::{LoopFailed, LoopUnavailable};
pub use idle::{Backoff, IdleStrategy, Step};
pub use inline::WrongThread;
pub use loop_handle::LoopHandle;
pub use virtual_clock::VirtualClock;
