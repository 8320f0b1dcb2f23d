//! The segment header: 48 bytes in front of everything that crosses a connection.

use std::fmt;
use std::mem::offset_of;

use crc_fast::{CrcAlgorithm, Digest};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first two bytes of every segment.
pub const MAGIC: u16 = 0x4C43;

/// The protocol version that this crate speaks. Magic, version and kind keep their places in every future version, so
/// that a peer of another version can always be refused with a reason.
pub const VERSION: u8 = 2;

/// The bytes of a segment header.
pub const SEGMENT_HEADER_BYTES: usize = size_of::<SegmentHeader>();

/// The longest payload of a segment. It bounds how long an urgent lane waits behind a bulk one, and holds the frame of an
/// envelope of 64 KiB, which so arrives in one piece.
pub const MAX_SEGMENT_PAYLOAD: usize = 65 * 1024;

/// In `ack_stream`: this segment acknowledges nothing.
pub const NO_STREAM: u32 = u32::MAX;

/// Flag: the checksum covers the payload too, not only the header.
pub const CHECKSUMMED: u16 = 1 << 0;
/// Flag: the payload is a part of one frame that is longer than a segment.
pub const FRAGMENT: u16 = 1 << 1;
/// Flag: this fragment begins with the frame's header.
pub const FIRST: u16 = 1 << 2;
/// Flag: this fragment ends the frame.
pub const LAST: u16 = 1 << 3;
/// Flag: the sender's ring is filling up; acknowledge without delay.
pub const ACK_NOW: u16 = 1 << 4;

const KNOWN_FLAGS: u16 = CHECKSUMMED | FRAGMENT | FIRST | LAST | ACK_NOW;

/// What a segment carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The dialing side introduces itself. Payload: [`Hello`](super::Hello).
    Hello = 1,
    /// The accepting side answers. Payload: [`Hello`](super::Hello).
    Welcome = 2,
    /// The accepting side declines, and says why. Payload: [`Refusal`](super::Refusal).
    Refuse = 3,
    /// Bytes of a stream. Payload: frames, or a fragment of one.
    Data = 4,
    /// Acknowledgements and credit of several streams. Payload: [`Grant`](super::Grant)s.
    Ack = 5,
    /// Nothing but a sign of life, and the acknowledgement in the header.
    Heartbeat = 6,
    /// The sender is leaving. Payload: the reason.
    Goodbye = 7,
    /// The stream named in the header has ended at the position in the header: its outbox is gone.
    End = 8,
    /// Nothing stands in the stream between the position in the header and the one in the payload: what stood there was
    /// dropped by its sender.
    Skip = 9,
    /// The dialing side repeats the challenge of the answer that it got, to show that it is there. Its first segment.
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

/// A segment's header as it stands on the wire; little-endian throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SegmentHeader {
    magic: U16,
    version: u8,
    kind: u8,
    /// The stream that the payload belongs to.
    pub stream: U32,
    /// Bytes of payload that follow.
    pub length: U32,
    checksum: U32,
    /// The stream position of the payload's first byte.
    pub position: U64,
    /// For the stream `ack_stream` of the other direction: every byte before this position is in the receiver's inbox.
    pub ack_position: U64,
    /// For the lane of the same stream: the bytes that may be sent on it in this session, from its beginning.
    pub ack_credit: U64,
    /// The stream of the other direction that is acknowledged, or [`NO_STREAM`].
    pub ack_stream: U32,
    /// See [`CHECKSUMMED`], [`FRAGMENT`], [`FIRST`], [`LAST`], [`ACK_NOW`].
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
    /// A header with no payload, no flags and nothing acknowledged; [`seal`](SegmentHeader::seal) it before it is sent.
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

    /// What the segment carries. Meaningful once [`parse`](SegmentHeader::parse) has accepted the header.
    pub fn kind(&self) -> Kind {
        Kind::from_wire(self.kind).unwrap_or(Kind::Heartbeat)
    }

    /// The protocol version of the sender.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Whether a flag stands.
    pub fn has(&self, flag: u16) -> bool {
        self.flags.get() & flag != 0
    }

    /// Header and payload together, in bytes.
    pub fn segment_bytes(&self) -> usize {
        SEGMENT_HEADER_BYTES + self.length.get() as usize
    }

    /// Sets length and checksum for a payload that stands in `parts`.
    pub fn seal(&mut self, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(length <= MAX_SEGMENT_PAYLOAD && length.is_multiple_of(8));
        self.length = (length as u32).into();
        self.checksum = self.compute(parts).into();
    }

    /// Reads a header from the front of `bytes`: `None` while there are too few of them.
    ///
    /// Magic, version, kind, flags and length are checked here, so that a caller never waits for, or makes room for, a
    /// payload that could not be right. The checksum is checked by [`verify`](SegmentHeader::verify).
    pub fn parse(bytes: &[u8]) -> Result<Option<&SegmentHeader>, SegmentError> {
        // Judged as soon as they are there: another version's header, and what a stranger says, may be shorter than ours.
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

    /// Whether the checksum is that of this header and, where the flag says so, of `payload`.
    pub fn verify(&self, payload: &[u8]) -> Result<(), SegmentError> {
        let computed = self.compute(&[payload]);
        if computed == self.checksum.get() { Ok(()) } else { Err(SegmentError::Checksum) }
    }

    /// CRC-32C of the header without its checksum field, continued over the payload where the flag says so.
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

/// Why bytes are not a segment. Each is the end of the connection they came from, and of nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentError {
    /// The first two bytes are not [`MAGIC`]: whoever is there does not speak this protocol.
    Magic(u16),
    /// A version that this crate does not speak.
    Version(u8),
    /// No such kind.
    Kind(u8),
    /// Longer than [`MAX_SEGMENT_PAYLOAD`], or not a multiple of 8.
    Length(u32),
    /// Flags that version 1 does not have.
    Flags(u16),
    /// Header or payload was altered on its way.
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
    /// Advice on what to do about the error.
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
