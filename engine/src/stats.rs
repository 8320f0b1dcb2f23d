//! Counts of envelopes and bytes, by peer.

use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::link::{BROADCAST, DropReason, LinkAccount, Pid, RecvShared, Undelivered};
use crate::roster::LinkId;
use crate::stream::Counters;
use crate::wire::MAX_STREAMS;

/// Traffic with one peer since the server started.
///
/// A peer that was removed and added again keeps its counts, unless 1,024 other peers were removed in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// Pid of the peer. The row with the pid [`BROADCAST`] sums up the peers that were removed before the latest 1,024
    /// removals and were not added again by then.
    pub pid: Pid,
    /// Envelopes to this peer that outboxes accepted.
    pub messages_out: u64,
    /// Payload bytes of the envelopes in `messages_out`.
    pub bytes_out: u64,
    /// Envelopes from this peer that were taken out of the inbox.
    pub messages_in: u64,
    /// Payload bytes of the envelopes in `messages_in`.
    pub bytes_in: u64,
    /// Envelopes of `messages_out` that the peer has acknowledged. An acknowledged envelope is or was in the peer's
    /// inbox.
    pub acknowledged: u64,
    /// Envelopes of `messages_out` that are still to be sent, or are sent and not yet acknowledged.
    pub in_flight: u64,
    /// Envelopes of `messages_out` that were dropped because their time to live was over.
    pub dropped_expired: u64,
    /// Best-effort envelopes of `messages_out` that were dropped because the connection was lost before they were
    /// acknowledged.
    pub dropped_best_effort: u64,
    /// Envelopes of `messages_out` that were dropped because the peer was removed before it had acknowledged them.
    pub dropped_removed: u64,
    /// Envelopes of `messages_out` that were dropped because they are longer than the peer accepts.
    pub dropped_too_large: u64,
    /// Envelopes of `messages_out` that were dropped because they were for one incarnation of the peer, and another one
    /// was there.
    pub dropped_other_incarnation: u64,
    /// Envelopes of `messages_out` that their sender has withdrawn before they were sent.
    pub dropped_withdrawn: u64,
    /// Envelopes of `messages_out` that were dropped because this server stopped before they were acknowledged.
    pub dropped_stopped: u64,
    /// Bytes of outbox memory that hold unacknowledged envelopes to this peer, frame headers included. The limit for
    /// each outbox and lane is `outbox_bytes`, plus the payloads sent by reference: up to `outbox_bytes`, 4 MiB or one
    /// envelope, whichever is most.
    pub bytes_held: u64,
    /// Bytes received from this peer that were not yet taken out of the inbox, frame headers included. The limit is
    /// `inbox_bytes`, plus one envelope for each lane.
    pub bytes_unread: u64,
    /// Bytes received from this peer that were acknowledged and could not be read, because they followed a malformed
    /// frame. Either the peer does not speak this protocol, or the bytes were changed on the way. Their connection is
    /// closed, if it is still open.
    pub bytes_lost: u64,
    /// Calls that handed segments for this peer to the kernel. Zero once this server has stopped.
    pub sends_out: u64,
    /// Segments to this peer that were handed to the kernel, acknowledgements and heartbeats included. One call hands
    /// over `segments_out / sends_out` segments on average, and one segment contains `messages_out / segments_out`
    /// envelopes. Zero once this server has stopped.
    pub segments_out: u64,
}

impl PeerStats {
    /// Returns the number of envelopes to this peer that were dropped for any reason.
    ///
    /// `messages_out = acknowledged + in_flight + dropped()` always holds.
    pub fn dropped(&self) -> u64 {
        self.dropped_expired
            + self.dropped_best_effort
            + self.dropped_removed
            + self.dropped_too_large
            + self.dropped_other_incarnation
            + self.dropped_withdrawn
            + self.dropped_stopped
    }

    /// Computes `acknowledged` and `in_flight` from the other counts. `acknowledged` has to be read before these.
    /// `None` if the server has stopped: everything that was not dropped is acknowledged.
    pub(crate) fn settle(&mut self, acknowledged: Option<u64>) {
        let rest = self.messages_out - self.dropped().min(self.messages_out);
        self.acknowledged = acknowledged.map_or(rest, |acknowledged| acknowledged.min(rest));
        self.in_flight = rest - self.acknowledged;
    }

