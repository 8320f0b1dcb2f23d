//! The outbox: it encodes envelopes straight into the streams to their recipients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

use bytes::Bytes;

use crate::barrier;
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
    /// Every write, from its look at the roster to its end, is a section of this.
    pub(crate) grace: Arc<Grace>,
}

impl OutboxShared {
    /// From now on nothing more is taken, and what was taken stands in its stream. `false`: that was so before.
    pub(crate) fn close(&self) -> bool {
        let first = self.roster.close();
        self.grace.wait();
        first
    }

    /// From now on nothing more is taken for this peer, and what was taken stands in its stream. Returns its link.
    pub(crate) fn remove_peer(&self, pid: Pid) -> Option<u32> {
        let link = self.roster.remove(pid)?;
        self.grace.wait();
        Some(link)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.roster.is_closed()
    }

    /// Whether something may still be written on a link that was there when the roster had this version.
    #[cold]
    fn allows(&self, link: usize, version: u64) -> Result<(), PushError> {
        match () {
            () if self.roster.is_still(version) => Ok(()),
            () if self.is_stopped() => Err(PushError::Stopped),
            () if !self.roster.has(link as u32) => Err(PushError::UnknownPid),
            () => Ok(()),
        }
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
    /// By link and lane, see [`place`]. `None`: nothing was written to it yet, or that peer is gone.
    streams: Vec<Option<StreamWriter>>,
    latest: Latest,
    /// What is no longer than this stands in a ring.
    short: usize,
}

/// The peer that was last looked for, and its link.
struct Latest {
    pid: Pid,
    index: usize,
    /// While the roster is still at this, all of this is so, and the server takes what is written. [`NEVER`]: look closer.
    version: u64,
}

/// No roster's version.
const NEVER: u64 = u64::MAX;

/// Where the stream to a peer on a lane stands.
#[inline(always)]
fn place(index: usize, lane: Lane) -> usize {
    index * LANES + lane as usize
}

const LANES: usize = 2;

impl Sender {
    pub(crate) fn new(shared: Arc<OutboxShared>, drive: Drive) -> Sender {
        shared.outboxes.fetch_add(1, Ordering::Relaxed);
        let sections = Sections::new(shared.grace.clone());
        let (peers, links, streams) = (Vec::new(), Vec::new(), Vec::new());
        let short = shared.max_envelope_bytes.min(MAX_RING_PAYLOAD as u64) as usize;
        let mut outgoing = Outgoing { shared, drive, version: 0, peers, links, streams, latest: Latest::NOBODY, short };
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
    #[inline(always)]
    pub fn index_of(&mut self, pid: Pid) -> Result<usize, PushError> {
        let Outgoing { shared, latest, .. } = &self.outgoing;
        if latest.pid == pid && shared.roster.is_still(latest.version) {
            return Ok(latest.index);
        }
        self.outgoing.find(pid).ok_or(PushError::UnknownPid)
    }

    /// By what number the other functions know the peer, if there is room for an envelope of `length` bytes to it. `None`: look
    /// closer, which says why.
    #[inline(always)]
    pub fn ready(&mut self, pid: Pid, lane: Lane, length: usize) -> Option<usize> {
        let Outgoing { shared, streams, latest, short, .. } = &mut self.outgoing;
        if latest.pid != pid || length > *short || !shared.roster.is_still(latest.version) {
            return None;
        }
        let writer = streams.get_mut(place(latest.index, lane))?.as_mut()?;
        writer.has_room_in_ring(length).then_some(latest.index)
    }

    /// Writes one short envelope to the stream of the peer at `index`, if nothing stands in its way. `false`: [`push`](Sender::push)
    /// says what does.
    #[inline(always)]
    pub fn push_at_once(&mut self, index: usize, lane: Lane, id: i64, bytes: &[u8]) -> bool {
        let Outgoing { shared, streams, latest, short, .. } = &mut self.outgoing;
        if bytes.len() > *short {
            return false;
        }
        let Some(Some(writer)) = streams.get_mut(place(index, lane)) else { return false };
        let section = self.sections.begin_light();
        if !shared.roster.is_still(latest.version) || writer.is_closed() {
            return false;
        }
        let Ok(mut slot) = writer.claim(bytes.len()) else { return false };
        slot.fill(bytes);
        let signal = slot.commit(id);
        drop(section);
        self.written(index, bytes.len(), signal, true);
        true
    }

    /// Writes one envelope to the stream of the peer at `index`. `alone`: others do not follow at once.
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
    #[inline(always)]
    pub fn push_with(
        &mut self,
        index: usize,
        lane: Lane,
        id: i64,
        length: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), (PushError, Vec<u8>)> {
        let Outgoing { shared, version, streams, latest, short, .. } = &mut self.outgoing;
        if length <= *short
            && let Some(Some(writer)) = streams.get_mut(place(index, lane))
            && !writer.is_closed()
            && let Ok(mut slot) = writer.claim(length)
        {
            write(slot.payload());
            // The section begins after `write`, which may take as long as it likes: a section waits for nobody.
            let section = self.sections.begin_light();
            if !shared.roster.is_still(latest.version) {
                section.strengthen();
                if let Err(error) = shared.allows(index, *version) {
                    return Err((error, slot.payload().to_vec()));
                }
            }
            let signal = slot.commit(id);
            drop(section);
            self.written(index, length, signal, true);
            return Ok(());
        }
        self.push_encoded(index, lane, id, length, write)
    }

    /// As [`push_with`](Sender::push_with), for what is long, or the first to a peer, or cannot be written.
    #[cold]
    #[inline(never)]
    fn push_encoded(
        &mut self,
        index: usize,
        lane: Lane,
        id: i64,
        length: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), (PushError, Vec<u8>)> {
        let message = match self.check_length(length).and_then(|()| self.outgoing.writer(index, lane)) {
            Ok(writer) if length > MAX_RING_PAYLOAD => match writer.buffer(length) {
                Ok(mut buffer) => {
                    write(&mut buffer);
                    Bytes::from(buffer)
                }
                Err(Full) => return Err((PushError::Full, encode(length, write))),
            },
            Ok(_) => encode(length, write).into(),
            Err(error) => return Err((error, encode(length, write))),
        };
        let body = Body::Owned(message.clone());
        self.push(index, lane, id, &body, true).map_err(|error| (error, message.to_vec()))
    }

    /// Whether the peer at `index` has room for an envelope of `length` bytes.
    pub fn has_room(&mut self, index: usize, lane: Lane, length: usize) -> Result<bool, PushError> {
        self.check_length(length)?;
        Ok(self.outgoing.writer(index, lane)?.has_room(length))
    }

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
            |link: u32| lanes(streams, link as usize).iter_mut().flatten().any(StreamWriter::is_unflushed);
        peers.iter().zip(links).filter_map(|(pid, link)| is_unflushed(*link).then_some(*pid)).collect()
    }

