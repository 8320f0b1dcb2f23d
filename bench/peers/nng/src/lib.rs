//! A server over NNG, as [`ZmqServer`](../cluster_bench_zmq) is one over ZeroMQ: a PULL socket that it listens at, and a PUSH
//! socket for its peer. The bindings cover what that needs and nothing else.

#![deny(missing_docs)]

#[cfg(has_nng)]
mod ffi;
#[cfg(has_nng)]
mod server;

#[cfg(not(has_nng))]
mod absent;

#[cfg(not(has_nng))]
pub use absent::Server;
#[cfg(has_nng)]
pub use server::Server;

use std::fmt;

/// What went wrong, in the library's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "libnng: {}", self.0)
    }
}

impl std::error::Error for Error {}
