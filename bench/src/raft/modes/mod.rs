//! Measurements beside writes per second: an idle group, the loss of its leader, and a large snapshot beside writes.

mod failover;
mod idle;
mod rounds;
mod snapshot;

pub use failover::{Failover, failover, failover_table};
pub use idle::{Idle, idle, idle_table};
pub use snapshot::{SnapshotBesideWrites, snapshot, snapshot_table};
