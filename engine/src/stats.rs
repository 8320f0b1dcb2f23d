//! Messages and bytes, by peer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// Envelopes of `messages_out` that the peer has acknowledged: they are in its inbox, or were.
    pub acknowledged: u64,
    /// And those that are still to be sent, or sent and not acknowledged.
    pub in_flight: u64,
    /// And those that were given up because their time to live was over.
    pub dropped_expired: u64,
    /// And those that were best effort, when the connection was lost before they were acknowledged.
    pub dropped_best_effort: u64,
    /// And those that were not acknowledged when the peer was removed.
    pub dropped_removed: u64,
    /// And those that were not acknowledged when this server stopped.
    pub dropped_stopped: u64,
    /// Bytes of the outboxes' memory that keep what it has not acknowledged, frame headers included. At most `outbox_bytes`
    /// for each outbox and lane, and as much again, or 4 MiB, or one envelope, of what was sent by reference.
    pub bytes_held: u64,
    /// Bytes that came from it and were not taken out of the inbox, frame headers included. At most `inbox_bytes` for each of
    /// its outboxes and lanes, or one envelope.
    pub bytes_unread: u64,
}

/// What a link's shard knows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkAccount {
    pub(crate) pid: Pid,
    pub(crate) acknowledged: u64,
    pub(crate) bytes_held: u64,
    pub(crate) bytes_unread: u64,
}

impl LinkAccount {
    /// Several links together: the peer was removed and added again.
    pub(crate) fn and(self, other: LinkAccount) -> LinkAccount {
        LinkAccount {
            pid: self.pid,
            acknowledged: self.acknowledged + other.acknowledged,
            bytes_held: self.bytes_held + other.bytes_held,
            bytes_unread: self.bytes_unread + other.bytes_unread,
        }
    }
}

impl PeerStats {
    /// Envelopes that were given up, for whatever reason.
    ///
    /// `messages_out = acknowledged + in_flight + dropped()`, always.
    pub fn dropped(&self) -> u64 {
        self.dropped_expired + self.dropped_best_effort + self.dropped_removed + self.dropped_stopped
    }

    /// Completes the account, where `acknowledged` is what was known before the rest was read; `None`: the server has
    /// stopped, and what is not acknowledged is dropped.
    pub(crate) fn settle(&mut self, acknowledged: Option<u64>) {
        let rest = self.messages_out - self.dropped().min(self.messages_out);
        self.acknowledged = acknowledged.map_or(rest, |acknowledged| acknowledged.min(rest));
        self.in_flight = rest - self.acknowledged;
    }
}

/// The counters of a server's streams. Counting takes no lock: each stream has counters of its own, read here.
#[derive(Debug)]
pub(crate) struct StatsTable {
    /// By link.
    streams: Mutex<Vec<Streams>>,
}

#[derive(Clone, Debug, Default)]
struct Streams {
    pid: Pid,
    sending: Vec<Arc<Counters>>,
    receiving: Vec<Arc<Inbound>>,
    expired: u64,
    best_effort: u64,
    removed: u64,
    stopped: u64,
}

impl StatsTable {
    pub(crate) fn new() -> Arc<StatsTable> {
        Arc::new(StatsTable { streams: Mutex::default() })
    }

    /// The next link is to `pid`.
    pub(crate) fn add(&self, pid: Pid) {
        self.lock().push(Streams { pid, ..Streams::default() });
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

    /// The server has stopped with so many envelopes unacknowledged.
    pub(crate) fn stopped(&self, pid: Pid, count: u64) {
        if let Some(streams) = self.lock().iter_mut().rev().find(|streams| streams.pid == pid) {
            streams.stopped += count;
        }
    }

    fn with(&self, index: usize, change: impl FnOnce(&mut Streams)) {
        if let Some(streams) = self.lock().get_mut(index) {
            change(streams);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Streams>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By pid, ascending. A peer that was removed and added again has one row for all its links.
    pub(crate) fn read(&self) -> Vec<PeerStats> {
        let mut rows = BTreeMap::new();
        for streams in self.lock().iter() {
            let row = rows.entry(streams.pid).or_insert(PeerStats { pid: streams.pid, ..PeerStats::default() });
            row.messages_out += streams.sending.iter().map(|counters| counters.messages()).sum::<u64>();
            row.bytes_out += streams.sending.iter().map(|counters| counters.bytes()).sum::<u64>();
            row.messages_in += streams.receiving.iter().map(|inbound| inbound.counters().messages()).sum::<u64>();
            row.bytes_in += streams.receiving.iter().map(|inbound| inbound.counters().bytes()).sum::<u64>();
            row.dropped_expired += streams.expired;
            row.dropped_best_effort += streams.best_effort;
            row.dropped_removed += streams.removed;
            row.dropped_stopped += streams.stopped;
        }
        rows.into_values().collect()
    }
}
