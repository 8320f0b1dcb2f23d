//! Errors of starting a server.

use std::{fmt, io};

use cluster_engine::{LoopFailed, Pid, Unavailable};

use crate::ConfigError;

/// Error of starting a server: the cause, and in its text the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is invalid, or has no server with this pid.
    Config(ConfigError),
    /// The server already runs in this process.
    AlreadyRunning {
        /// Pid of the server.
        pid: Pid,
    },
    /// The server cannot listen on its own address.
    Listen {
        /// Address that the server should listen on.
        address: String,
        /// Error from the operating system.
        error: io::Error,
    },
    /// An address cannot be resolved.
    Resolve {
        /// Address that cannot be resolved.
        address: String,
        /// Error from the resolver.
        error: io::Error,
    },
    /// The kernel lacks or forbids io_uring, or a feature of it that the engine needs.
    Engine(Unavailable),
    /// An event loop of the engine that should run the server has failed.
    EngineFailed {
        /// Description of the failure.
        message: String,
    },
    /// The operating system returned no random bytes for the incarnation.
    Random(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(error) => error.fmt(f),
            StartError::AlreadyRunning { pid } => {
                write!(f, "server {pid} runs already in this process; stop it first, or give this one another pid")
            }
            StartError::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use: another process listens there; stop it, or configure another port")
            }
            StartError::Listen { address, error } => {
                write!(f, "cannot listen on {address}: {error}; configure an address of this machine")
            }
            StartError::Resolve { address, error } => {
                write!(f, "{address} leads nowhere: {error}; correct the host name in the configuration")
            }
            StartError::Engine(error) => error.fmt(f),
            StartError::EngineFailed { message } => {
                write!(f, "the event loops of this engine have failed ({message}); start the server on another engine")
            }
            StartError::Random(error) => write!(f, "no random bytes to be had: {error}; is /dev/urandom there?"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Listen { error, .. } | StartError::Resolve { error, .. } => Some(error),
            StartError::Config(error) => Some(error),
            StartError::Engine(error) => Some(error),
            StartError::AlreadyRunning { .. } | StartError::EngineFailed { .. } | StartError::Random(_) => None,
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> StartError {
        StartError::Config(error)
    }
}

impl From<LoopFailed> for StartError {
    fn from(failed: LoopFailed) -> StartError {
        StartError::EngineFailed { message: failed.message }
    }
}

impl From<Unavailable> for StartError {
    fn from(error: Unavailable) -> StartError {
        StartError::Engine(error)
    }
}
