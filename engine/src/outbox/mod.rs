//! The outbox: encodes envelopes straight into the streams to their recipients.

mod outgoing;
mod shared;
mod streams;

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use crate::grace::Sections;
use crate::link::Pid;
use crate::mailbox::Ready;
use crate::payload::Body;
#[cfg(any(test, feature = "simulation"))]
use crate::roster::LinkId;
use crate::roster::LinkKey;
use crate::runtime::LoopHandle;
use crate::stream::{DropPolicy, Full, Lane, MAX_RING_PAYLOAD, Ticket};
use crate::wire::FRAME_HEADER_BYTES;

use outgoing::Outgoing;
pub(crate) use shared::OutboxShared;

/// Bytes written since the last turn of an inline loop, after which the outbox turns the loop itself.
const INLINE_BYTES: usize = 128 * 1024;

/// Reason why a recipient does not get an envelope now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// The recipient's stream is full: the peer is slow, or cannot be reached.
    Full,
    /// The recipient is no peer, or not any more.
    UnknownPid,
    /// The envelope is longer than this server sends, or than the recipient is known to accept.
    TooLarge {
        /// Longest payload that may be sent, in bytes.
        limit: u64,
    },
    /// The server has stopped.
    Stopped,
    /// A link has too few streams for all outboxes in use, and for those that have ended with unacknowledged envelopes.
    TooManyOutboxes,
    /// There is no memory for the recipient's stream.
    NoMemory,
    /// The envelope is for another incarnation of the recipient than the present one.
    Restarted,
}

impl From<Full> for PushError {
    fn from(_: Full) -> PushError {
        PushError::Full
    }
}

/// Sending end of an outbox, held by the application.
///
/// Order holds among the envelopes to one recipient on one lane. A clone has streams of its own, which it may take over
/// from an outbox that was dropped; there is no order between an outbox and its clones.
pub struct Sender {
    outgoing: Outgoing,
    sections: Sections,
    /// Bytes written since an inline loop last turned.
    unflushed: usize,
}

impl Sender {
    pub(crate) fn new(shared: Arc<OutboxShared>, loop_handle: LoopHandle) -> Sender {
        let sections = Sections::new(shared.grace.clone());
        Sender { outgoing: Outgoing::new(shared, loop_handle), sections, unflushed: 0 }
    }

    /// Returns the pids of the peers, ascending.
    pub fn peers(&mut self) -> &[Pid] {
        self.outgoing.follow_roster();
        &self.outgoing.peers
    }

    /// Size of each stream's ring, in bytes.
    pub fn ring_bytes(&self) -> usize {
        self.outgoing.shared.ring_bytes
    }

    /// Longest payload of an envelope, in bytes.
    pub fn max_envelope_bytes(&self) -> u64 {
        self.outgoing.shared.max_envelope_bytes
    }

    /// Returns the index of a peer, for the other functions. The index is valid until the next call that reads the
    /// roster: this function, [`peers`](Sender::peers), [`all_accept`](Sender::all_accept) or
    /// [`unflushed_peers`](Sender::unflushed_peers). The peer may then have been removed, and its index belong to
    /// another peer.
    ///
    /// # Errors
    /// [`UnknownPid`](PushError::UnknownPid) if `pid` is no peer.
    #[inline(always)]
    pub fn index_of(&mut self, pid: Pid) -> Result<usize, PushError> {
        let Outgoing { shared, found, settled, .. } = &self.outgoing;
        if let Some(index) = found.index_of(pid)
            && shared.roster.is_still(*settled)
        {
            return Ok(index);
        }
        self.outgoing.find(pid).ok_or(PushError::UnknownPid)
    }

    /// Returns the index of a peer if its ring has room for an envelope of `length` bytes. `None`: the fast check does
    /// not answer; [`index_of`](Sender::index_of) and [`push`](Sender::push) give the reason.
    #[inline(always)]
    pub fn ready(&mut self, pid: Pid, lane: Lane, length: usize) -> Option<usize> {
        let Outgoing { shared, streams, found, settled, short, .. } = &mut self.outgoing;
        let index = found.index_of(pid)?;
        if length > *short || !shared.roster.is_still(*settled) {
            return None;
        }
        let writer = streams.get_mut(index, lane)?;
        writer.has_room_in_ring(length).then_some(index)
    }

