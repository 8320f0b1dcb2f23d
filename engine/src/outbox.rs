//! The outbox: it encodes envelopes straight into the streams to their recipients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Waker;

use crate::engine::Drive;
use crate::link::Pid;
use crate::payload::Body;
use crate::shard::{Command, LinkKey, Ready};
use crate::stats::StatsTable;
use crate::stream::{self, Full, Lane, StreamWriter};
use crate::wire::{FRAME_HEADER_BYTES, MAX_STREAMS};

/// An inline server sends by itself once so much was written since its loop last turned.
const INLINE_BYTES: usize = 128 * 1024;

/// What all outboxes of a server share.
pub(crate) struct OutboxShared {
    pub(crate) node: u32,
    /// Sorted; a peer's place is its link's number.
    pub(crate) peers: Vec<Pid>,
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
    /// It is not in the configuration.
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
    number: u32,
    /// By peer, both lanes; made on first use.
    streams: Vec<[Option<StreamWriter>; 2]>,
    /// Bytes written since an inline loop last turned.
    unflushed: usize,
}

impl Sender {
    pub(crate) fn new(shared: Arc<OutboxShared>, drive: Drive) -> Sender {
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
        shared.outboxes.fetch_add(1, Ordering::Relaxed);
        let streams = shared.peers.iter().map(|_| [None, None]).collect();
        Sender { shared, drive, number, streams, unflushed: 0 }
    }

    /// The peers' pids, ascending.
    pub fn peers(&self) -> &[Pid] {
        &self.shared.peers
    }

    /// The longest envelope, in bytes.
    pub fn max_envelope_bytes(&self) -> u64 {
        self.shared.max_envelope_bytes
    }

    /// The place of a peer among [`peers`](Sender::peers).
    #[inline]
    pub fn index_of(&self, pid: Pid) -> Result<usize, PushError> {
        self.shared.peers.binary_search(&pid).map_err(|_| PushError::UnknownPid)
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

    /// How this outbox's event loop is driven.
    pub fn drive(&self) -> &Drive {
        &self.drive
    }

    /// The peers are others from now on. Streams to those who stay are kept, with what stands in them.
    ///
    /// Must be called with a `shared` that counts no outbox yet.
    pub(crate) fn regroup(&mut self, shared: Arc<OutboxShared>) {
        shared.outboxes.fetch_add(1, Ordering::Relaxed);
        let mut streams: Vec<_> = shared.peers.iter().map(|_| [None, None]).collect();
        for (index, pid) in self.shared.peers.iter().enumerate() {
            if let Ok(place) = shared.peers.binary_search(pid) {
                streams[place] = std::mem::take(&mut self.streams[index]);
            }
        }
        self.close();
        self.streams = streams;
        self.shared = shared;
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
            *place = Some(open(&self.shared, &self.drive, self.number, index, lane)?);
        }
        match place {
            Some(writer) if !writer.is_closed() => Ok(writer),
            _ => Err(PushError::Stopped),
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

#[cold]
fn open(
    shared: &OutboxShared,
    drive: &Drive,
    number: u32,
    index: usize,
    lane: Lane,
) -> Result<StreamWriter, PushError> {
    if drive.is_stopped() {
        return Err(PushError::Stopped);
    }
    if shared.outboxes.load(Ordering::Relaxed) as usize > MAX_STREAMS / 4 {
        return Err(PushError::TooManyOutboxes);
    }
    let id = stream::stream_id(number, lane);
    let references = (shared.ring_bytes as u64).max(stream::LEAST_REFERENCE_BYTES);
    let (writer, reader) = stream::stream(id, shared.ring_bytes, references);
    shared.stats.sends(index, writer.counters());
    let link = LinkKey { node: shared.node, link: index as u32 };
    drive.mailbox().command(Command::Open { link, stream: reader });
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
