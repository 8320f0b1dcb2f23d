//! One end of a connection in memory: what it sends, and how much of that may be under way.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::exchange::{News, Place, Taken};
use crate::batch::{Batch, Part, Piece};
use crate::driver::{ChunkPool, ReceiveBuffer};

/// One end of a connection. It fills two lines of the processor's cache: an idle one costs little else.
#[repr(align(64))]
pub(super) struct End {
    /// See [`Place`].
    pub(super) number: NonZeroU64,
    /// The other end; none before a dial is answered.
    pub(super) peer: Option<Place>,
    /// It was told to close.
    pub(super) closing: bool,
    /// The other end sends nothing more, and the shard was told.
    pub(super) ended: bool,
    /// The other end takes nothing more.
    pub(super) broken: bool,
    /// Nothing more is to be sent after the send under way.
    pub(super) finishing: bool,
    /// A send that waits for the other side.
    pub(super) send: Option<Send>,
    /// What was taken of what the other end has sent.
    received: Taken,
    outgoing: Outgoing,
}

/// A send under way.
pub(super) struct Send {
    pub(super) batch: Box<Batch>,
    /// The pieces before this one were sent.
    pub(super) piece: usize,
}

/// What was sent.
///
/// `taken <= sent`. No segment is begun while a window of bytes or [`MOST_LETTERS`] letters are under way. Of these,
/// all but the last `unasked` will be answered for; as those are always fewer than a quarter of either limit, an end
/// that waits for room is told when there is some.
struct Outgoing {
    /// Bytes that may be under way.
    window: u64,
    /// Where it stands: what was sent is constant, and read by the other side in place; what is to be sent goes behind
    /// it.
    chunk: Option<ReceiveBuffer>,
    sent: Taken,
    /// As far as the other end has said.
    taken: Taken,
    unasked: Unasked,
}

/// Bytes and letters that were sent since the other end was last asked to say what it has taken. Few: see
/// [`Outgoing`].
#[derive(Clone, Copy, Debug, Default)]
struct Unasked {
    bytes: u32,
    letters: u32,
}

/// The longest batch that stands in the chunk of all ends.
const CONTROL_BYTES: usize = 4096;
/// The most letters of a connection that are under way in one direction: what bounds a shard's queue when they are
/// short.
pub(super) const MOST_LETTERS: u32 = 256;

impl End {
    pub(super) fn new(number: NonZeroU64, peer: Option<Place>, window: u64) -> End {
        End {
            number,
            peer,
            closing: false,
            ended: false,
            broken: false,
            finishing: false,
            send: None,
            received: Taken::default(),
            outgoing: Outgoing {
                window,
                chunk: None,
                sent: Taken::default(),
                taken: Taken::default(),
                unasked: Unasked::default(),
            },
        }
    }