    /// Writes one short envelope to the stream of the peer at `index`, if the fast path allows it. If this returns
    /// `false`, nothing was written, and [`push`](Sender::push) gives the reason. `alone` is set if no other envelope
    /// follows at once.
    #[inline(always)]
    pub fn push_at_once(&mut self, index: usize, lane: Lane, id: i64, bytes: &[u8], alone: bool) -> bool {
        let Outgoing { shared, streams, settled, short, .. } = &mut self.outgoing;
        if bytes.len() > *short {
            return false;
        }
        let Some(writer) = streams.get_mut(index, lane) else { return false };
        let section = self.sections.begin_light();
        if !shared.roster.is_still(*settled) || writer.is_closed() {
            return false;
        }
        let Ok(mut slot) = writer.claim(bytes.len()) else { return false };
        slot.fill(bytes);
        let signal = slot.commit(id);
        drop(section);
        self.written(index, bytes.len(), signal, alone);
        true
    }

    /// Writes one envelope to the stream of the peer at `index`. `alone` is set if no other envelope follows at once.
    ///
    /// # Errors
    /// [`PushError`] gives the reason. Nothing was written then.
    pub fn push(&mut self, index: usize, lane: Lane, id: i64, body: &Body<'_>, alone: bool) -> Result<(), PushError> {
        self.outgoing.check_length(index, body.len())?;
        let section = self.sections.begin();
        let signal = self.outgoing.writer(index, lane)?.push(id, body)?;
        drop(section);
        self.written(index, body.len(), signal, alone);
        Ok(())
    }

    /// Writes one envelope like [`push`](Sender::push), but one that may be dropped before it arrives, as `policy`
    /// says.
    ///
    /// # Errors
    /// [`PushError`] gives the reason: [`Restarted`](PushError::Restarted) too, if the envelope is for another
    /// incarnation of the peer than the present one. Nothing was written then.
    pub fn push_droppable(
        &mut self,
        index: usize,
        lane: Lane,
        id: i64,
        body: &Body<'_>,
        policy: DropPolicy,
    ) -> Result<(), PushError> {
        self.push_with_ticket(index, lane, id, body, policy, None)
    }

    /// Writes one envelope like [`push_droppable`](Sender::push_droppable), and lets the sender withdraw it with `ticket`
    /// as long as it was not sent.
    ///
    /// # Errors
    /// [`PushError`] gives the reason. Nothing was written then.
    pub fn push_with_ticket(
        &mut self,
        index: usize,
        lane: Lane,
        id: i64,
        body: &Body<'_>,
        policy: DropPolicy,
        ticket: Option<Ticket>,
    ) -> Result<(), PushError> {
        self.outgoing.check_length(index, body.len())?;
        if let Some(only) = policy.only {
            self.outgoing.check_incarnation(index, only)?;
        }
        let section = self.sections.begin();
        let signal = self.outgoing.writer(index, lane)?.push_with_ticket(id, body, policy, ticket)?;
        drop(section);
        self.written(index, body.len(), signal, false);
        Ok(())
    }

