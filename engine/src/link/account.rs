//! Totals of the traffic on links.

use super::Pid;

/// Totals of all links to one peer, the present one and earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkAccount {
    pub(crate) pid: Pid,
    pub(crate) acknowledged: u64,
    pub(crate) bytes_held: u64,
    pub(crate) bytes_unread: u64,
    pub(crate) sends: u64,
    pub(crate) segments: u64,
}

/// Envelopes to one peer that were not delivered before a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Undelivered {
    /// Pid of the peer.
    pub pid: Pid,
    /// Number of envelopes that the peer has not acknowledged.
    pub messages: u64,
    /// Payload bytes of these envelopes.
    pub bytes: u64,
}