    /// Sends the batch from a piece on, as far as there is room for whole segments: copies them, and gives `post` what
    /// the other end is to be told. Returns how many bytes that were, and where to go on.
    ///
    /// This is the only copy on the way from one application's ring to the other application. What is short and holds
    /// nothing of a stream stands in `control`, a chunk of all ends of the loop: such segments are not kept where they
    /// arrive, so that they pin no memory, and an idle end needs none.
    pub(super) fn transfer(
        &mut self,
        batch: &Batch,
        mut piece: usize,
        pool: &Arc<ChunkPool>,
        control: &mut Option<ReceiveBuffer>,
        mut post: impl FnMut(News),
    ) -> io::Result<(usize, usize)> {
        if self.broken || self.peer.is_none() {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        // A part of the batch was sent. Without memory for the rest of it, nothing more can follow.
        let mut take = || pool.take().inspect_err(|_| self.broken = true);
        let (before, received) = (self.outgoing.sent.bytes, self.received);
        let is_control = batch.bytes() <= CONTROL_BYTES && batch.is_control();
        let place = if is_control { &mut *control } else { &mut self.outgoing.chunk };
        let mut chunk = match place.take() {
            Some(chunk) => chunk,
            None => take()?,
        };
        // A quiet connection stays on the same few pages.
        chunk.reset();
        let mut begin = chunk.filled();
        while let Some(Piece::Header(index)) = batch.pieces().get(piece)
            && self.outgoing.has_room()
        {
            let header = batch.header(*index);
            let bytes = header.segment_bytes();
            if chunk.free() < bytes {
                self.outgoing.hand_over(&chunk, begin, received, &mut post);
                chunk = take()?;
                begin = 0;
            }
            chunk.append(header.as_bytes());
            piece += 1;
            while let Some(payload) = batch.pieces().get(piece).and_then(payload_bytes) {
                chunk.append(payload);
                piece += 1;
            }
            self.outgoing.sent.bytes += bytes as u64;
        }
        self.outgoing.hand_over(&chunk, begin, received, &mut post);
        *(if is_control { control } else { &mut self.outgoing.chunk }) = Some(chunk);
        Ok(((self.outgoing.sent.bytes - before) as usize, piece))
    }

    /// Returns whether the other end has yet to take several letters, as far as is known: it answers heartbeats, unless
    /// two cross.
    pub(super) fn is_unread(&self) -> bool {
        self.outgoing.sent.letters.wrapping_sub(self.outgoing.taken.letters) >= 3
    }

    /// Segments have come from the other end. Returns how much has come in all.
    pub(super) fn receive(&mut self, bytes: usize) -> Taken {
        self.received.bytes += bytes as u64;
        self.received.letters = self.received.letters.wrapping_add(1);
        self.received
    }

    /// The other end has taken so much. Returns whether a send may go on.
    pub(super) fn taken(&mut self, taken: Taken) -> bool {
        let Outgoing { sent, taken: known, unasked, .. } = &mut self.outgoing;
        debug_assert!(known.bytes <= taken.bytes && taken.bytes <= sent.bytes);
        *known = taken;
        if taken == *sent {
            *unasked = Unasked::default();
        }
        self.send.is_some()
    }

    /// Returns whether a send waits for which there is room.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn can_go_on(&self) -> bool {
        !self.closing && self.send.is_some() && self.outgoing.has_room()
    }

    /// Lets go of what is only there to send.
    pub(super) fn clear(&mut self) {
        self.send = None;
        self.outgoing.chunk = None;
    }
}

impl Outgoing {
    fn has_room(&self) -> bool {
        self.sent.bytes - self.taken.bytes < self.window
            && self.sent.letters.wrapping_sub(self.taken.letters) < MOST_LETTERS
    }

    /// What stands in the chunk from `begin` on is the other end's.
    fn hand_over(&mut self, chunk: &ReceiveBuffer, begin: usize, received: Taken, post: &mut impl FnMut(News)) {
        let bytes = chunk.filled() - begin;
        if bytes == 0 {
            return;
        }
        self.sent.letters = self.sent.letters.wrapping_add(1);
        self.unasked.bytes += bytes as u32;
        self.unasked.letters += 1;
        let ask = u64::from(self.unasked.bytes) >= self.window / 4 || self.unasked.letters >= MOST_LETTERS / 4;
        if ask {
            self.unasked = Unasked::default();
        }
        post(News::Bytes { bytes: chunk.share(begin..chunk.filled()), ask, taken: received });
    }
}

/// The piece that the first `skip` bytes of a batch end before. They are whole segments: nothing else is ever sent.
pub(super) fn piece_behind(batch: &Batch, mut skip: usize) -> usize {
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

/// The bytes of a piece that is not a header.
fn payload_bytes(piece: &Piece) -> Option<&[u8]> {
    Some(match piece {
        Piece::Header(_) => return None,
        // SAFETY: the region keeps its memory mapped. Nobody writes to its bytes before the peer has acknowledged them,
        // which it cannot have done: they are read here because they are to be sent on the connection that the link
        // has. A link that loses its connection closes it before it makes another, and what waits to be sent there is
        // dropped.
        Piece::Part(Part::Ring(region)) => unsafe { std::slice::from_raw_parts(region.as_ptr(), region.len()) },
        Piece::Part(Part::Shared(bytes)) => bytes,
        Piece::Part(Part::Static(bytes)) => bytes,
        Piece::Owned(bytes) => bytes,
    })
}
