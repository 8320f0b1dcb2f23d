//! One end of a connection in memory: what it sends, and how much of that may be under way.

use std::io;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::exchange::{News, Place};
use crate::driver::{ChunkPool, ReceiveBuffer};
use crate::link::{Batch, Piece};
use crate::stream::Part;

/// One end of a connection.
pub(super) struct End {
    /// See [`Place`].
    pub(super) number: u64,
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
    pub(super) received: u64,
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
/// `taken <= sent`, and `sent - taken` is less than a window and a segment. Of these, all but the last `unasked` will be
/// answered for; as those are always fewer than a quarter of the window, an end that waits for room is told when there is some.
struct Outgoing {
    /// No segment is begun when so much is under way. With each quarter of it the sender asks how far the other side is.
    window: u64,
    /// Where it stands: what was sent is constant, and read by the other side in place; what is to be sent goes behind it.
    chunk: Option<ReceiveBuffer>,
    sent: u64,
    /// As far as the other end has said.
    taken: u64,
    unasked: u64,
}

impl End {
    pub(super) fn new(number: u64, peer: Option<Place>, window: u64) -> End {
        End {
            number,
            peer,
            closing: false,
            ended: false,
            broken: false,
            finishing: false,
            send: None,
            received: 0,
            outgoing: Outgoing { window, chunk: None, sent: 0, taken: 0, unasked: 0 },
        }
    }

    /// Sends the batch from a piece on, as far as there is room for whole segments: copies them, and gives `post` what the
    /// other end is to be told. Returns how many bytes that were, and where to go on.
    ///
    /// This is the only copy on the way from one application's ring to the other application.
    pub(super) fn transfer(
        &mut self,
        batch: &Batch,
        mut piece: usize,
        pool: &Arc<ChunkPool>,
        mut post: impl FnMut(News),
    ) -> io::Result<(usize, usize)> {
        if self.broken || self.peer.is_none() {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        let before = self.outgoing.sent;
        let mut chunk = match self.outgoing.chunk.take() {
            Some(chunk) => chunk,
            None => pool.take(),
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
                self.outgoing.hand_over(&chunk, begin, &mut post);
                chunk = pool.take();
                begin = 0;
            }
            chunk.append(header.as_bytes());
            piece += 1;
            while let Some(payload) = batch.pieces().get(piece).and_then(payload_bytes) {
                chunk.append(payload);
                piece += 1;
            }
            self.outgoing.sent += bytes as u64;
        }
        self.outgoing.hand_over(&chunk, begin, &mut post);
        self.outgoing.chunk = Some(chunk);
        Ok(((self.outgoing.sent - before) as usize, piece))
    }

    /// The other end has taken so much. Returns whether a send may go on.
    pub(super) fn taken(&mut self, taken: u64) -> bool {
        debug_assert!(self.outgoing.taken <= taken && taken <= self.outgoing.sent);
        self.outgoing.taken = taken;
        self.send.is_some()
    }

    /// Lets go of what is only there to send.
    pub(super) fn clear(&mut self) {
        self.send = None;
        self.outgoing.chunk = None;
    }
}

impl Outgoing {
    fn has_room(&self) -> bool {
        self.sent - self.taken < self.window
    }

    /// What stands in the chunk from `begin` on is the other end's.
    fn hand_over(&mut self, chunk: &ReceiveBuffer, begin: usize, post: &mut impl FnMut(News)) {
        let bytes = chunk.filled() - begin;
        if bytes == 0 {
            return;
        }
        self.unasked += bytes as u64;
        let ask = self.unasked >= self.window / 4;
        if ask {
            self.unasked = 0;
        }
        post(News::Bytes { bytes: chunk.share(begin..chunk.filled()), ask });
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
        // which it cannot have done: they are read here because they are to be sent on the connection that the link has. A
        // link that loses its connection closes it before it makes another, and what waits to be sent there is dropped.
        Piece::Part(Part::Ring(region)) => unsafe { std::slice::from_raw_parts(region.as_ptr(), region.len()) },
        Piece::Part(Part::Shared(bytes)) => bytes,
        Piece::Part(Part::Static(bytes)) => bytes,
        Piece::Owned(bytes) => bytes,
    })
}
