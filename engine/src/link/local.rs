//! What a server is, and what it allows, as its links need to know it.

use std::time::Duration;

use crate::wire::WireIncarnation;

/// The number by which servers know each other.
pub type Pid = u64;

/// The pid that stands for every peer. No server can have it.
pub const BROADCAST: Pid = u64::MAX;

/// What a server is, and what it allows.
#[derive(Clone, Debug)]
pub struct Local {
    /// Its pid.
    pub pid: Pid,
    /// Drawn anew each time it starts.
    pub incarnation: WireIncarnation,
    /// Random, never sent: what challenges are made of.
    pub secret: u64,
    /// The cluster's name.
    pub cluster: String,
    /// Bytes that a peer may send on all streams before the application has read them.
    pub window_bytes: u64,
    /// The longest envelope, in bytes.
    pub max_envelope_bytes: u64,
    /// What the kernel may hold of a connection, in each direction, in bytes; 0: as much as it likes.
    pub socket_bytes: usize,
    /// Whether payloads are checksummed, or headers alone.
    pub checksum_payload: bool,
    /// After this much silence of ours a peer is sent a sign of life.
    pub heartbeat_interval: Duration,
    /// After this much silence a peer is taken to be gone.
    pub peer_timeout: Duration,
    /// Whether links are made at once, or when there is something to send.
    pub eager: bool,
}
