//! An endpoint of a connection in memory: its sends, and their flow control.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::registry::{EndpointEvent, EndpointId, Transferred};
use crate::batch::{Batch, Part, Piece};
use crate::driver::{ChunkPool, ReceiveBuffer};

/// One endpoint of a connection. It fills two cache lines, and an idle endpoint costs little else.
#[repr(align(64))]
pub(super) struct Endpoint {
    /// Number that tells this endpoint from earlier ones in the same slot; see [`EndpointId`].
    pub(super) number: NonZeroU64,
    /// The other endpoint; `None` before a dial is answered.
    pub(super) peer: Option<EndpointId>,
    /// Set if the shard has closed the endpoint.
    pub(super) closing: bool,
    /// Set if the peer sends no more, and the shard was told.
    pub(super) ended: bool,
    /// Set if the peer takes no more, or if a chunk for a send could not be allocated.
    pub(super) broken: bool,
    /// Set if no further send follows the one under way.
    pub(super) finishing: bool,
    /// A send that waits for the peer.
    pub(super) send: Option<Send>,
    /// Bytes and messages that were taken from the peer.
    received: Transferred,
    sending: SendState,
}

/// A send under way.
pub(super) struct Send {
    pub(super) batch: Box<Batch>,
    /// Index of the first piece that is not sent yet.
    pub(super) piece: usize,
}

/// Sending side of an endpoint.
///
/// `taken <= sent`. No segment is begun while a window of bytes or [`MOST_MESSAGES`] messages are under way. The peer
/// reports that it has taken the bytes and messages, for all but the last `unasked` ones. These are always fewer than a
/// quarter of either limit, so an endpoint that waits for room is told when there is some.
struct SendState {
    /// Bytes that may be under way.
    window: u64,
    /// Chunk that is sent from. Bytes that were sent no longer change, and the peer reads them in place; further bytes
    /// are appended.
    chunk: Option<ReceiveBuffer>,
    sent: Transferred,
    /// Bytes and messages that the peer has reported as taken.
    taken: Transferred,
    unasked: Unasked,
}

/// Bytes and messages that were sent since the peer was last asked for its progress. They are few: see [`SendState`].
#[derive(Clone, Copy, Debug, Default)]
struct Unasked {
    bytes: u32,
    messages: u32,
}

/// Longest batch, in bytes, that is sent from the chunk that all endpoints of a loop share.
const CONTROL_BYTES: usize = 4096;
/// Most messages of a connection that are under way in one direction. This bounds the queue of a shard when messages
/// are short.
pub(super) const MOST_MESSAGES: u32 = 256;

impl Endpoint {
    pub(super) fn new(number: NonZeroU64, peer: Option<EndpointId>, window: u64) -> Endpoint {
        Endpoint {
            number,
            peer,
            closing: false,
            ended: false,
            broken: false,
            finishing: false,
            send: None,
            received: Transferred::default(),
            sending: SendState {
                window,
                chunk: None,
                sent: Transferred::default(),
                taken: Transferred::default(),
                unasked: Unasked::default(),
            },
        }
    }

    /// Sends the segments of a batch from `piece` on, as long as the window has room: copies them, and gives `post` the
    /// events for the peer. Returns the number of bytes sent, and the index of the next piece to send.
    ///
    /// This is the only copy between the ring of the sender and the receiving application. Short batches that hold no
    /// bytes of a stream are copied to `control`, a chunk that all endpoints of the loop share. The receiver does not
    /// keep them, so they pin no memory, and an idle endpoint needs no chunk.
    ///
    /// # Errors
    /// `BrokenPipe` if the peer takes no more or has not answered the dial. `OutOfMemory` if no chunk can be allocated;
    /// the endpoint is broken then.
    pub(super) fn transfer(
        &mut self,
        batch: &Batch,
        mut piece: usize,
        pool: &Arc<ChunkPool>,
        control: &mut Option<ReceiveBuffer>,
        mut post: impl FnMut(EndpointEvent),
    ) -> io::Result<(usize, usize)> {
        if self.broken || self.peer.is_none() {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        // The endpoint is marked as broken: part of the batch may be sent, and nothing may follow without the rest.
        let mut take = || pool.take().inspect_err(|_| self.broken = true);
        let (before, received) = (self.sending.sent.bytes, self.received);
        let is_control = batch.bytes() <= CONTROL_BYTES && batch.is_control();
        let place = if is_control { &mut *control } else { &mut self.sending.chunk };
        let mut chunk = match place.take() {
            Some(chunk) => chunk,
            None => take()?,
        };
        // A quiet connection stays on the same few pages.
        chunk.reset();
        let mut begin = chunk.filled();
        while let Some(Piece::Header(index)) = batch.pieces().get(piece)
            && self.sending.has_room()
        {
            let header = batch.header(*index);
            let bytes = header.segment_bytes();
            if chunk.free() < bytes {
                self.sending.hand_over(&chunk, begin, received, &mut post);
                chunk = take()?;
                begin = 0;
            }
            chunk.append(header.as_bytes());
            piece += 1;
            while let Some(payload) = batch.pieces().get(piece).and_then(payload_bytes) {
                chunk.append(payload);
                piece += 1;
            }
            self.sending.sent.bytes += bytes as u64;
        }
        self.sending.hand_over(&chunk, begin, received, &mut post);
        *(if is_control { control } else { &mut self.sending.chunk }) = Some(chunk);
        Ok(((self.sending.sent.bytes - before) as usize, piece))
    }

    /// Returns whether at least three messages to the peer are not reported as taken. Fewer prove nothing: the answer
    /// to a heartbeat carries the report, but heartbeats that cross get no answer.
    pub(super) fn is_unread(&self) -> bool {
        self.sending.sent.messages.wrapping_sub(self.sending.taken.messages) >= 3
    }

    /// Counts a message of `bytes` bytes from the peer. Returns the bytes and messages taken so far.
    pub(super) fn receive(&mut self, bytes: usize) -> Transferred {
        self.received.bytes += bytes as u64;
        self.received.messages = self.received.messages.wrapping_add(1);
        self.received
    }

    /// Stores the progress that the peer reports. Returns whether a send waits, which may continue now.
    pub(super) fn taken(&mut self, taken: Transferred) -> bool {
        let SendState { sent, taken: known, unasked, .. } = &mut self.sending;
        debug_assert!(known.bytes <= taken.bytes && taken.bytes <= sent.bytes);
        *known = taken;
        if taken == *sent {
            *unasked = Unasked::default();
        }
        self.send.is_some()
    }

    /// Returns whether a send waits although there is room.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn can_go_on(&self) -> bool {
        !self.closing && self.send.is_some() && self.sending.has_room()
    }

