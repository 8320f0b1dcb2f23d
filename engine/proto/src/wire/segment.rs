//! Segment header: 48 bytes in front of every payload on a connection (WIRE.md, section Segments).

use std::fmt;
use std::mem::offset_of;

use crc_fast::{CrcAlgorithm, Digest};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First two bytes of every segment (WIRE.md, section Segments).
pub const MAGIC: u16 = 0x4C43;

/// Protocol version of this crate.
///
/// Magic, version and kind keep their places in all versions, so that a peer of another version can always be refused
/// with a reason (WIRE.md, section Later versions).
pub const VERSION: u8 = 2;

/// Length of a segment header in bytes (WIRE.md, section Segments).
pub const SEGMENT_HEADER_BYTES: usize = size_of::<SegmentHeader>();

/// Longest payload of a segment, in bytes (WIRE.md, section Segments).
///
/// It bounds head-of-line blocking of the urgent lane by the normal one. It also holds the frame of an envelope of
/// 64 KiB, which therefore arrives in one piece.
pub const MAX_SEGMENT_PAYLOAD: usize = 65 * 1024;

/// Value of `stream` and `ack_stream` in a segment without a stream, or without an acknowledgement (WIRE.md, section
/// Segments).
pub const NO_STREAM: u32 = u32::MAX;

/// Flag: the checksum covers the payload too, not only the header (WIRE.md, section Checksum).
pub const CHECKSUMMED: u16 = 1 << 0;
/// Flag: the payload is a part of one frame (WIRE.md, section Fragments).
pub const FRAGMENT: u16 = 1 << 1;
/// Flag: this fragment begins with the frame's header (WIRE.md, section Fragments).
pub const FIRST: u16 = 1 << 2;
/// Flag: this fragment ends with the frame's last byte (WIRE.md, section Fragments).
pub const LAST: u16 = 1 << 3;
/// Flag: the receiver must acknowledge without delay, because the sender's ring is filling up (WIRE.md, section
/// Segments). It ends a delayed acknowledgement.
pub const ACK_NOW: u16 = 1 << 4;

const KNOWN_FLAGS: u16 = CHECKSUMMED | FRAGMENT | FIRST | LAST | ACK_NOW;

/// Kind of a segment (WIRE.md, section Segments).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Greeting of the dialer, its first segment. Payload: [`Hello`](super::Hello).
    Hello = 1,
    /// Greeting of the acceptor in answer. Payload: [`Hello`](super::Hello).
    Welcome = 2,
    /// Refusal by the acceptor, with a reason. Payload: [`Refusal`](super::Refusal).
    Refuse = 3,
    /// Bytes of a stream. Payload: whole frames, or a fragment of one.
    Data = 4,
    /// Acknowledgements and credit of several streams. Payload: [`Grant`](super::Grant)s.
    Ack = 5,
    /// Sign of life, which may carry an acknowledgement in its header. No payload.
    Heartbeat = 6,
    /// Announcement that the sender closes the connection. Payload: [`GoodbyeReason`](super::GoodbyeReason).
    Goodbye = 7,
    /// End of the stream in the header at the position in the header: its outbox is gone. No payload.
    End = 8,
    /// Gap in a stream from the position in the header to the one in the payload, whose envelopes the sender has
    /// dropped.
    Skip = 9,
    /// Proof by the dialer that it is alive, its first segment after the `Welcome`. Payload: the challenge of the
    /// `Welcome`.
    Confirm = 10,
}

impl Kind {
    fn from_wire(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Hello,
            2 => Kind::Welcome,
            3 => Kind::Refuse,
            4 => Kind::Data,
            5 => Kind::Ack,
            6 => Kind::Heartbeat,
            7 => Kind::Goodbye,
            8 => Kind::End,
            9 => Kind::Skip,
            10 => Kind::Confirm,
            _ => return None,
        })
    }
}

