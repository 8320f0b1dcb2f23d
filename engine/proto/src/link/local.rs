//! Properties and limits of a server that its links need.

use std::time::Duration;

use crate::wire::WireIncarnation;

/// Number of a server, unique in its cluster.
pub type Pid = u64;

/// Pid that stands for every peer. It belongs to no server.
pub const BROADCAST: Pid = u64::MAX;

/// Properties and limits of a server.
#[derive(Clone, Debug)]
pub struct Local {
    /// Pid of the server.
    pub pid: Pid,
    /// Incarnation of the server: random, and drawn anew at each start.
    pub incarnation: WireIncarnation,
    /// Random number that is never sent. Challenges are derived from it.
    pub secret: u64,
    /// Name of the cluster.
    pub cluster: String,
    /// Bytes that a peer may send on all streams before the application has read them.
    pub window_bytes: u64,
    /// Longest envelope payload, in bytes.
    pub max_envelope_bytes: u64,
    /// Limit of the bytes that the kernel holds of a connection in each direction; 0: no limit.
    pub socket_bytes: usize,
    /// Set if checksums cover payloads too, instead of headers alone.
    pub checksum_payload: bool,
    /// Time without any sent segment after which a heartbeat is sent.
    pub heartbeat_interval: Duration,
    /// Time without any received segment after which a peer counts as gone.
    pub peer_timeout: Duration,
    /// Set if links are made at once, instead of when there is something to send.
    pub eager: bool,
}
