//! Counts of what went over a link.

use super::Pid;

/// Totals of the links to one peer: the one that is there, and those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkAccount {
    pub(crate) pid: Pid,
    pub(crate) acknowledged: u64,
    pub(crate) bytes_held: u64,
    pub(crate) bytes_unread: u64,
    pub(crate) sends: u64,
    pub(crate) segments: u64,
}

/// What could not be delivered to one peer before a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Undelivered {
    /// The peer.
    pub pid: Pid,
    /// Envelopes that it has not acknowledged.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
}
