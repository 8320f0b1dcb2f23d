//! Frames: one envelope each, with a header of 16 bytes, the payload, and padding to a multiple of 8 (WIRE.md, section
//! Frames).

use std::fmt;
use std::mem::offset_of;

use zerocopy::byteorder::little_endian::{I64, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of a frame header in bytes (WIRE.md, section Frames).
pub const FRAME_HEADER_BYTES: usize = size_of::<FrameHeader>();

/// Header of a frame, with the layout that it has on the wire and in the ring (WIRE.md, section Frames).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FrameHeader {
    /// Bytes of payload, without the padding.
    pub length: U32,
    /// Flags. Version 2 defines none: 0.
    pub flags: U16,
    reserved: U16,
    /// Message id, which belongs to the application.
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
    /// Makes the header of an envelope with `length` bytes of payload.
    #[inline]
    pub fn new(length: u32, id: i64) -> FrameHeader {
        FrameHeader { length: length.into(), flags: 0.into(), reserved: 0.into(), id: id.into() }
    }
}

impl FrameHeader {
    /// Decodes the message id and the length of the payload in bytes. Returns `None` if a flag is set.
    #[inline(always)]
    pub fn read(bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<(i64, usize)> {
        let header: FrameHeader = zerocopy::transmute!(*bytes);
        (header.flags.get() == 0).then(|| (header.id.get(), header.length.get() as usize))
    }
}

/// Rounds `length` up to the next multiple of 8 (WIRE.md, section Conventions).
#[inline]
pub const fn padded(length: usize) -> usize {
    (length + 7) & !7
}

/// Returns the bytes that an envelope with `length` bytes of payload takes in a stream: header, payload, padding
/// (WIRE.md, section Frames).
#[inline]
pub const fn frame_bytes(length: usize) -> usize {
    FRAME_HEADER_BYTES + padded(length)
}

/// Frame, borrowed from the segment that it arrived in (WIRE.md, section Frames).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Message id.
    pub id: i64,
    /// Payload, aligned to 8 bytes if the decoded bytes are.
    pub payload: &'a [u8],
}

/// Iterator over the frames in the payload of a Data segment (WIRE.md, section Frames).
///
/// Yields an error, once and last, if the bytes are not whole frames.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Makes an iterator over the frames in `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Frames<'a> {
        Frames { rest: bytes }
    }

    /// Number of bytes that are not decoded yet.
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
        // `length` may be anything up to `u32::MAX`. The additions do not overflow, because a `usize` has 64 bits.
        if padded(length) > body.len() {
            self.rest = &[];
            return Some(Err(FrameError::Truncated { needed: frame_bytes(length), found }));
        }
        self.rest = &body[padded(length)..];
        Some(Ok(Frame { id: header.id.get(), payload: &body[..length] }))
    }
}

/// Reason why bytes are not whole frames (WIRE.md, section Violations).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame is longer than the bytes in the segment.
    Truncated {
        /// Bytes that the frame takes.
        needed: usize,
        /// Bytes that are left in the segment.
        found: usize,
    },
    /// Frame flags, none of which version 2 defines.
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
