//! The outbox: it encodes envelopes straight into the streams to their recipients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Waker;

use bytes::Bytes;

use crate::engine::Drive;
use crate::grace::{Grace, Sections};
use crate::link::Pid;
use crate::payload::Body;
use crate::roster::Roster;
use crate::shard::{Command, LinkKey, Ready};
use crate::stats::StatsTable;
use crate::stream::{self, Full, Lane, MAX_RING_PAYLOAD, Perish, StreamWriter};
use crate::wire::{FRAME_HEADER_BYTES, MAX_STREAMS};

/// An inline server sends by itself once so much was written since its loop last turned.
const INLINE_BYTES: usize = 128 * 1024;

/// What all outboxes of a server share.
pub(crate) struct OutboxShared {
    pub(crate) node: u32,
    pub(crate) roster: Roster,
    pub(crate) ring_bytes: usize,
    pub(crate) max_envelope_bytes: u64,
    pub(crate) numbers: AtomicU32,
    /// How many there are.
    pub(crate) outboxes: AtomicU32,
    pub(crate) stats: Arc<StatsTable>,
    /// The server stops, or has stopped: nothing more is taken.
    pub(crate) stopped: AtomicBool,
    /// Every write, from its look at `stopped` and the roster to its end, is a section of this.
    pub(crate) grace: Arc<Grace>,
}

impl OutboxShared {
    /// From now on nothing more is taken, and what was taken stands in its stream. `false`: that was so before.
    pub(crate) fn close(&self) -> bool {
        let first = !self.stopped.swap(true, Ordering::AcqRel);
        self.grace.wait();
        first
    }