/// Header of a segment, with the layout that it has on the wire (WIRE.md, section Segments). All integers are
/// little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SegmentHeader {
    magic: U16,
    version: u8,
    kind: u8,
    /// Stream that the payload belongs to, or [`NO_STREAM`].
    pub stream: U32,
    /// Bytes of payload that follow.
    pub length: U32,
    checksum: U32,
    /// Stream position of the payload's first byte.
    pub position: U64,
    /// Acknowledged position of `ack_stream`: every byte before it is in the inbox of the segment's sender.
    pub ack_position: U64,
    /// Credit for the lane of `ack_stream`: bytes that may be sent on it in this session, counted from its beginning.
    pub ack_credit: U64,
    /// Acknowledged stream of the other direction, or [`NO_STREAM`].
    pub ack_stream: U32,
    /// Flags: [`CHECKSUMMED`], [`FRAGMENT`], [`FIRST`], [`LAST`], [`ACK_NOW`].
    pub flags: U16,
    reserved: U16,
}

const _: () = {
    assert!(size_of::<SegmentHeader>() == 48);
    assert!(offset_of!(SegmentHeader, magic) == 0);
    assert!(offset_of!(SegmentHeader, version) == 2);
    assert!(offset_of!(SegmentHeader, kind) == 3);
    assert!(offset_of!(SegmentHeader, stream) == 4);
    assert!(offset_of!(SegmentHeader, length) == 8);
    assert!(offset_of!(SegmentHeader, checksum) == CHECKSUM_OFFSET);
    assert!(offset_of!(SegmentHeader, position) == 16);
    assert!(offset_of!(SegmentHeader, ack_position) == 24);
    assert!(offset_of!(SegmentHeader, ack_credit) == 32);
    assert!(offset_of!(SegmentHeader, ack_stream) == 40);
    assert!(offset_of!(SegmentHeader, flags) == 44);
    assert!(offset_of!(SegmentHeader, reserved) == 46);
};

const CHECKSUM_OFFSET: usize = 12;

impl SegmentHeader {
    /// Makes a header without payload, flags and acknowledgement. [`seal`](SegmentHeader::seal) it before it is sent.
    pub fn new(kind: Kind) -> SegmentHeader {
        SegmentHeader {
            magic: MAGIC.into(),
            version: VERSION,
            kind: kind as u8,
            stream: NO_STREAM.into(),
            length: 0.into(),
            checksum: 0.into(),
            position: 0.into(),
            ack_position: 0.into(),
            ack_credit: 0.into(),
            ack_stream: NO_STREAM.into(),
            flags: 0.into(),
            reserved: 0.into(),
        }
    }

    /// Kind of the segment. Meaningful only after [`parse`](SegmentHeader::parse) has accepted the header.
    #[inline]
    pub fn kind(&self) -> Kind {
        Kind::from_wire(self.kind).unwrap_or(Kind::Heartbeat)
    }

    /// Protocol version of the sender.
    #[inline]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Returns whether `flag` is set.
    #[inline]
    pub fn has(&self, flag: u16) -> bool {
        self.flags.get() & flag != 0
    }

    /// Length of header and payload together, in bytes.
    #[inline]
    pub fn segment_bytes(&self) -> usize {
        SEGMENT_HEADER_BYTES + self.length.get() as usize
    }

    /// Sets length and checksum for the payload that consists of `parts`.
    pub fn seal(&mut self, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(length <= MAX_SEGMENT_PAYLOAD && length.is_multiple_of(8));
        self.length = (length as u32).into();
        self.checksum = self.compute(parts).into();
    }

