//! Outgoing side of an outbox: its streams, and its copy of the roster.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::PushError;
use super::shared::OutboxShared;
use super::streams::Streams;
use crate::barrier;
use crate::link::Pid;
use crate::mailbox::{Command, Ready};
use crate::roster::{Change, LinkId, LinkKey};
use crate::runtime::LoopHandle;
use crate::stream::{self, Lane, MAX_RING_PAYLOAD, SendQueue};
use crate::wire::{MAX_STREAMS, WireIncarnation};

/// Streams of an outbox, with its copy of the roster.
pub(super) struct Outgoing {
    pub(super) shared: Arc<OutboxShared>,
    pub(super) loop_handle: LoopHandle,
    /// Version of the roster that `peers` (ascending) and `links` are copies of.
    pub(super) version: u64,
    pub(super) peers: Vec<Pid>,
    pub(super) links: Vec<LinkId>,
    pub(super) streams: Streams,
    pub(super) found: Found,
    /// Version of the roster at which the entries of `found` are valid and the server takes envelopes. [`NEVER`]: every
    /// write must check the roster itself.
    pub(super) settled: u64,
    /// Longest payload that this server and every peer accept, as far as is known, in bytes.
    pub(super) least_limit: u64,
    /// Longest payload that is stored in a ring for every recipient, in bytes.
    pub(super) short: usize,
}

/// Version that no roster has.
const NEVER: u64 = u64::MAX;

impl Outgoing {
    pub(super) fn new(shared: Arc<OutboxShared>, loop_handle: LoopHandle) -> Outgoing {
        shared.outboxes.fetch_add(1, Ordering::Relaxed);
        let mut streams = shared.take_streams();
        streams.forget_closed();
        streams.writers_mut().for_each(SendQueue::hand_over);
        let mut outgoing = Outgoing {
            shared,
            loop_handle,
            version: 0,
            peers: Vec::new(),
            links: Vec::new(),
            streams,
            found: Found::default(),
            settled: NEVER,
            least_limit: 0,
            short: 0,
        };
        outgoing.read_roster();
        outgoing.settle();
        outgoing
    }

    #[inline(never)]
    pub(super) fn find(&mut self, pid: Pid) -> Option<usize> {
        let place = self.follow_roster().peers.binary_search(&pid).ok()?;
        let index = self.links[place].index as usize;
        self.found.keep(pid, index);
        Some(index)
    }

    pub(super) fn follow_roster(&mut self) -> &mut Outgoing {
        if self.shared.roster.version() != self.version {
            self.follow_changes();
        }
        self
    }

    /// Applies the changes of the roster since `version`. Reads the whole roster if it keeps too few of them.
    #[cold]
    fn follow_changes(&mut self) {
        match self.shared.roster.changes_since(self.version) {
            Some((version, changes)) => {
                changes.into_iter().for_each(|change| self.follow(change));
                self.version = version;
            }
            None => self.read_roster(),
        }
        self.settle();
    }

    fn follow(&mut self, change: Change) {
        match change {
            Change::Added(pid, link) => {
                if let Err(place) = self.peers.binary_search(&pid) {
                    self.peers.insert(place, pid);
                    self.links.insert(place, link);
                }
                self.streams.add(link);
            }
            Change::Removed(pid, link) => {
                if let Ok(place) = self.peers.binary_search(&pid) {
                    self.peers.remove(place);
                    self.links.remove(place);
                }
                self.streams.remove(link);
                self.found.forget(pid);
            }
            Change::Limited(_) => {}
        }
    }

    fn read_roster(&mut self) {
        let (version, members) = self.shared.roster.read();
        self.version = version;
        self.streams.follow(&members);
        (self.peers, self.links) = members.into_iter().unzip();
        self.found.clear();
    }

    fn settle(&mut self) {
        self.least_limit = self.shared.max_envelope_bytes.min(self.shared.roster.least_limit());
        self.short = self.least_limit.min(MAX_RING_PAYLOAD as u64) as usize;
        // Each write checks the roster itself if sections need more than a light barrier.
        self.settled = if barrier::available() { self.version } else { NEVER };
    }

    /// Checks that this server and the peer at `index` accept an envelope of `length` payload bytes.
    ///
    /// # Errors
    /// `TooLarge` with the limit.
    #[inline]
    pub(super) fn check_length(&self, index: usize, length: usize) -> Result<(), PushError> {
        if length as u64 > self.least_limit { self.look_at_limits(index, length as u64) } else { Ok(()) }
    }

    #[cold]
    fn look_at_limits(&self, index: usize, length: u64) -> Result<(), PushError> {
        let own = self.shared.max_envelope_bytes;
        if length > own {
            return Err(PushError::TooLarge { limit: own });
        }
        match self.streams.link(index).and_then(|link| self.shared.roster.limit_of(link)) {
            Some(limit) if length > limit => Err(PushError::TooLarge { limit }),
            _ => Ok(()),
        }
    }

    /// Checks that the peer at `index` is this incarnation, as far as is known.
    ///
    /// # Errors
    /// `Restarted` if the peer has another incarnation.
    pub(super) fn check_incarnation(&self, index: usize, only: WireIncarnation) -> Result<(), PushError> {
        match self.streams.link(index).and_then(|link| self.shared.roster.incarnation_of(link)) {
            Some(incarnation) if incarnation != only => Err(PushError::Restarted),
            _ => Ok(()),
        }
    }

