//! Types of the openraft group, and the settings that all contenders share.

use std::io::Cursor;
use std::sync::Arc;

use openraft::{BasicNode, Config, SnapshotPolicy};

use crate::raft::content::Write;
use crate::raft::protocol::Settings;

openraft::declare_raft_types!(
    /// Types of the group: clients write values, and are answered nothing but that it was done.
    pub Types:
        D = Write,
        R = (),
        NodeId = u64,
        Node = BasicNode,
        SnapshotData = Cursor<Vec<u8>>,
);

/// A node.
pub type Raft = openraft::Raft<Types>;

/// Returns the configuration of a node.
pub fn config(settings: &Settings) -> Result<Arc<Config>, String> {
    let at_writes = SnapshotPolicy::LogsSinceLast(SNAPSHOT_WRITES);
    let config = Config {
        cluster_name: "bench".to_owned(),
        heartbeat_interval: settings.heartbeat_ms,
        election_timeout_min: settings.election_ms,
        election_timeout_max: 2 * settings.election_ms,
        install_snapshot_timeout: CHUNK_TIMEOUT_MS,
        max_payload_entries: MAX_ENTRIES,
        snapshot_policy: if settings.ballast_bytes == 0 { at_writes } else { SnapshotPolicy::Never },
        max_in_snapshot_log_to_keep: if settings.ballast_bytes == 0 { KEPT_WRITES } else { 0 },
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| error.to_string())
}

/// Most entries in one append.
const MAX_ENTRIES: u64 = 300;
/// Writes between two snapshots.
const SNAPSHOT_WRITES: u64 = 50_000;
/// Writes that stay in the log behind a snapshot.
const KEPT_WRITES: u64 = 10_000;
/// Time for one chunk of a snapshot; the last one is answered when the snapshot is installed.
const CHUNK_TIMEOUT_MS: u64 = 30_000;