    /// Decodes a header from the front of `bytes`. Returns `None` while there are too few of them.
    ///
    /// Magic, version, kind, flags and length are checked here, so that a caller never waits or allocates for a payload
    /// that cannot be valid. [`verify`](SegmentHeader::verify) checks the checksum.
    ///
    /// # Errors
    /// Returns a [`SegmentError`] if one of these fields is not valid.
    pub fn parse(bytes: &[u8]) -> Result<Option<&SegmentHeader>, SegmentError> {
        // Checked at the first four bytes: the header of another version, or bytes of another protocol, may be shorter.
        let Some(&[magic_low, magic_high, version, kind]) = bytes.first_chunk() else { return Ok(None) };
        let magic = u16::from_le_bytes([magic_low, magic_high]);
        if magic != MAGIC {
            return Err(SegmentError::Magic(magic));
        }
        if version != VERSION {
            return Err(SegmentError::Version(version));
        }
        if Kind::from_wire(kind).is_none() {
            return Err(SegmentError::Kind(kind));
        }
        let Ok((header, _)) = SegmentHeader::ref_from_prefix(bytes) else { return Ok(None) };
        if header.length.get() as usize > MAX_SEGMENT_PAYLOAD || !header.length.get().is_multiple_of(8) {
            return Err(SegmentError::Length(header.length.get()));
        }
        if header.flags.get() & !KNOWN_FLAGS != 0 {
            return Err(SegmentError::Flags(header.flags.get()));
        }
        Ok(Some(header))
    }

    /// Verifies the checksum of this header and, with the flag [`CHECKSUMMED`], of `payload` (WIRE.md, section
    /// Checksum).
    ///
    /// # Errors
    /// Returns [`SegmentError::Checksum`] if it does not match.
    pub fn verify(&self, payload: &[u8]) -> Result<(), SegmentError> {
        let computed = self.compute(&[payload]);
        if computed == self.checksum.get() { Ok(()) } else { Err(SegmentError::Checksum) }
    }

    /// Computes the CRC-32C of the header without its checksum field and, with the flag [`CHECKSUMMED`], of the
    /// payload.
    fn compute(&self, parts: &[&[u8]]) -> u32 {
        let bytes = self.as_bytes();
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&bytes[..CHECKSUM_OFFSET]);
        digest.update(&bytes[CHECKSUM_OFFSET + 4..]);
        if self.has(CHECKSUMMED) {
            for part in parts.iter().filter(|part| !part.is_empty()) {
                digest.update(part);
            }
        }
        digest.finalize() as u32
    }
}

/// Reason why bytes are not a valid segment (WIRE.md, section Violations).
///
/// Each error ends the connection that the bytes came from, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentError {
    /// The first two bytes are not [`MAGIC`]: the other side does not speak this protocol.
    Magic(u16),
    /// The version is not [`VERSION`].
    Version(u8),
    /// The kind is unknown.
    Kind(u8),
    /// The length is above [`MAX_SEGMENT_PAYLOAD`] or not a multiple of 8.
    Length(u32),
    /// The flags include one that version 2 does not define.
    Flags(u16),
    /// The checksum does not match: header or payload was altered on the way.
    Checksum,
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SegmentError::Magic(found) => {
                write!(f, "not this protocol: a segment begins with {MAGIC:#06x}, found {found:#06x}")
            }
            SegmentError::Version(found) => write!(f, "protocol version {found}, this side speaks {VERSION}"),
            SegmentError::Kind(found) => write!(f, "unknown segment kind {found}"),
            SegmentError::Length(found) => {
                write!(f, "segment length {found} is above {MAX_SEGMENT_PAYLOAD} or not a multiple of 8")
            }
            SegmentError::Flags(found) => write!(f, "unknown segment flags {found:#06x}"),
            SegmentError::Checksum => write!(f, "segment checksum does not match: the bytes were altered on their way"),
        }
    }
}

impl std::error::Error for SegmentError {}

impl SegmentError {
    /// Advice on how to resolve the error.
    pub fn cure(&self) -> &'static str {
        match self {
            SegmentError::Magic(_) => "let nothing but servers of the cluster use their addresses",
            SegmentError::Version(_) => "upgrade the older side",
            SegmentError::Checksum => "look at what stands between the two: network cards, proxies",
            SegmentError::Kind(_) | SegmentError::Length(_) | SegmentError::Flags(_) => {
                "run the same release on both sides"
            }
        }
    }
}
