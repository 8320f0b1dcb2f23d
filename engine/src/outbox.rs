//! The outbox: it encodes envelopes straight into the streams to their recipients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Waker;

use crate::engine::Drive;
use crate::link::Pid;
use crate::payload::Body;
use crate::roster::Roster;
use crate::shard::{Command, LinkKey, Ready};
use crate::stats::StatsTable;
use crate::stream::{self, Full, Lane, Perish, StreamWriter};
use crate::wire::{FRAME_HEADER_BYTES, MAX_STREAMS};

/// An inline server sends by itself once so much was written since its loop last turned.
const INLINE_BYTES: usize = 128 * 1024;

/// What all outboxes of a server share.
pub(crate) struct OutboxShared {
    pub(crate) node: u32,
    pub(crate) roster: Arc<Roster>,
    pub(crate) ring_bytes: usize,
    pub(crate) max_envelope_bytes: u64,
    pub(crate) numbers: AtomicU32,
    /// How many there are.
    pub(crate) outboxes: AtomicU32,
    pub(crate) stats: Arc<StatsTable>,
    /// The server stops, or has stopped: nothing more is taken.
    pub(crate) stopped: Arc<AtomicBool>,
}

/// Why one recipient does not get an envelope now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// Its stream is full: the peer is slow, or not there.
    Full,
    /// It is no peer, or not any more.
    UnknownPid,
    /// Longer than the limit.
    TooLarge,
    /// The server has stopped.
    Stopped,
    /// More outboxes are in use than a link has streams for.
    TooManyOutboxes,
}

/// One outbox. A clone has streams of its own; order holds within each.
pub struct Sender {
    shared: Arc<OutboxShared>,
    drive: Drive,
    /// The roster as of `version`: the peers' pids, ascending, and their links.
    version: u64,
    peers: Vec<Pid>,
    links: Vec<u32>,
    /// By link, both lanes; made on first use.
    streams: Vec<[Option<StreamWriter>; 2]>,
    /// Bytes written since an inline loop last turned.
    unflushed: usize,
}

impl Sender {
    pub(crate) fn new(shared: Arc<OutboxShared>, drive: Drive) -> Sender {
        shared.outboxes.fetch_add(1, Ordering::Relaxed);
        let mut sender = Sender {
            shared,
            drive,
            version: 0,
            peers: Vec::new(),
            links: Vec::new(),
            streams: Vec::new(),
            unflushed: 0,
        };
        sender.read_roster();
        sender
    }

    /// The peers' pids, ascending.
    pub fn peers(&mut self) -> &[Pid] {
        self.follow_roster();
        &self.peers
    }

    #[inline]
    fn follow_roster(&mut self) {
        if self.shared.roster.version() != self.version {
            self.read_roster();
        }
    }

    #[cold]
    fn read_roster(&mut self) {
        self.version = self.shared.roster.version();
        let (members, links) = self.shared.roster.read();
        (self.peers, self.links) = members.into_iter().unzip();
        self.streams.resize_with(links, || [None, None]);
    }

    /// The longest envelope, in bytes.
    pub fn max_envelope_bytes(&self) -> u64 {
        self.shared.max_envelope_bytes
    }

    /// By what number the other functions know the peer.
    #[inline]
    pub fn index_of(&mut self, pid: Pid) -> Result<usize, PushError> {
        self.follow_roster();
        match self.peers.binary_search(&pid) {
            Ok(place) => Ok(self.links[place] as usize),
            Err(_) => Err(PushError::UnknownPid),
        }
    }

    /// Writes one envelope to the stream of the peer at `index`. `alone`: others do not follow at once.
    #[inline]
    pub fn push(&mut self, index: usize, lane: Lane, id: i64, body: &Body<'_>, alone: bool) -> Result<(), PushError> {
        if body.len() as u64 > self.shared.max_envelope_bytes {
            return Err(PushError::TooLarge);
        }
        let signal = match self.writer(index, lane)?.push(id, body) {
            Ok(signal) => signal,
            Err(Full) => return Err(PushError::Full),
        };
        self.written(index, body.len(), signal, alone);
        Ok(())
    }

    /// As [`push`](Sender::push), for an envelope that may be dropped before it arrives.
    pub fn push_perishable(
        &mut self,
        index: usize,
        lane: Lane,
        id: i64,
        body: &Body<'_>,
        perish: Perish,
    ) -> Result<(), PushError> {
        if body.len() as u64 > self.shared.max_envelope_bytes {
            return Err(PushError::TooLarge);
        }
        let signal = match self.writer(index, lane)?.push_perishable(id, body, perish) {
            Ok(signal) => signal,
            Err(Full) => return Err(PushError::Full),
        };
        self.written(index, body.len(), signal, false);
        Ok(())
    }

    /// Lets `write` encode one envelope of `length` bytes in place, in the stream of the peer at `index`.
    ///
    /// What `write` is given is left over from earlier envelopes to the same peer.
    #[inline]
    pub fn push_with(
        &mut self,
        index: usize,
        lane: Lane,
        id: i64,
        length: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), PushError> {
        if length as u64 > self.shared.max_envelope_bytes {
            return Err(PushError::TooLarge);
        }
        match self.writer(index, lane)?.push_with(id, length, write) {
            Ok(signal) => self.written(index, length, signal, true),
            Err(Full) => return Err(PushError::Full),
        }
        Ok(())
    }

