//! Segments that are sent at once, gathered where their bytes stand.

use crate::callback::OwnedBytes;
use crate::ring::Region;
use crate::wire::{CHECKSUMMED, MAX_SEGMENT_PAYLOAD, SEGMENT_HEADER_BYTES, SegmentHeader};

/// The most bytes of payload in one batch. More would keep a connection's next batch, and what is urgent in it,
/// waiting.
pub const MAX_BATCH_BYTES: usize = 4 * MAX_SEGMENT_PAYLOAD;

/// A piece of what a connection sends: bytes that stay in place while the kernel reads them.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes in a stream's ring, which are not released before the peer has acknowledged them.
    Ring(Region),
    /// Bytes of an envelope by reference.
    Shared(OwnedBytes),
    /// Constant bytes.
    Static(&'static [u8]),
}

/// A piece of a batch.
#[derive(Clone, Debug)]
pub enum Piece {
    /// The batch's header of this index.
    Header(usize),
    /// Bytes of a stream.
    Part(Part),
    /// Bytes that the batch owns: a handshake, acknowledgements.
    Owned(Vec<u8>),
}

/// Segments to be sent at once, in order.
#[derive(Debug, Default)]
pub struct Batch {
    headers: Vec<SegmentHeader>,
    pieces: Vec<Piece>,
    bytes: usize,
}

impl Batch {
    /// Appends a segment whose payload the batch owns; seals it. Such a payload is short, and always checksummed.
    pub fn push_owned(&mut self, mut header: SegmentHeader, payload: Vec<u8>) {
        let flags = header.flags.get() | CHECKSUMMED;
        header.flags = flags.into();
        header.seal(&[&payload]);
        self.push_header(header);
        if !payload.is_empty() {
            self.pieces.push(Piece::Owned(payload));
        }
    }

    /// Appends a sealed segment whose payload `parts` appends.
    pub fn push_sealed(&mut self, header: SegmentHeader, parts: impl FnOnce(&mut dyn FnMut(Part))) {
        self.push_header(header);
        parts(&mut |part| self.pieces.push(Piece::Part(part)));
    }

    fn push_header(&mut self, header: SegmentHeader) {
        self.bytes += header.segment_bytes();
        self.pieces.push(Piece::Header(self.headers.len()));
        self.headers.push(header);
    }

    /// Bytes in all.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many segments.
    pub fn segments(&self) -> usize {
        self.headers.len()
    }

    /// Whether there is room for another whole segment.
    pub fn has_room(&self) -> bool {
        self.bytes + SEGMENT_HEADER_BYTES + MAX_SEGMENT_PAYLOAD <= MAX_BATCH_BYTES + 16 * SEGMENT_HEADER_BYTES
            && self.headers.len() < 64
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Returns whether it holds no bytes of streams: a handshake, heartbeats, acknowledgements.
    pub fn is_control(&self) -> bool {
        self.pieces.iter().all(|piece| !matches!(piece, Piece::Part(_)))
    }

    /// The pieces in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The header of a [`Piece::Header`].
    pub fn header(&self, index: usize) -> &SegmentHeader {
        &self.headers[index]
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.headers.clear();
        self.pieces.clear();
        self.bytes = 0;
    }
}
