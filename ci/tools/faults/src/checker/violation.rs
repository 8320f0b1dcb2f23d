//! Violations: promises that were not kept.

use std::fmt;

use serde::Serialize;

/// Promise of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// Accepted messages arrive, or are accounted for.
    NoLoss,
    /// No message arrives twice within a pair of runs.
    NoDuplicate,
    /// Messages within a pair of runs arrive in order.
    Order,
    /// Only messages that were sent arrive.
    OnlyWhatWasSent,
    /// Messages that were returned to the sender do not arrive.
    FullMeansNotSent,
    /// Messages arrive as they were sent, to the last byte.
    Intact,
    /// Messages are returned only for want of room.
    OnlyFull,
    /// Messages that a flush found acknowledged were in the recipient's inbox.
    Flush,
    /// No message goes to, or comes from, a server that is not a peer.
    Membership,
    /// Counts of dropped messages are exact.
    Perished,
    /// The statistics count the messages taken and delivered.
    Statistics,
    /// After the end of all faults, all messages are delivered, and a stop leaves none undelivered.
    AllDelivered,
    /// A peer that is gone is noticed in time.
    DownInTime,
    /// Restarts are reported, and only restarts.
    Restarts,
    /// A lie is noticed, and the messages lost with it are counted.
    LiesNoticed,
    /// Two servers reset their streams only after they were made to contradict each other.
    Resets,
    /// A live peer is not taken to be gone.
    NoFalseDown,
    /// Traffic resumes soon after a restart.
    ResumeInTime,
    /// Traffic flows unless a fault impedes it.
    Traffic,
    /// A stop ends in time.
    StopInTime,
    /// Memory stays within the configured limits.
    Memory,
    /// A server does not end by itself.
    NoCrash,
    /// A server writes nothing to standard error.
    NoComplaint,
}

impl Promise {
    pub fn name(self) -> &'static str {
        match self {
            Promise::NoLoss => "lost",
            Promise::NoDuplicate => "duplicated",
            Promise::Order => "out of order",
            Promise::OnlyWhatWasSent => "received, but never sent",
            Promise::FullMeansNotSent => "received, but given back",
            Promise::Intact => "corrupt",
            Promise::OnlyFull => "given back without a reason",
            Promise::Flush => "flushed, and not there",
            Promise::Membership => "with one that was removed",
            Promise::Perished => "given up, but counted wrongly",
            Promise::Statistics => "statistics wrong",
            Promise::AllDelivered => "undelivered in the end",
            Promise::DownInTime => "down noticed late",
            Promise::Restarts => "restart told wrongly",
            Promise::LiesNoticed => "a lie was believed",
            Promise::Resets => "began anew without a reason",
            Promise::NoFalseDown => "false down",
            Promise::ResumeInTime => "resumed late",
            Promise::Traffic => "traffic stood still",
            Promise::StopInTime => "stopped late",
            Promise::Memory => "too much memory",
            Promise::NoCrash => "crashed",
            Promise::NoComplaint => "complaints",
        }
    }
}

/// Broken promise, with its place and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub promise: Promise,
    /// Time of the violation; 0 if it is not known.
    pub time: u64,
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (at {})", self.promise.name(), self.text, self.time)
    }
}
