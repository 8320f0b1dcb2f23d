//! A promise that was not kept.

use std::fmt;

use serde::Serialize;

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// What was accepted arrives, or is accounted for.
    NoLoss,
    /// Nothing arrives twice within a pair of runs.
    NoDuplicate,
    /// What arrives within a pair of runs is in order.
    Order,
    /// Nothing arrives that was not sent.
    OnlyWhatWasSent,
    /// What came back to the sender does not arrive as well.
    FullMeansNotSent,
    /// What arrives is what was sent, to the last byte.
    Intact,
    /// Nothing comes back but for want of room.
    OnlyFull,
    /// What a flush says to be acknowledged was in the recipient's inbox.
    Flush,
    /// Nothing goes to, or comes from, who is no peer.
    Membership,
    /// Exactly what was given up is counted so.
    Perished,
    /// The statistics count what was taken and what was given.
    Statistics,
    /// When every fault is over, everything is delivered, and a stop has nothing to report.
    AllDelivered,
    /// A peer that is gone is noticed in time.
    DownInTime,
    /// A restart is told, and only a restart.
    Restarts,
    /// A lie is noticed, and the messages that are lost with it are counted.
    LiesNoticed,
    /// Two servers begin anew only where they were made to contradict each other.
    Resets,
    /// A peer that is there is not taken to be gone.
    NoFalseDown,
    /// Traffic resumes soon after a restart.
    ResumeInTime,
    /// Traffic flows where nothing stands in its way.
    Traffic,
    /// A stop ends in time.
    StopInTime,
    /// Memory stays within what is configured.
    Memory,
    /// A server does not end by itself.
    NoCrash,
    /// A server has nothing to say on standard error.
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

/// A promise that was not kept, where and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub promise: Promise,
    /// Of the clock; 0 where it is not known.
    pub time: u64,
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (at {})", self.promise.name(), self.text, self.time)
    }
}
