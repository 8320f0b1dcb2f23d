//! Errors of injecting a fault into a mock cluster.

use std::fmt;
use std::time::Duration;

use crate::Pid;

/// Error of injecting an invalid fault. The cluster is unchanged.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FaultError {
    /// A server is in two groups of a partition, or twice in one.
    NamedTwice {
        /// Pid of the server.
        pid: Pid,
    },
    /// A server is not in the cluster.
    UnknownPid {
        /// Pid of the server.
        pid: Pid,
    },
    /// A number is not a probability from 0 to 1.
    Probability {
        /// Effect that has the probability: "drop", "duplicate" or "reorder".
        of: &'static str,
        /// Number that was given.
        value: f64,
    },
    /// A range of delays ends before it begins.
    Range {
        /// Begin of the range.
        least: Duration,
        /// End of the range.
        most: Duration,
    },
    /// A bandwidth is 0 bytes per second: no message would ever arrive.
    NoBandwidth,
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultError::NamedTwice { pid } => {
                write!(f, "server {pid} stands twice in a partition; name it in one group, once")
            }
            FaultError::UnknownPid { pid } => {
                write!(f, "no server has pid {pid}; add it to the mock first, or correct the number")
            }
            FaultError::Probability { of, value } => {
                write!(f, "{value} is not a probability to {of} a message; give a number from 0 to 1")
            }
            FaultError::Range { least, most } => {
                write!(f, "a delay from {least:?} to {most:?} ends before it begins; give the shorter one first")
            }
            FaultError::NoBandwidth => {
                f.write_str("with a bandwidth of 0 nothing would ever arrive; cut the link instead")
            }
        }
    }
}

impl std::error::Error for FaultError {}
