//! The logs of the servers: what each of them did, written so that it survives the sudden end of its process.

mod file;
mod record;

pub use file::{Log, read, tail};
pub use record::{Kind, RECORD_BYTES, Record};
