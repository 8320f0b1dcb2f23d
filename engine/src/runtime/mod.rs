//! Event loops and their threads: how loops are driven, how they idle, and how they fail.

mod drive;
mod failure;
mod idle;
mod inline;
mod virtual_clock;

pub use drive::Drive;
pub use failure::{LoopFailed, LoopUnavailable};
pub use idle::{IdleStrategy, Step, Wait};
pub use inline::WrongThread;
pub use virtual_clock::VirtualClock;
