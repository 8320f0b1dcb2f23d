//! Frames: one envelope each, 16 bytes of header, the payload, padding to 8.

use std::fmt;
use std::mem::offset_of;

use zerocopy::byteorder::little_endian::{I64, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bytes of a frame header.
pub const FRAME_HEADER_BYTES: usize = size_of::<FrameHeader>();

/// A frame's header as it stands on the wire and in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FrameHeader {
    /// Bytes of payload, without the padding.
    pub length: U32,
    /// None in version 1: zero.
    pub flags: U16,
    reserved: U16,
    /// The message id, which belongs to the application.
    pub id: I64,
}

const _: () = {
    assert!(size_of::<FrameHeader>() == 16);
    assert!(offset_of!(FrameHeader, length) == 0);
    assert!(offset_of!(FrameHeader, flags) == 4);
    assert!(offset_of!(FrameHeader, reserved) == 6);
    assert!(offset_of!(FrameHeader, id) == 8);
    assert!(usize::BITS >= 64, "frame lengths are summed in usize");
};

impl FrameHeader {
    /// The header of an envelope with `length` bytes of payload.
    #[inline]
    pub fn new(length: u32, id: i64) -> FrameHeader {
        FrameHeader { length: length.into(), flags: 0.into(), reserved: 0.into(), id: id.into() }
    }
}

impl FrameHeader {
    /// The message id and the length of the payload; `None` with flags that version 1 does not have.
    #[inline(always)]
    pub(crate) fn read(bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<(i64, usize)> {
        let header: FrameHeader = zerocopy::transmute!(*bytes);
        (header.flags.get() == 0).then(|| (header.id.get(), header.length.get() as usize))
    }
}

/// `length` rounded up to the next multiple of 8.
#[inline]
pub const fn padded(length: usize) -> usize {
    (length + 7) & !7
}

/// The bytes that an envelope with `length` bytes of payload takes in a stream: header, payload, padding.
#[inline]
pub const fn frame_bytes(length: usize) -> usize {
    FRAME_HEADER_BYTES + padded(length)
}

/// One frame, borrowed from the bytes it arrived in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The message id.
    pub id: i64,
    /// The payload, 8-aligned when the bytes it was read from are.
    pub payload: &'a [u8],
}

/// Walks the frames of a data segment's payload.
///
/// Yields an error, once and last, when the bytes are not whole frames.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// The frames that stand in `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Frames<'a> {
        Frames { rest: bytes }
    }

    /// How many bytes have not been walked yet.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let found = self.rest.len();
        let Ok((header, body)) = FrameHeader::ref_from_prefix(self.rest) else {
            self.rest = &[];
            return Some(Err(FrameError::Truncated { needed: FRAME_HEADER_BYTES, found }));
        };
        let length = header.length.get() as usize;
        if header.flags.get() != 0 {
            self.rest = &[];
            return Some(Err(FrameError::Flags(header.flags.get())));
        }
        // `length` may be anything up to u32::MAX; what is added to it does not overflow, as a usize has 64 bits.
        if padded(length) > body.len() {
            self.rest = &[];
            return Some(Err(FrameError::Truncated { needed: frame_bytes(length), found }));
        }
        self.rest = &body[padded(length)..];
        Some(Ok(Frame { id: header.id.get(), payload: &body[..length] }))
    }
}

/// Why bytes are not frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame says that it is longer than the bytes that are there.
    Truncated {
        /// What the frame needs.
        needed: usize,
        /// What is there.
        found: usize,
    },
    /// Flags that version 1 does not have.
    Flags(u16),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Truncated { needed, found } => {
                write!(f, "a frame of {needed} bytes stands in {found} bytes of segment")
            }
            FrameError::Flags(found) => write!(f, "unknown frame flags {found:#06x}"),
        }
    }
}

impl std::error::Error for FrameError {}