    /// Whether the peer at `index` has room for an envelope of `length` bytes.
    #[inline]
    pub fn has_room(&mut self, index: usize, lane: Lane, length: usize) -> Result<bool, PushError> {
        if length as u64 > self.shared.max_envelope_bytes {
            return Err(PushError::TooLarge);
        }
        Ok(self.writer(index, lane)?.has_room(length))
    }

    /// Registers `waker` to be woken when the stream to the peer at `index` may have room for `length` bytes.
    /// `false`: it has room already.
    pub fn wait_for_room(&mut self, index: usize, lane: Lane, length: usize, waker: &Waker) -> Result<bool, PushError> {
        Ok(self.writer(index, lane)?.wait_for_room(length, waker))
    }

    /// The peers that have not acknowledged everything this outbox wrote to them. Those that are gone do not count.
    pub fn unflushed_peers(&mut self) -> Vec<Pid> {
        self.follow_roster();
        let streams = &mut self.streams;
        let mut is_unflushed = |link: u32| streams[link as usize].iter_mut().flatten().any(is_unflushed);
        self.peers.iter().zip(&self.links).filter_map(|(pid, link)| is_unflushed(*link).then_some(*pid)).collect()
    }

    /// Asks the peers to acknowledge at once what they have not.
    pub fn hurry(&mut self) {
        for (index, lanes) in self.streams.iter_mut().enumerate() {
            if lanes.iter_mut().flatten().any(is_unflushed) {
                let link = LinkKey { node: self.shared.node, link: index as u32 };
                self.drive.mailbox().ready(Ready::Hurry(link));
            }
        }
    }

    /// Registers `waker` to be woken when a peer may have acknowledged everything. `false`: all have already.
    pub fn wait_for_flush(&mut self, waker: &Waker) -> bool {
        let mut waits = false;
        for writer in self.streams.iter_mut().flatten().flatten() {
            if is_unflushed(writer) {
                waits |= writer.wait_for_flush(waker);
            }
        }
        waits
    }

    /// Whether the server has stopped.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire) || self.drive.is_stopped()
    }

    /// How this outbox's event loop is driven.
    pub fn drive(&self) -> &Drive {
        &self.drive
    }

    /// Closes all streams: what stands in them is still sent.
    fn close(&mut self) {
        self.shared.outboxes.fetch_sub(1, Ordering::Relaxed);
        for (index, lanes) in self.streams.iter_mut().enumerate() {
            for writer in lanes.iter_mut().flatten() {
                if writer.close() {
                    let link = LinkKey { node: self.shared.node, link: index as u32 };
                    self.drive.mailbox().ready(Ready::Link(link));
                }
            }
        }
    }

    #[inline]
    fn writer(&mut self, index: usize, lane: Lane) -> Result<&mut StreamWriter, PushError> {
        if self.shared.stopped.load(Ordering::Acquire) {
            return Err(PushError::Stopped);
        }
        let place = &mut self.streams[index][lane as usize];
        if place.is_none() {
            *place = Some(open(&self.shared, &self.drive, index, lane)?);
        }
        match place {
            Some(writer) if !writer.is_closed() => Ok(writer),
            _ if self.shared.stopped.load(Ordering::Acquire) || self.drive.is_stopped() => Err(PushError::Stopped),
            _ => Err(PushError::UnknownPid),
        }
    }

    /// What follows a write: the reader's signal, and the turn of an inline loop.
    #[inline]
    fn written(&mut self, index: usize, bytes: usize, signal: bool, alone: bool) {
        if signal {
            self.drive.written(LinkKey { node: self.shared.node, link: index as u32 }, alone);
        }
        if self.drive.is_inline() {
            self.unflushed += bytes + FRAME_HEADER_BYTES;
            if self.unflushed >= INLINE_BYTES {
                self.unflushed = 0;
                self.drive.poll();
            }
        }
    }
}

fn is_unflushed(writer: &mut StreamWriter) -> bool {
    !writer.is_closed() && !writer.is_flushed()
}

#[cold]
fn open(shared: &OutboxShared, drive: &Drive, index: usize, lane: Lane) -> Result<StreamWriter, PushError> {
    if drive.is_stopped() {
        return Err(PushError::Stopped);
    }
    if shared.outboxes.load(Ordering::Relaxed) as usize > MAX_STREAMS / 4 {
        return Err(PushError::TooManyOutboxes);
    }
    // Another number for each, so that a peer that was removed and is added again takes none for an old one.
    let id = stream::stream_id(shared.numbers.fetch_add(1, Ordering::Relaxed), lane);
    let references = (shared.ring_bytes as u64).max(stream::LEAST_REFERENCE_BYTES);
    let (writer, reader) = stream::stream(id, shared.ring_bytes, references);
    shared.stats.sends(index, writer.counters());
    let link = LinkKey { node: shared.node, link: index as u32 };
    drive.mailbox().command(Command::Open { link, stream: Box::new(reader) });
    Ok(writer)
}

impl Clone for Sender {
    /// An outbox with streams of its own.
    fn clone(&self) -> Sender {
        Sender::new(self.shared.clone(), self.drive.clone())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.close();
    }
}
