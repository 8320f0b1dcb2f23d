//! Logs of the servers: their actions, written so that they survive the sudden end of a process.

mod file;
mod record;

pub use file::{Log, read, tail};
pub use record::{Kind, RECORD_BYTES, Record};