    /// Lets `write` encode one envelope of `length` bytes in place, in the stream of the peer at `index`. The bytes
    /// that `write` is given are left over from earlier envelopes to the same peer.
    ///
    /// # Errors
    /// Returns the reason, together with the bytes that `write` has written.
    #[inline(always)]
    pub fn push_with(
        &mut self,
        index: usize,
        lane: Lane,
        id: i64,
        length: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), (PushError, Vec<u8>)> {
        let Outgoing { shared, version, streams, settled, short, .. } = &mut self.outgoing;
        if length <= *short
            && let Some((writer, known)) = streams.get_with_known(index, lane)
            && !writer.is_closed()
            && let Ok(mut slot) = writer.claim(length)
        {
            write(slot.payload());
            // The section begins after `write`, which may take any time: a section must wait for nothing.
            let section = self.sections.begin_light();
            if !shared.roster.is_still(*settled) {
                section.strengthen();
                if let Err(error) = shared.allows(known.link(index), *version) {
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

    /// Encodes an envelope like [`push_with`](Sender::push_with): one that is long, or the first to a peer, or that
    /// cannot be written.
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
        let message = match self.outgoing.check_length(index, length).and_then(|()| self.outgoing.writer(index, lane)) {
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

    /// Returns whether the stream of the peer at `index` has room for an envelope of `length` bytes.
    ///
    /// # Errors
    /// [`PushError`] if the envelope cannot be sent even with room.
    pub fn has_room(&mut self, index: usize, lane: Lane, length: usize) -> Result<bool, PushError> {
        self.outgoing.check_length(index, length)?;
        Ok(self.outgoing.writer(index, lane)?.has_room(length))
    }

    /// Returns whether this server and all its peers accept an envelope of `length` payload bytes, as far as is known.
    pub fn all_accept(&mut self, length: usize) -> bool {
        length as u64 <= self.outgoing.follow_roster().least_limit
    }

    /// Checks that this server and the peer at `index` accept an envelope of `length` payload bytes.
    ///
    /// # Errors
    /// `TooLarge` with the limit. The limit of a peer is not known before the first link to it.
    pub fn check_length(&self, index: usize, length: usize) -> Result<(), PushError> {
        self.outgoing.check_length(index, length)
    }

    /// Registers `waker` to be woken when the stream of the peer at `index` may have room for `length` bytes. Returns
    /// `false` if the stream has room already.
    ///
    /// # Errors
    /// [`PushError`] if the peer was removed, the server has stopped, or the stream to the peer cannot be made.
    pub fn wait_for_room(&mut self, index: usize, lane: Lane, length: usize, waker: &Waker) -> Result<bool, PushError> {
        Ok(self.outgoing.writer(index, lane)?.wait_for_room(length, waker))
    }

    /// Returns the peers that have not acknowledged everything that this outbox wrote to them. Removed peers do not
    /// count.
    pub fn unflushed_peers(&mut self) -> Vec<Pid> {
        let Outgoing { peers, links, streams, .. } = self.outgoing.follow_roster();
        peers.iter().zip(links).filter(|(_, link)| streams.is_unflushed(**link)).map(|(pid, _)| *pid).collect()
    }

    /// Asks all peers with unacknowledged envelopes of this outbox to acknowledge them at once.
    pub fn request_ack(&mut self) {
        let Outgoing { shared, loop_handle, links, streams, .. } = &mut self.outgoing;
        for &link in &*links {
            if streams.request_ack(link) {
                loop_handle.mailbox().ready(Ready::RequestAck(LinkKey { node: shared.node, link }));
            }
        }
    }

    /// Registers `waker` to be woken when a peer may have acknowledged everything. Returns `false` if all peers have
    /// already.
    pub fn wait_for_flush(&mut self, waker: &Waker) -> bool {
        let mut waits = false;
        for writer in self.outgoing.streams.writers_mut() {
            if writer.is_unflushed() {
                waits |= writer.wait_for_flush(waker);
            }
        }
        waits
    }

    /// Ends the streams that dropped outboxes have left for later clones.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn end_spares(&self) {
        let Outgoing { shared, loop_handle, .. } = &self.outgoing;
        shared.take_spares().into_iter().for_each(|streams| outgoing::end(streams, shared, loop_handle));
    }

    /// Returns the bytes of the ring that this outbox has written on the link, and that were released because their
    /// envelopes are acknowledged or given up. `None` if the outbox has no stream there.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn acknowledged(&mut self, link: LinkId, lane: Lane) -> Option<u64> {
        let (index, streams) = (link.index as usize, &mut self.outgoing.streams);
        let writer = streams.link(index).filter(|known| *known == link).and_then(|_| streams.get_mut(index, lane));
        writer.map(crate::stream::SendQueue::acknowledged)
    }

    /// Number of links that the outbox has room for.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn places(&self) -> usize {
        self.outgoing.streams.places()
    }

    /// Returns whether the server has stopped, or its loop has failed.
    pub fn is_stopped(&self) -> bool {
        self.outgoing.shared.is_stopped() || self.outgoing.loop_handle.is_stopped()
    }

    /// Handle of this outbox's event loop.
    pub fn loop_handle(&self) -> &LoopHandle {
        &self.outgoing.loop_handle
    }

    /// Signals the link after a write, if the link waits for a signal. Turns an inline loop once enough bytes are
    /// written.
    #[inline(always)]
    fn written(&mut self, index: usize, bytes: usize, signal: bool, alone: bool) {
        let Outgoing { shared, loop_handle, streams, .. } = &self.outgoing;
        // A link that is gone needs no signal.
        if signal && let Some(link) = streams.link(index) {
            loop_handle.written(LinkKey { node: shared.node, link }, alone);
        }
        if loop_handle.is_inline() {
            self.unflushed += bytes + FRAME_HEADER_BYTES;
            if self.unflushed >= INLINE_BYTES {
                self.unflushed = 0;
                loop_handle.poll();
            }
        }
    }
}

#[cold]
fn encode(length: usize, write: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut buffer = vec![0; length];
    write(&mut buffer);
    buffer
}

impl Clone for Sender {
    /// Makes an outbox with streams of its own.
    fn clone(&self) -> Sender {
        Sender::new(self.outgoing.shared.clone(), self.outgoing.loop_handle.clone())
    }
}