    /// Asks the peers to acknowledge at once what they have not.
    pub fn hurry(&mut self) {
        let Outgoing { shared, drive, streams, .. } = &mut self.outgoing;
        for (index, lanes) in streams.chunks_mut(LANES).enumerate() {
            if lanes.iter_mut().flatten().any(StreamWriter::is_unflushed) {
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
    #[inline(always)]
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

impl Latest {
    const NOBODY: Latest = Latest { pid: 0, index: 0, version: NEVER };
}

impl Outgoing {
    #[inline(never)]
    fn find(&mut self, pid: Pid) -> Option<usize> {
        let place = self.follow_roster().peers.binary_search(&pid).ok()?;
        let index = self.links[place] as usize;
        // Where sections need more than a light barrier, each write looks closer.
        let version = if barrier::available() { self.version } else { NEVER };
        self.latest = Latest { pid, index, version };
        Some(index)
    }

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
        self.latest = Latest::NOBODY;
        self.streams.resize_with(links * LANES, || None);
        for link in 0..links {
            if !self.links.contains(&(link as u32)) {
                lanes(&mut self.streams, link).fill_with(|| None);
            }
        }
    }

    /// The stream to write to, if the server runs and the peer is there.
    fn writer(&mut self, index: usize, lane: Lane) -> Result<&mut StreamWriter, PushError> {
        self.shared.allows(index, self.version)?;
        let place = &mut self.streams[place(index, lane)];
        if place.is_none() {
            // It may have been there when its number was asked for.
            if !self.links.contains(&(index as u32)) {
                return Err(PushError::UnknownPid);
            }
            *place = Some(open(&self.shared, &self.drive, index, lane)?);
        }
        match place {
            Some(writer) if !writer.is_closed() => Ok(writer),
            _ if self.shared.is_stopped() || self.drive.is_stopped() => Err(PushError::Stopped),
            _ => Err(PushError::UnknownPid),
        }
    }

    fn writers(&mut self) -> impl Iterator<Item = &mut StreamWriter> {
        self.streams.iter_mut().flatten()
    }
}

/// The streams to a peer.
fn lanes(streams: &mut [Option<StreamWriter>], link: usize) -> &mut [Option<StreamWriter>] {
    &mut streams[link * LANES..][..LANES]
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
        for (index, lanes) in self.streams.chunks_mut(LANES).enumerate() {
            for writer in lanes.iter_mut().flatten() {
                if writer.close() {
                    let link = LinkKey { node: self.shared.node, link: index as u32 };
                    self.drive.mailbox().ready(Ready::Link(link));
                }
            }
        }
    }
}
