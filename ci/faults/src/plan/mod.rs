//! Which faults come when, made from a seed alone.

mod draw;
mod fault;

pub use draw::{Choice, draw};
pub use fault::{Fault, Injected, Kind};