    /// Completes the row with the shard's counts of the peer's links. `None` if the server has stopped.
    pub(crate) fn complete(&mut self, account: Option<LinkAccount>) {
        // `self` already contains the counts of the links that are gone.
        self.settle(account.map(|account| self.acknowledged + account.acknowledged));
        let LinkAccount { bytes_held, bytes_unread, sends, segments, .. } = account.unwrap_or_default();
        (self.bytes_held, self.bytes_unread) = (bytes_held, bytes_unread);
        let ended = if account.is_some() { (self.sends_out, self.segments_out) } else { (0, 0) };
        (self.sends_out, self.segments_out) = (ended.0 + sends, ended.1 + segments);
    }

    /// Adds the counts of another row.
    fn add(&mut self, other: &PeerStats) {
        self.messages_out += other.messages_out;
        self.bytes_out += other.bytes_out;
        self.messages_in += other.messages_in;
        self.bytes_in += other.bytes_in;
        self.acknowledged += other.acknowledged;
        self.dropped_expired += other.dropped_expired;
        self.dropped_best_effort += other.dropped_best_effort;
        self.dropped_removed += other.dropped_removed;
        self.dropped_too_large += other.dropped_too_large;
        self.dropped_other_incarnation += other.dropped_other_incarnation;
        self.dropped_withdrawn += other.dropped_withdrawn;
        self.dropped_stopped += other.dropped_stopped;
        self.bytes_lost += other.bytes_lost;
        self.sends_out += other.sends_out;
        self.segments_out += other.segments_out;
    }
}

/// Counters of a server's streams. Counting takes no lock: each stream has its own counters, which are read here.
#[derive(Debug)]
pub(crate) struct StatsTable {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// By slot: the present links.
    links: Vec<Option<Sending>>,
    /// Present peers, and removed peers whose earlier link the shard still remembers.
    rows: BTreeMap<Pid, Row>,
    /// Sum of all other former peers.
    forgotten: Option<Row>,
}

/// Traffic to a peer on one link.
#[derive(Debug)]
struct Sending {
    generation: u32,
    pid: Pid,
    streams: Counted<Counters>,
}

/// Counters of a peer, except for those of traffic to it on present links.
#[derive(Debug, Default)]
struct Row {
    /// Number of links to the peer. Two if the peer was added again before the loop has removed its earlier link.
    links: u32,
    receiving: Counted<RecvShared>,
    ended: PeerStats,
}

impl Row {
    fn add(&mut self, other: Row) {
        self.receiving.add(other.receiving);
        self.ended.add(&other.ended);
    }
}

