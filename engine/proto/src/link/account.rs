//! Totals of the traffic on links.

use super::Pid;

/// Totals of all links to one peer, the present one and earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkAccount {
    /// Pid of the peer.
    pub pid: Pid,
    /// Number of envelopes that the peer has acknowledged.
    pub acknowledged: u64,
    /// Bytes that are kept for the peer: neither acknowledged nor given up.
    pub bytes_held: u64,
    /// Bytes of the peer in the inbox that the application has not taken.
    pub bytes_unread: u64,
    /// Number of batches sent.
    pub sends: u64,
    /// Number of segments sent.
    pub segments: u64,
}

/// Envelopes to one peer that were not delivered.
///
/// Their delivery ended with a stop of the server, or a removal of the peer. They may have arrived, if only their
/// acknowledgement is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Undelivered {
    /// Pid of the peer.
    pub pid: Pid,
    /// Number of envelopes that the peer has not acknowledged.
    pub messages: u64,
    /// Payload bytes of these envelopes.
    pub bytes: u64,
}