    /// From now on nothing more is taken for this peer, and what was taken stands in its stream. Returns its link.
    pub(crate) fn remove_peer(&self, pid: Pid) -> Option<u32> {
        let link = self.roster.remove(pid)?;
        self.grace.wait();
        Some(link)
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether something may still be written on a link that was there when the roster had this version.
    #[inline]
    fn allows(&self, link: usize, version: u64) -> Result<(), PushError> {
        if self.is_stopped() {
            return Err(PushError::Stopped);
        }
        if self.roster.version() != version && !self.roster.has(link as u32) {
            return Err(PushError::UnknownPid);
        }
        Ok(())
    }
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

impl From<Full> for PushError {
    fn from(_: Full) -> PushError {
        PushError::Full
    }
}

/// One outbox. A clone has streams of its own; order holds within each.
pub struct Sender {
    outgoing: Outgoing,
    sections: Sections,
    /// Bytes written since an inline loop last turned.
    unflushed: usize,
}

/// An outbox's streams.
struct Outgoing {
    shared: Arc<OutboxShared>,
    drive: Drive,
    /// The roster as of `version`: the peers' pids, ascending, and their links.
    version: u64,
    peers: Vec<Pid>,
    links: Vec<u32>,
    /// By link; `None`: that peer is gone.
    streams: Vec<Option<Lanes>>,
}

/// A stream for each lane, made on first use.
type Lanes = [Option<StreamWriter>; 2];

impl Sender {
    pub(crate) fn new(shared: Arc<OutboxShared>, drive: Drive) -> Sender {
        shared.outboxes.fetch_add(1, Ordering::Relaxed);
        let sections = Sections::new(shared.grace.clone());
        let (peers, links, streams) = (Vec::new(), Vec::new(), Vec::new());
        let mut outgoing = Outgoing { shared, drive, version: 0, peers, links, streams };
        outgoing.read_roster();
        Sender { outgoing, sections, unflushed: 0 }
    }

    /// The peers' pids, ascending.
    pub fn peers(&mut self) -> &[Pid] {
        self.outgoing.follow_roster();
        &self.outgoing.peers
    }

    /// The longest envelope, in bytes.
    pub fn max_envelope_bytes(&self) -> u64 {
        self.outgoing.shared.max_envelope_bytes
    }

    /// By what number the other functions know the peer.
    #[inline]
    pub fn index_of(&mut self, pid: Pid) -> Result<usize, PushError> {
        let outgoing = &mut self.outgoing;
        outgoing.follow_roster();
        match outgoing.peers.binary_search(&pid) {
            Ok(place) => Ok(outgoing.links[place] as usize),
            Err(_) => Err(PushError::UnknownPid),
        }
    }

    /// Writes one envelope to the stream of the peer at `index`. `alone`: others do not follow at once.
    #[inline]
    pub fn push(&mut self, index: usize, lane: Lane, id: i64, body: &Body<'_>, alone: bool) -> Result<(), PushError> {
        self.check_length(body.len())?;
        let section = self.sections.begin();
        let signal = self.outgoing.writer(index, lane)?.push(id, body)?;
        drop(section);
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
        self.check_length(body.len())?;
        let section = self.sections.begin();
        let signal = self.outgoing.writer(index, lane)?.push_perishable(id, body, perish)?;
        drop(section);
        self.written(index, body.len(), signal, false);
        Ok(())
    }

    /// Lets `write` encode one envelope of `length` bytes in place, in the stream of the peer at `index`. With an error comes
    /// what `write` has written.
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
    ) -> Result<(), (PushError, Vec<u8>)> {
        if let Err(error) = self.check_length(length) {
            return Err((error, encode(length, write)));
        }
        let Outgoing { shared, drive, version, streams, .. } = &mut self.outgoing;
        let writer = match opened(shared, drive, streams, index, lane) {
            Ok(writer) => writer,
            Err(error) => return Err((error, encode(length, write))),
        };
        // The sections begin after `write`, which may take as long as it likes: they wait for nobody.
        let signal = if length <= MAX_RING_PAYLOAD {
            let Ok(mut slot) = writer.claim(length) else { return Err((PushError::Full, encode(length, write))) };
            write(slot.payload());
            let _section = self.sections.begin();
            if let Err(error) = shared.allows(index, *version) {
                return Err((error, slot.payload().to_vec()));
            }
            slot.commit(id)
        } else {
            let Ok(mut buffer) = writer.buffer(length) else { return Err((PushError::Full, encode(length, write))) };
            write(&mut buffer);
            let _section = self.sections.begin();
            let message = Bytes::from(buffer);
            let pushed = shared.allows(index, *version).and_then(|()| Ok(writer.push_reference(id, message.clone())?));
            pushed.map_err(|error| (error, message.to_vec()))?
        };
        self.written(index, length, signal, true);
        Ok(())
    }

    /// Whether the peer at `index` has room for an envelope of `length` bytes.
    #[inline]
    pub fn has_room(&mut self, index: usize, lane: Lane, length: usize) -> Result<bool, PushError> {
        self.check_length(length)?;
        Ok(self.outgoing.writer(index, lane)?.has_room(length))
    }

    #[inline]
    fn check_length(&self, length: usize) -> Result<(), PushError> {
        if length as u64 > self.outgoing.shared.max_envelope_bytes { Err(PushError::TooLarge) } else { Ok(()) }
    }

    /// Registers `waker` to be woken when the stream to the peer at `index` may have room for `length` bytes.
    /// `false`: it has room already.
    pub fn wait_for_room(&mut self, index: usize, lane: Lane, length: usize, waker: &Waker) -> Result<bool, PushError> {
        Ok(self.outgoing.writer(index, lane)?.wait_for_room(length, waker))
    }

    /// The peers that have not acknowledged everything this outbox wrote to them. Those that are gone do not count.
    pub fn unflushed_peers(&mut self) -> Vec<Pid> {
        let Outgoing { peers, links, streams, .. } = self.outgoing.follow_roster();
        let mut is_unflushed =
            |link: u32| streams[link as usize].iter_mut().flatten().flatten().any(StreamWriter::is_unflushed);
        peers.iter().zip(links).filter_map(|(pid, link)| is_unflushed(*link).then_some(*pid)).collect()
    }

    /// Asks the peers to acknowledge at once what they have not.
    pub fn hurry(&mut self) {
        let Outgoing { shared, drive, streams, .. } = &mut self.outgoing;
        for (index, lanes) in streams.iter_mut().enumerate() {
            if lanes.iter_mut().flatten().flatten().any(StreamWriter::is_unflushed) {
                let link = LinkKey { node: shared.node, link: index as u32 };
                drive.mailbox().ready(Ready::Hurry(link));
            }
        }
    }

    /// Registers `waker` to be woken when a peer may have acknowledged everything. `false`: all have already.
    pub fn wait_for_flush(&mut self, waker: &Waker) -> bool {
        let mut waits = false;
        for writer in self.outgoing.writers() {
            if writer.is_unflushed() {
                waits |= writer.wait_for_flush(waker);
            }
        }
        waits
    }

    /// Whether the server has stopped.
    pub fn is_stopped(&self) -> bool {
        self.outgoing.shared.is_stopped() || self.outgoing.drive.is_stopped()
    }

    /// How this outbox's event loop is driven.
    pub fn drive(&self) -> &Drive {
        &self.outgoing.drive
    }

    /// What follows a write: the reader's signal, and the turn of an inline loop.
    #[inline]
    fn written(&mut self, index: usize, bytes: usize, signal: bool, alone: bool) {
        let Outgoing { shared, drive, .. } = &self.outgoing;
        if signal {
            drive.written(LinkKey { node: shared.node, link: index as u32 }, alone);
        }
        if drive.is_inline() {
            self.unflushed += bytes + FRAME_HEADER_BYTES;
            if self.unflushed >= INLINE_BYTES {
                self.unflushed = 0;
                drive.poll();
            }
        }
    }
}

impl Outgoing {
    #[inline]
    fn follow_roster(&mut self) -> &mut Outgoing {
        if self.shared.roster.version() != self.version {
            self.read_roster();
        }
        self
    }

