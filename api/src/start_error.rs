//! Why a server cannot be started.

use std::{fmt, io};

use cluster_engine::{LoopFailed, Pid, Unavailable};

use crate::ConfigError;

/// A server could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is not right, or does not know the pid.
    Config(ConfigError),
    /// The server runs already in this process.
    AlreadyRunning {
        /// Its pid.
        pid: Pid,
    },
    /// The server's own address could not be listened on.
    Listen {
        /// The address.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// An address leads nowhere.
    Resolve {
        /// The address.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// The kernel lacks or forbids io_uring, or something of it.
    Engine(Unavailable),
    /// The event loops of the engine that was to run the server have failed.
    EngineFailed {
        /// Description of the failure.
        message: String,
    },
    /// The operating system gave no random bytes for the incarnation.
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
