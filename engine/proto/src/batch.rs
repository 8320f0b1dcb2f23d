//! Batches: segments that are sent at once, gathered from the memory that holds their bytes.

use crate::callback::OwnedBytes;
use crate::ring::Region;
use crate::wire::{CHECKSUMMED, MAX_SEGMENT_PAYLOAD, SEGMENT_HEADER_BYTES, SegmentHeader};

/// Size limit of one batch in bytes: payloads, and all headers but the first 16.
///
/// A larger batch would delay the connection's next batch and its urgent segments (head-of-line blocking).
pub const MAX_BATCH_BYTES: usize = 4 * MAX_SEGMENT_PAYLOAD;

/// Bytes for a connection that stay in place while the kernel reads them.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes in a stream's ring, which are not released before the peer has acknowledged them.
    Ring(Region),
    /// Bytes of an envelope that is sent by reference.
    Shared(OwnedBytes),
    /// Constant bytes.
    Static(&'static [u8]),
}

/// Piece of a batch.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Index of a segment header in the batch.
    Header(usize),
    /// Bytes of a stream.
    Part(Part),
    /// Bytes that the batch owns, such as a handshake or acknowledgements.
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
    /// Seals and appends a segment whose payload the batch owns. Such a payload is short and always checksummed.
    pub fn push_owned(&mut self, mut header: SegmentHeader, payload: Vec<u8>) {
        let flags = header.flags.get() | CHECKSUMMED;
        header.flags = flags.into();
        header.seal(&[&payload]);
        self.push_header(header);
        if !payload.is_empty() {
            self.pieces.push(Piece::Owned(payload));
        }
    }

    /// Appends a sealed segment. `parts` passes the parts of its payload to the given function, in order.
    pub fn push_sealed(&mut self, header: SegmentHeader, parts: impl FnOnce(&mut dyn FnMut(Part))) {
        self.push_header(header);
        parts(&mut |part| self.pieces.push(Piece::Part(part)));
    }

    fn push_header(&mut self, header: SegmentHeader) {
        self.bytes += header.segment_bytes();
        self.pieces.push(Piece::Header(self.headers.len()));
        self.headers.push(header);
    }

    /// Bytes of all headers and payloads.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of segments.
    #[inline]
    pub fn segments(&self) -> usize {
        self.headers.len()
    }

    /// Returns whether there is room for another segment of the greatest length.
    pub fn has_room(&self) -> bool {
        self.bytes + SEGMENT_HEADER_BYTES + MAX_SEGMENT_PAYLOAD <= MAX_BATCH_BYTES + 16 * SEGMENT_HEADER_BYTES
            && self.headers.len() < 64
    }

    /// Returns whether the batch has no segments.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Returns whether the batch holds no bytes of streams, but only handshakes, heartbeats and acknowledgements.
    #[inline]
    pub fn is_control(&self) -> bool {
        self.pieces.iter().all(|piece| !matches!(piece, Piece::Part(_)))
    }

    /// Pieces of the batch, in order.
    #[inline]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Returns the header of a [`Piece::Header`].
    ///
    /// # Panics
    /// Panics if the batch has no header of this index.
    #[inline]
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