    /// Drops the state that only sending needs.
    pub(super) fn clear(&mut self) {
        self.send = None;
        self.sending.chunk = None;
    }
}

impl SendState {
    fn has_room(&self) -> bool {
        self.sent.bytes - self.taken.bytes < self.window
            && self.sent.messages.wrapping_sub(self.taken.messages) < MOST_MESSAGES
    }

    /// Hands the bytes of the chunk from `begin` on to the peer.
    fn hand_over(
        &mut self,
        chunk: &ReceiveBuffer,
        begin: usize,
        received: Transferred,
        post: &mut impl FnMut(EndpointEvent),
    ) {
        let bytes = chunk.filled() - begin;
        if bytes == 0 {
            return;
        }
        self.sent.messages = self.sent.messages.wrapping_add(1);
        self.unasked.bytes += bytes as u32;
        self.unasked.messages += 1;
        let ask = u64::from(self.unasked.bytes) >= self.window / 4 || self.unasked.messages >= MOST_MESSAGES / 4;
        if ask {
            self.unasked = Unasked::default();
        }
        post(EndpointEvent::Bytes { bytes: chunk.share(begin..chunk.filled()), ask, taken: received });
    }
}

/// Returns the index of the piece behind the first `skip` bytes of a batch. These are whole segments: nothing else is
/// ever sent.
pub(super) fn piece_after(batch: &Batch, mut skip: usize) -> usize {
    let mut pieces = batch.pieces().iter().enumerate();
    let found = pieces.find_map(|(index, piece)| match piece {
        Piece::Header(_) if skip == 0 => Some(index),
        Piece::Header(header) => {
            skip = skip.saturating_sub(batch.header(*header).segment_bytes());
            None
        }
        _ => None,
    });
    found.unwrap_or(batch.pieces().len())
}

/// Returns the bytes of a piece; `None` for a header.
fn payload_bytes(piece: &Piece) -> Option<&[u8]> {
    Some(match piece {
        Piece::Header(_) => return None,
        // SAFETY: the region keeps its memory mapped, and was written before it became part of a batch. The producer of
        // the ring writes to it again only after its `SendWindow` has released it. That is not before the bytes are
        // acknowledged, or given up as stale. Safe code of `cluster_proto` and of the shard keeps this so:
        // - They are not acknowledged. The peer is a shard of this process, whose `RecvStream` acknowledges what it has
        //   received on this connection, and this call is what makes it receive these bytes. The greeting of a newer
        //   connection acknowledges nothing.
        // - They are not given up: a `Link` does so only while it is not up (it asserts that), and the shard closes the
        //   connection, which drops its waiting send, in the same call in which its link goes down or is up on another
        //   connection. No `transfer` comes between the two.
        // - A link that is closed for good may leave a last send behind. It releases nothing any more: its window is
        //   not used again, and the drop of a window releases nothing.
        Piece::Part(Part::Ring(region)) => unsafe { std::slice::from_raw_parts(region.as_ptr(), region.len()) },
        Piece::Part(Part::Shared(bytes)) => bytes,
        Piece::Part(Part::Static(bytes)) => bytes,
        Piece::Owned(bytes) => bytes,
    })
}
