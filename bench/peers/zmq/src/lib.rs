//! The ZeroMQ version of the Server interface, over libzmq itself.
//!
//! This is what the engine is compared with: servers that know each other by number, each with one
//! PULL socket bound at its address and one PUSH socket for each peer, as the libraries do it that
//! the engine replaces; tuned or not. The bindings cover what that needs and nothing else.

mod ffi;
mod server;
mod socket;

pub use server::{Envelope, Inbox, Outbox, ZmqServer};
pub use socket::{Context, Error, Message, Pull, Push, Tuning};

/// The version of the linked library, such as `4.3.5`.
pub fn version() -> String {
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    // SAFETY: three valid places for an integer.
    unsafe { ffi::zmq_version(&mut major, &mut minor, &mut patch) };
    format!("{major}.{minor}.{patch}")
}