/// Counters of streams that come and go. A peer may open a stream with every segment, so the counts of ended streams
/// are added up: their number makes no memory grow.
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
        // Done only when the table would have to grow, so that it costs little for each stream.
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
                // Synchronizes with the drop of the last clone, whose holder counted.
                fence(Ordering::Acquire);
                self.ended_messages += stream.as_ref().as_ref().messages();
                self.ended_bytes += stream.as_ref().as_ref().bytes();
            }
            !ended
        });
    }

    fn add(&mut self, other: Counted<S>) {
        self.ended_messages += other.ended_messages;
        self.ended_bytes += other.ended_bytes;
        other.streams.into_iter().for_each(|stream| self.push(stream));
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
        Arc::new(StatsTable { counts: Mutex::default() })
    }

    /// Adds the link of a peer.
    pub(crate) fn add(&self, link: LinkId, pid: Pid) {
        let mut counts = self.lock();
        let index = link.index as usize;
        if counts.links.len() <= index {
            counts.links.resize_with(index + 1, || None);
        }
        counts.links[index] = Some(Sending { generation: link.generation, pid, streams: Counted::default() });
        counts.rows.entry(pid).or_default().links += 1;
    }

    /// Adds a stream to a link. Returns `false` if the link already has as many streams as it can. A link that is gone
    /// accepts any stream, as no envelope is written to it.
    ///
    /// The limit counts streams that have a writer, or envelopes that are not acknowledged.
    pub(crate) fn sends(&self, link: LinkId, counters: Arc<Counters>) -> bool {
        let mut counts = self.lock();
        let Some(Sending { streams, .. }) = counts.sending(link) else { return true };
        if streams.streams.len() >= MAX_STREAMS {
            streams.add_up_ended();
        }
        let room = streams.streams.len() < MAX_STREAMS;
        if room {
            streams.push(counters);
        }
        room
    }

    pub(crate) fn receives(&self, pid: Pid, inbound: Arc<RecvShared>) {
        self.with(pid, |row| row.receiving.push(inbound));
    }

    pub(crate) fn dropped(&self, pid: Pid, count: u64, reason: DropReason) {
        self.with(pid, |row| {
            *reason.pick([
                &mut row.ended.dropped_expired,
                &mut row.ended.dropped_best_effort,
                &mut row.ended.dropped_removed,
                &mut row.ended.dropped_too_large,
                &mut row.ended.dropped_other_incarnation,
                &mut row.ended.dropped_withdrawn,
            ]) += count;
        });
    }

    /// Counts received bytes that could not be read.
    pub(crate) fn lost(&self, pid: Pid, bytes: u64) {
        self.with(pid, |row| row.ended.bytes_lost += bytes);
    }

    /// Returns an upper bound of the undelivered envelopes, by peer: those that are not known to be acknowledged or
    /// dropped.
    pub(crate) fn undelivered_at_most(&self) -> Vec<Undelivered> {
        let rows = self.read().into_iter();
        let rest = rows.map(|row| Undelivered {
            pid: row.pid,
            messages: row.messages_out.saturating_sub(row.acknowledged + row.dropped()),
            bytes: row.bytes_out,
        });
        rest.filter(|undelivered| undelivered.messages > 0).collect()
    }

    /// Counts the envelopes to a peer that were unacknowledged when the server stopped.
    pub(crate) fn stopped(&self, pid: Pid, count: u64) {
        self.with(pid, |row| row.ended.dropped_stopped += count);
    }

    /// Removes a link that no envelope is written to any more. Its counts are kept.
    pub(crate) fn removed(&self, link: LinkId) {
        let mut counts = self.lock();
        if counts.sending(link).is_none() {
            return;
        }
        if let Some(Sending { pid, streams, .. }) = counts.links[link.index as usize].take()
            && let Some(row) = counts.rows.get_mut(&pid)
        {
            row.links -= 1;
            row.ended.messages_out += streams.messages();
            row.ended.bytes_out += streams.bytes();
        }
    }

    /// Adds the counts of a peer that the shard forgets, because it was removed long ago. If it has not become a peer
    /// again, its row is added to the row of all forgotten peers.
    pub(crate) fn forget(&self, known: LinkAccount) {
        let mut counts = self.lock();
        let mut forgotten = Row::default();
        (forgotten.ended.acknowledged, forgotten.ended.sends_out) = (known.acknowledged, known.sends);
        forgotten.ended.segments_out = known.segments;
        if let Some(row) = counts.rows.get_mut(&known.pid).filter(|row| row.links > 0) {
            return row.add(forgotten);
        }
        if let Some(row) = counts.rows.remove(&known.pid) {
            forgotten.add(row);
        }
        counts.forgotten.get_or_insert_default().add(forgotten);
    }

    fn with(&self, pid: Pid, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.lock().rows.get_mut(&pid) {
            change(row);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the rows by pid, ascending. A peer that was removed and added again has one row for all its links.
    pub(crate) fn read(&self) -> Vec<PeerStats> {
        let counts = self.lock();
        let rows = counts.rows.iter().map(|(pid, row)| (*pid, row));
        let forgotten = counts.forgotten.iter().map(|row| (BROADCAST, row));
        let mut rows: Vec<PeerStats> = rows
            .chain(forgotten)
            .map(|(pid, Row { receiving, ended, .. })| PeerStats {
                pid,
                messages_in: receiving.messages(),
                bytes_in: receiving.bytes(),
                ..*ended
            })
            .collect();
        for Sending { pid, streams, .. } in counts.links.iter().flatten() {
            if let Ok(place) = rows.binary_search_by_key(pid, |row| row.pid) {
                rows[place].messages_out += streams.messages();
                rows[place].bytes_out += streams.bytes();
            }
        }
        rows
    }

    /// Returns the numbers of slots for links, and of rows.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let counts = self.lock();
        (counts.links.len(), counts.rows.len())
    }
}