    #[cold]
    fn read_roster(&mut self) {
        self.version = self.shared.roster.version();
        let (members, links) = self.shared.roster.read();
        (self.peers, self.links) = members.into_iter().unzip();
        self.streams.resize_with(links, || Some([None, None]));
        for (link, lanes) in self.streams.iter_mut().enumerate() {
            if !self.links.contains(&(link as u32)) {
                *lanes = None;
            }
        }
    }

    /// The stream to write to, if the server runs and the peer is there.
    #[inline(always)]
    fn writer(&mut self, index: usize, lane: Lane) -> Result<&mut StreamWriter, PushError> {
        self.shared.allows(index, self.version)?;
        opened(&self.shared, &self.drive, &mut self.streams, index, lane)
    }

    fn writers(&mut self) -> impl Iterator<Item = &mut StreamWriter> {
        self.streams.iter_mut().flatten().flatten().flatten()
    }
}

/// The stream to a peer, whether it may be written to or not.
#[inline(always)]
fn opened<'a>(
    shared: &OutboxShared,
    drive: &Drive,
    streams: &'a mut [Option<Lanes>],
    index: usize,
    lane: Lane,
) -> Result<&'a mut StreamWriter, PushError> {
    let place = &mut streams[index].as_mut().ok_or(PushError::UnknownPid)?[lane as usize];
    if place.is_none() {
        *place = Some(open(shared, drive, index, lane)?);
    }
    match place {
        Some(writer) if !writer.is_closed() => Ok(writer),
        _ if shared.is_stopped() || drive.is_stopped() => Err(PushError::Stopped),
        _ => Err(PushError::UnknownPid),
    }
}

#[cold]
fn encode(length: usize, write: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut buffer = vec![0; length];
    write(&mut buffer);
    buffer
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
        Sender::new(self.outgoing.shared.clone(), self.outgoing.drive.clone())
    }
}

impl Drop for Outgoing {
    /// Closes all streams: what stands in them is still sent.
    fn drop(&mut self) {
        self.shared.outboxes.fetch_sub(1, Ordering::Relaxed);
        for (index, lanes) in self.streams.iter_mut().enumerate() {
            for writer in lanes.iter_mut().flatten().flatten() {
                if writer.close() {
                    let link = LinkKey { node: self.shared.node, link: index as u32 };
                    self.drive.mailbox().ready(Ready::Link(link));
                }
            }
        }
    }
}
