//! Faults and their times, made from a seed alone.

mod draw;
mod fault;
mod lie;

pub use draw::{Choice, draw};
pub use fault::{Fault, Injected, Kind, LIE_TIME, REPLAY_TIME};
pub use lie::Lie;