impl Counts {
    fn sending(&mut self, link: LinkId) -> Option<&mut Sending> {
        let sending = self.links.get_mut(link.index as usize)?.as_mut();
        sending.filter(|sending| sending.generation == link.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::RecvCredit;

    fn inbound() -> Arc<RecvShared> {
        RecvShared::new(RecvCredit::new(1 << 20).consumption().clone())
    }

    fn counters(messages: u64, bytes: u64) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        counters.count(messages, bytes);
        counters
    }

    fn account(pid: Pid, acknowledged: u64) -> LinkAccount {
        LinkAccount { pid, acknowledged, sends: 1, segments: 2, ..LinkAccount::default() }
    }

    #[test]
    fn streams_that_have_ended_take_no_room_and_stay_counted() {
        let table = StatsTable::new();
        table.add(LinkId::first(0), 7);
        let lasting = inbound();
        table.receives(7, lasting.clone());
        for _ in 0..10_000 {
            let stream = inbound();
            table.receives(7, stream.clone());
            stream.consume(24, 1, 3);
            lasting.consume(24, 1, 5);
        }
        let [row] = table.read()[..] else { panic!("one peer") };
        assert_eq!((row.messages_in, row.bytes_in), (20_000, 80_000));
        let kept = table.lock().rows[&7].receiving.streams.capacity();
        assert!(kept < 64, "room for {kept}");
    }

    #[test]
    fn a_peer_that_comes_again_keeps_its_row() {
        let table = StatsTable::new();
        let link = |generation| LinkId { index: 0, generation };
        for generation in 0..10_000 {
            table.add(link(generation), 7);
            assert!(table.sends(link(generation), counters(2, 10)));
            assert!(table.sends(link(generation.wrapping_sub(1)), counters(99, 99)), "of a link that is gone");
            table.dropped(7, 2, DropReason::PeerRemoved);
            table.removed(link(generation));
            table.removed(link(generation));
        }
        let [row] = table.read()[..] else { panic!("one peer") };
        assert_eq!((row.messages_out, row.bytes_out, row.dropped()), (20_000, 100_000, 20_000));
        assert_eq!(table.sizes(), (1, 1));
    }

    #[test]
    fn a_forgotten_peer_is_counted_with_the_others_and_the_account_balances() {
        let table = StatsTable::new();
        let unread = inbound();
        for pid in 0..1000 {
            table.add(LinkId::first(0), pid);
            assert!(table.sends(LinkId::first(0), counters(3, 30)));
            table.receives(pid, unread.clone());
            table.dropped(pid, 1, DropReason::PeerRemoved);
            table.removed(LinkId::first(0));
            table.forget(account(pid, 2));
        }
        unread.consume(24, 1, 5);
        let [mut row] = table.read()[..] else { panic!("one row") };
        row.complete(Some(LinkAccount::default()));
        assert_eq!((row.pid, row.messages_out, row.bytes_out), (BROADCAST, 3000, 30_000));
        assert_eq!((row.acknowledged, row.in_flight, row.dropped_removed), (2000, 0, 1000));
        assert_eq!((row.messages_in, row.bytes_in), (1000, 5000), "what is read after that counts");
        assert_eq!((row.sends_out, row.segments_out), (1000, 2000));
        // A peer that has been added again by then is not forgotten.
        table.add(LinkId::first(1), 7);
        table.forget(account(7, 2));
        table.removed(LinkId::first(1));
        assert_eq!(
            table.read().iter().map(|row| (row.pid, row.acknowledged)).collect::<Vec<_>>(),
            [(7, 2), (BROADCAST, 2000)]
        );
    }
}
