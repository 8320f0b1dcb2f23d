//! ZeroMQ version of the Server interface, over libzmq itself.
//!
//! The engine is compared with this version: servers that know each other by number, each with one PULL socket bound to
//! its address and one PUSH socket for each peer, tuned or not. The libraries that the engine replaces work in this
//! way. The bindings cover only what these servers need.

mod ffi;
mod server;
mod socket;

pub use server::{Envelope, Inbox, Outbox, ZmqServer};
pub use socket::{Context, Error, Message, Pull, Push, Tuning};

/// Returns the version of the linked library, such as `4.3.5`.
pub fn version() -> String {
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    // SAFETY: all three pointers are to integers that may be written.
    unsafe { ffi::zmq_version(&mut major, &mut minor, &mut patch) };
    format!("{major}.{minor}.{patch}")
}