    /// Returns the stream of the peer at `index` on `lane`, and opens it if necessary.
    ///
    /// # Errors
    /// `Stopped` or `UnknownPid` if the server or the peer is gone. `TooManyOutboxes` or `NoMemory` if the stream
    /// cannot be opened.
    pub(super) fn writer(&mut self, index: usize, lane: Lane) -> Result<&mut SendQueue, PushError> {
        let link = self.shared.allows(self.streams.link(index), self.version)?;
        let slot = self.streams.slot(index, lane);
        if slot.is_none() {
            *slot = Some(open(&self.shared, &self.loop_handle, link, lane)?);
        }
        match slot {
            Some(writer) if !writer.is_closed() => Ok(writer),
            _ if self.shared.is_stopped() || self.loop_handle.is_stopped() => Err(PushError::Stopped),
            _ => Err(PushError::UnknownPid),
        }
    }
}

/// Cache of the peers that were looked up, and of their indices. It has one entry for each hash, so a repeated look-up
/// costs a multiplication and a comparison.
pub(super) struct Found {
    /// Pids and indices. An empty entry has a pid that belongs to another entry.
    entries: Box<[(Pid, usize); 1 << FOUND_BITS]>,
    is_empty: bool,
}

impl Found {
    #[inline(always)]
    pub(super) fn index_of(&self, pid: Pid) -> Option<usize> {
        let (found, index) = self.entries[place_of(pid)];
        (found == pid).then_some(index)
    }

    /// Returns an empty entry: pid 0 belongs to the first place, and pid 1 does not.
    const fn nobody(place: usize) -> (Pid, usize) {
        if place == 0 { (1, 0) } else { (0, 0) }
    }

    fn keep(&mut self, pid: Pid, index: usize) {
        self.entries[place_of(pid)] = (pid, index);
        self.is_empty = false;
    }

    fn forget(&mut self, pid: Pid) {
        let place = place_of(pid);
        if self.entries[place].0 == pid {
            self.entries[place] = Found::nobody(place);
        }
    }

    fn clear(&mut self) {
        if !self.is_empty {
            *self = Found::default();
        }
    }
}

impl Default for Found {
    fn default() -> Found {
        let mut entries = Box::new([Found::nobody(1); 1 << FOUND_BITS]);
        entries[0] = Found::nobody(0);
        Found { entries, is_empty: true }
    }
}

/// Returns the place of a pid by Fibonacci hashing: the high bits of the product depend on all bits of the pid.
#[inline(always)]
fn place_of(pid: Pid) -> usize {
    (pid.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - FOUND_BITS)) as usize
}

/// Base-2 logarithm of the number of entries. They take 8 KiB in each outbox, and sends touch as many cache lines of
/// them as the outbox has peers.
const FOUND_BITS: u32 = 9;

/// Ends streams. Envelopes that are in them are still sent.
pub(super) fn end(streams: Streams, shared: &OutboxShared, loop_handle: &LoopHandle) {
    for link in streams.end() {
        loop_handle.mailbox().ready(Ready::Link(LinkKey { node: shared.node, link }));
    }
}

#[cold]
fn open(shared: &OutboxShared, loop_handle: &LoopHandle, link: LinkId, lane: Lane) -> Result<SendQueue, PushError> {
    if loop_handle.is_stopped() {
        return Err(PushError::Stopped);
    }
    if shared.outboxes.load(Ordering::Relaxed) as usize > MAX_STREAMS / 4 {
        return Err(PushError::TooManyOutboxes);
    }
    // Each stream gets a new number, so that a peer that was removed and added again does not take it for an old
    // stream.
    let id = stream::stream_id(shared.numbers.fetch_add(1, Ordering::Relaxed), lane);
    let references = (shared.ring_bytes as u64).max(stream::LEAST_REFERENCE_BYTES);
    let stream = stream::stream_with(id, shared.ring_bytes, references, shared.callbacks.clone());
    let Ok((writer, reader)) = stream else { return Err(PushError::NoMemory) };
    if !shared.stats.sends(link, writer.counters()) {
        return Err(PushError::TooManyOutboxes);
    }
    let link = LinkKey { node: shared.node, link };
    loop_handle.mailbox().command(Command::Open { link, stream: Box::new(reader) });
    Ok(writer)
}

impl Drop for Outgoing {
    /// Leaves the streams to the next clone, or ends them.
    fn drop(&mut self) {
        self.shared.outboxes.fetch_sub(1, Ordering::Relaxed);
        let version = self.follow_roster().version;
        let streams = mem::take(&mut self.streams);
        // No stream is open: none was opened, or the link has refused them, because it had too many. The next clone
        // opens others.
        if streams.writers().all(SendQueue::is_closed) {
            return;
        }
        if let Err(streams) = self.shared.keep_streams(streams, version) {
            end(streams, &self.shared, &self.loop_handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::BROADCAST;

    #[test]
    fn only_kept_peers_are_found() {
        let mut found = Found::default();
        for pid in (0..5000).chain([BROADCAST - 1, BROADCAST]) {
            assert_eq!(found.index_of(pid), None, "{pid}");
        }
        for pid in 0..5000 {
            found.keep(pid, pid as usize + 7);
            assert_eq!(found.index_of(pid), Some(pid as usize + 7));
        }
        let kept = (0..5000).filter(|pid| found.index_of(*pid) == Some(*pid as usize + 7));
        assert_eq!(kept.count(), 512, "each has a place, and nobody two");
        assert_eq!(found.index_of(BROADCAST), None);
        let kept: Vec<Pid> = (0..5000).filter(|pid| found.index_of(*pid).is_some()).collect();
        for pid in [0, 1, kept[7], kept[7] + 1] {
            found.forget(pid);
            assert_eq!(found.index_of(pid), None);
        }
        let still = kept.iter().filter(|pid| found.index_of(**pid).is_some());
        assert!(still.count() >= 508, "nobody else");
        found.clear();
        assert!((0..5000).all(|pid| found.index_of(pid).is_none()));
    }
}
