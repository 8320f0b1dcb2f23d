//! Server of a mock cluster.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cluster_engine::mock::Ends;
use cluster_engine::{Event, PeerState, PeerStats, Undelivered};

use super::runner::Keeper;
use crate::{Events, Inbox, Outbox, PeerError, Pid, Server, StopError};

/// Time that a stop waits for deliveries, equal to that of the real node.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Server of a mock [`Cluster`](super::Cluster), made by [`add_server`](super::Cluster::add_server).
///
/// Its inbox, outbox and events are those of the real [`Node`](crate::Node); only the network between servers is
/// simulated. Dropping a node stops the server without waiting for deliveries.
pub struct Node {
    pid: Pid,
    /// Number of this start of the pid.
    start: u32,
    inbox: Inbox,
    outbox: Outbox,
    events: Events,
    peers: Peers,
    /// Membership version that the outbox knows.
    grouped: u64,
    /// Members of the cluster that this server has removed from its peers.
    removed: BTreeSet<Pid>,
    /// Statistics at the time of the stop.
    counted: Option<Vec<PeerStats>>,
    keeper: Arc<Keeper>,
}

/// List of peers, and the next list if the membership has changed since.
///
/// The lists form a chain because `peers` borrows a list to its caller, and must be able to read a newer one meanwhile.
struct Peers {
    membership: u64,
    pids: Vec<Pid>,
    next: OnceLock<Box<Peers>>,
}

impl Node {
    pub(super) fn new(pid: Pid, start: u32, ends: Ends, first_id: i64, membership: u64, keeper: Arc<Keeper>) -> Node {
        let mut ends = ends;
        let peers = Peers { membership, pids: ends.sender.peers().to_vec(), next: OnceLock::new() };
        Node {
            pid,
            start,
            inbox: Inbox::new(ends.receiver, keeper.loop_handle.clone()),
            outbox: Outbox::new(ends.sender, pid, first_id),
            events: Events::new(ends.events),
            peers,
            grouped: membership,
            removed: BTreeSet::new(),
            counted: None,
            keeper,
        }
    }

    fn membership(&self) -> u64 {
        self.keeper.runner.membership.load(Ordering::Acquire)
    }

    /// Reads the present peers.
    fn read_peers(&self) -> Peers {
        let membership = self.membership();
        let mut pids = self.keeper.runner.with(|network| network.members.peers_of(self.pid));
        pids.retain(|pid| !self.removed.contains(pid));
        Peers { membership, pids, next: OnceLock::new() }
    }

    #[cold]
    fn regroup(&mut self) {
        let Peers { membership, pids, .. } = self.read_peers();
        let (pid, start) = (self.pid, self.start);
        self.keeper.runner.with(|network| {
            if network.members.start_of(pid) == start {
                network.switchboard.regroup(pid, &pids);
            }
        });
        self.grouped = membership;
        self.peers = Peers { membership, pids, next: OnceLock::new() };
    }
}

impl Server for Node {
    fn pid(&self) -> Pid {
        self.pid
    }

    fn peers(&self) -> &[Pid] {
        let mut last = &self.peers;
        while let Some(next) = last.next.get() {
            last = next;
        }
        if last.membership != self.membership() {
            last = last.next.get_or_init(|| Box::new(self.read_peers()));
        }
        &last.pids
    }

    fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    fn outbox(&mut self) -> &mut Outbox {
        if self.grouped != self.membership() {
            self.regroup();
        }
        &mut self.outbox
    }

    fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    /// Adds a peer that this server had removed. A mock ignores the address: only members of the cluster (see
    /// [`Cluster::add_server`](super::Cluster::add_server)) can be peers.
    ///
    /// # Errors
    /// [`PeerError::Itself`] for this server's own pid, [`PeerError::Unknown`] if the pid is not a member of the
    /// cluster.
    fn add_peer(&mut self, pid: Pid, _address: &str) -> Result<(), PeerError> {
        if pid == self.pid {
            return Err(PeerError::Itself { pid });
        }
        if !self.keeper.runner.with(|network| network.members.peers_of(self.pid)).contains(&pid) {
            return Err(PeerError::Unknown { pid });
        }
        if self.removed.remove(&pid) {
            self.regroup();
            self.keeper.runner.with(|network| network.add_peer(self.pid, pid));
        }
        Ok(())
    }

    fn remove_peer(&mut self, pid: Pid) -> Result<Undelivered, PeerError> {
        if !self.peers().contains(&pid) {
            return Err(PeerError::Unknown { pid });
        }
        self.removed.insert(pid);
        self.regroup();
        Ok(self.keeper.runner.with(|network| {
            let undelivered = network.switchboard.give_up(self.pid, pid);
            network.switchboard.tell(self.pid, Event::Removed { pid }, network.time());
            undelivered
        }))
    }

    fn stats(&self) -> Vec<PeerStats> {
        if let Some(counted) = &self.counted {
            return counted.clone();
        }
        let peers = self.peers();
        self.keeper.runner.with(|network| network.switchboard.stats(self.pid, peers))
    }

    /// State of the link to a peer, as on the real server. The mock connects all peers that can reach each other at
    /// once, as with [`Connect::Eager`](crate::Connect).
    fn peer_state(&self, pid: Pid) -> Option<PeerState> {
        if !self.peers().contains(&pid) {
            return None;
        }
        self.keeper.runner.with(|network| {
            let runs = network.members.start_of(self.pid) == self.start;
            runs.then(|| network.switchboard.peer_state(self.pid, pid, network.time())).flatten()
        })
    }

    fn stop(&mut self) -> Result<(), StopError> {
        self.counted = Some(self.stats());
        let undelivered = self.keeper.runner.stop(self.pid, self.start, STOP_PATIENCE);
        if undelivered.is_empty() { Ok(()) } else { Err(StopError::new(undelivered)) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // `stop` reports undelivered envelopes. Dropping the node discards that report.
        self.keeper.runner.stop(self.pid, self.start, Duration::ZERO);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("pid", &self.pid).field("start", &self.start).finish_non_exhaustive()
    }
}
