//! Messages and bytes, by peer.

use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::link::{DropReason, Inbound, Pid};
use crate::stream::Counters;
use crate::wire::MAX_STREAMS;

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
    /// How often something was handed to the kernel for it. Zero once this server has stopped.
    pub sends_out: u64,
    /// Segments that were handed over so, acknowledgements and heartbeats included: `segments_out / sends_out` of them at
    /// once, with `messages_out / segments_out` envelopes in each. Zero once this server has stopped.
    pub segments_out: u64,
}

/// What a link's shard knows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkAccount {
    pub(crate) pid: Pid,
    pub(crate) acknowledged: u64,
    pub(crate) bytes_held: u64,
    pub(crate) bytes_unread: u64,
    pub(crate) sends: u64,
    pub(crate) segments: u64,
}

impl LinkAccount {
    /// Several links together: the peer was removed and added again.
    pub(crate) fn and(self, other: LinkAccount) -> LinkAccount {
        LinkAccount {
            pid: self.pid,
            acknowledged: self.acknowledged + other.acknowledged,
            bytes_held: self.bytes_held + other.bytes_held,
            bytes_unread: self.bytes_unread + other.bytes_unread,
            sends: self.sends + other.sends,
            segments: self.segments + other.segments,
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

#[derive(Debug, Default)]
struct Streams {
    pid: Pid,
    sending: Counted<Counters>,
    receiving: Counted<Inbound>,
    expired: u64,
    best_effort: u64,
    removed: u64,
    stopped: u64,
}

/// The counters of streams that come and go. A peer may open a stream with every segment: those that have ended are added
/// up, so that their number makes nobody's memory grow.
#[derive(Debug)]
struct Counted<S> {
    streams: Vec<Arc<S>>,
    ended_messages: u64,
    ended_bytes: u64,
}

impl<S> Default for Counted<S> {
    fn default() -> Counted<S> {
        Counted { streams: Vec::new(), ended_messages: 0, ended_bytes: 0 }
    }
}

impl<S: AsRef<Counters>> Counted<S> {
    fn push(&mut self, stream: Arc<S>) {
        // As often as the table would have to grow, so that it costs a stream little.
        if self.streams.len() == self.streams.capacity() {
            self.add_up_ended();
            self.streams.reserve(self.streams.len() + 1);
        }
        self.streams.push(stream);
    }

    fn add_up_ended(&mut self) {
        self.streams.retain(|stream| {
            let ended = Arc::strong_count(stream) == 1;
            if ended {
                // Synchronizes with the drop of the last that counted.
                fence(Ordering::Acquire);
                self.ended_messages += stream.as_ref().as_ref().messages();
                self.ended_bytes += stream.as_ref().as_ref().bytes();
            }
            !ended
        });
    }

    fn messages(&self) -> u64 {
        self.ended_messages + self.streams.iter().map(|stream| stream.as_ref().as_ref().messages()).sum::<u64>()
    }

    fn bytes(&self) -> u64 {
        self.ended_bytes + self.streams.iter().map(|stream| stream.as_ref().as_ref().bytes()).sum::<u64>()
    }
}

impl StatsTable {
    pub(crate) fn new() -> Arc<StatsTable> {
        Arc::new(StatsTable { streams: Mutex::default() })
    }

    /// The next link is to `pid`.
    pub(crate) fn add(&self, pid: Pid) {
        self.lock().push(Streams { pid, ..Streams::default() });
    }

    /// Counts a stream to a link, unless the link has as many already as it can. `false`: it has.
    ///
    /// Those count that have a writer, or of which something is not acknowledged.
    pub(crate) fn sends(&self, index: usize, counters: Arc<Counters>) -> bool {
        // A mock counts by itself, and has no links here.
        let mut room = true;
        self.with(index, |streams| {
            if streams.sending.streams.len() >= MAX_STREAMS {
                streams.sending.add_up_ended();
            }
            room = streams.sending.streams.len() < MAX_STREAMS;
            if room {
                streams.sending.push(counters);
            }
        });
        room
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
            row.messages_out += streams.sending.messages();
            row.bytes_out += streams.sending.bytes();
            row.messages_in += streams.receiving.messages();
            row.bytes_in += streams.receiving.bytes();
            row.dropped_expired += streams.expired;
            row.dropped_best_effort += streams.best_effort;
            row.dropped_removed += streams.removed;
            row.dropped_stopped += streams.stopped;
        }
        rows.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::InStream;

    #[test]
    fn streams_that_have_ended_take_no_room_and_stay_counted() {
        let table = StatsTable::new();
        table.add(7);
        let lasting = InStream::new(0, 0, 1 << 20).shared().clone();
        table.receives(0, lasting.clone());
        for round in 0..10_000 {
            let stream = InStream::new(1, 0, 1 << 20).shared().clone();
            table.receives(0, stream.clone());
            stream.consume(24, 1, 3);
            lasting.consume(24 * (round + 1), 1, 5);
        }
        let [row] = table.read()[..] else { panic!("one peer") };
        assert_eq!((row.messages_in, row.bytes_in), (20_000, 80_000));
        let kept = table.lock()[0].receiving.streams.capacity();
        assert!(kept < 64, "room for {kept}");
    }
}
