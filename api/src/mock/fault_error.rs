//! Why a fault cannot be injected into a mock cluster.

use std::fmt;
use std::time::Duration;

use crate::Pid;

/// A fault that makes no sense. Nothing was changed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FaultError {
    /// A server stands in two groups of a partition.
    NamedTwice {
        /// Which.
        pid: Pid,
    },
    /// A server that is not in the cluster.
    UnknownPid {
        /// Which.
        pid: Pid,
    },
    /// Not a probability.
    Probability {
        /// What it was to be the probability of.
        of: &'static str,
        /// What was given.
        value: f64,
    },
    /// A range that ends before it begins.
    Range {
        /// Where it begins.
        least: Duration,
        /// Where it ends.
        most: Duration,
    },
    /// No bytes a second: nothing would ever arrive.
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
