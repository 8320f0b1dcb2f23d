//! Messages and bytes, by peer.

use std::sync::{Arc, Mutex, PoisonError};

use crate::link::{DropReason, Inbound, Pid};
use crate::stream::Counters;

/// What went to and came from one peer since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// The peer.
    pub pid: Pid,
    /// Envelopes that the outbox took for it.
    pub messages_out: u64,
    /// Their payload bytes.
    pub bytes_out: u64,
    /// Envelopes from it that were taken out of the inbox.
    pub messages_in: u64,
    /// Their payload bytes.
    pub bytes_in: u64,
    /// Envelopes of those that the outbox took which were given up because their time to live was over.
    pub dropped_expired: u64,
    /// And because they were best effort, and the connection was lost before they were acknowledged.
    pub dropped_best_effort: u64,
    /// And because the peer was removed.
    pub dropped_removed: u64,
}

/// The counters of a server's streams. Counting takes no lock: each stream has counters of its own, read here.
#[derive(Debug)]
pub(crate) struct StatsTable {
    peers: Vec<Pid>,
    streams: Mutex<Vec<Streams>>,
}

#[derive(Clone, Debug, Default)]
struct Streams {
    sending: Vec<Arc<Counters>>,
    receiving: Vec<Arc<Inbound>>,
    expired: u64,
    best_effort: u64,
    removed: u64,
}

impl StatsTable {
    pub(crate) fn new(peers: Vec<Pid>) -> Arc<StatsTable> {
        let streams = vec![Streams::default(); peers.len()];
        Arc::new(StatsTable { peers, streams: Mutex::new(streams) })
    }

    pub(crate) fn sends(&self, index: usize, counters: Arc<Counters>) {
        self.with(index, |streams| streams.sending.push(counters));
    }

    pub(crate) fn receives(&self, index: usize, inbound: Arc<Inbound>) {
        self.with(index, |streams| streams.receiving.push(inbound));
    }

    pub(crate) fn dropped(&self, index: usize, count: u64, reason: DropReason) {
        self.with(index, |streams| match reason {
            DropReason::Expired => streams.expired += count,
            DropReason::BestEffort => streams.best_effort += count,
            DropReason::PeerRemoved => streams.removed += count,
        });
    }

    fn with(&self, index: usize, change: impl FnOnce(&mut Streams)) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(streams) = streams.get_mut(index) {
            change(streams);
        }
    }

    pub(crate) fn read(&self) -> Vec<PeerStats> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.peers.iter().zip(streams.iter()).map(|(pid, streams)| PeerStats {
            pid: *pid,
            messages_out: streams.sending.iter().map(|counters| counters.messages()).sum(),
            bytes_out: streams.sending.iter().map(|counters| counters.bytes()).sum(),
            messages_in: streams.receiving.iter().map(|inbound| inbound.counters().messages()).sum(),
            bytes_in: streams.receiving.iter().map(|inbound| inbound.counters().bytes()).sum(),
            dropped_expired: streams.expired,
            dropped_best_effort: streams.best_effort,
            dropped_removed: streams.removed,
        });
        rows.collect()
    }
}
