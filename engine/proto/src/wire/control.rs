//! Payloads of control segments: Ack, Skip, Confirm and Goodbye (WIRE.md, section Control segments).

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{LARGEST_POSITION, Lane};

/// Acknowledgement of one stream and flow-control credit of its lane.
///
/// An entry in the payload of an `Ack` segment (WIRE.md, section Control segments).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Grant {
    /// Stream number, as the stream's sender numbers it. [`NO_STREAM`](super::NO_STREAM) for credit alone.
    pub stream: U32,
    /// Lane that the credit is for, which is the lane of the stream if there is one.
    pub lane: U16,
    reserved: U16,
    /// Acknowledged position: every byte before it is in the receiver's inbox.
    pub position: U64,
    /// Credit: bytes that may be sent on the lane in this session, counted from its beginning.
    pub credit: U64,
}

const _: () = assert!(size_of::<Grant>() == 24);

impl Grant {
    /// Makes a grant of `credit` bytes for `lane` that acknowledges `stream` up to `position`.
    pub fn new(stream: u32, lane: Lane, position: u64, credit: u64) -> Grant {
        Grant {
            stream: stream.into(),
            lane: (lane as u16).into(),
            reserved: 0.into(),
            position: position.into(),
            credit: credit.into(),
        }
    }
}

/// Encodes the payload of an `Ack` segment (WIRE.md, section Control segments).
pub fn encode_grants(grants: &[Grant]) -> Vec<u8> {
    grants.as_bytes().to_vec()
}

/// Decodes the payload of an `Ack` segment (WIRE.md, section Control segments).
///
/// Returns `None` if it is not a whole number of grants.
pub fn decode_grants(payload: &[u8]) -> Option<&[Grant]> {
    <[Grant]>::ref_from_bytes(payload).ok()
}

/// Encodes the payload of a `Skip` segment (WIRE.md, section Control segments).
///
/// `to` is the position where the stream continues.
pub fn encode_skip(to: u64) -> [u8; 8] {
    to.to_le_bytes()
}

/// Decodes the position in the payload of a `Skip` segment (WIRE.md, section Control segments).
///
/// Returns `None` if the payload has not 8 bytes, or if the position is not a multiple of 8 or above
/// [`LARGEST_POSITION`].
pub fn decode_skip(payload: &[u8]) -> Option<u64> {
    let to = u64::from_le_bytes(payload.try_into().ok()?);
    (to.is_multiple_of(8) && to <= LARGEST_POSITION).then_some(to)
}

/// Encodes the payload of a `Confirm` segment (WIRE.md, sections Handshake and Control segments).
pub fn encode_challenge(challenge: u64) -> [u8; 8] {
    challenge.to_le_bytes()
}

/// Decodes the challenge in the payload of a `Confirm` segment (WIRE.md, section Control segments).
///
/// Returns `None` if the payload has not 8 bytes.
pub fn decode_challenge(payload: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(payload.try_into().ok()?))
}

/// Reason why a server closes a connection (WIRE.md, section Control segments).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GoodbyeReason {
    /// The server was stopped.
    Stopped,
    /// The server has removed the receiver from its cluster.
    Removed,
    /// The receiver has violated the protocol (WIRE.md, section Violations).
    Violation,
}

/// Encodes the payload of a `Goodbye` segment (WIRE.md, section Control segments).
pub fn encode_goodbye(reason: GoodbyeReason) -> [u8; 8] {
    let code: u64 = match reason {
        GoodbyeReason::Stopped => 1,
        GoodbyeReason::Removed => 2,
        GoodbyeReason::Violation => 3,
    };
    code.to_le_bytes()
}

/// Decodes the reason in the payload of a `Goodbye` segment (WIRE.md, section Control segments).
///
/// Returns `None` if the payload has not 8 bytes or the reason is unknown.
pub fn decode_goodbye(payload: &[u8]) -> Option<GoodbyeReason> {
    match u64::from_le_bytes(payload.try_into().ok()?) {
        1 => Some(GoodbyeReason::Stopped),
        2 => Some(GoodbyeReason::Removed),
        3 => Some(GoodbyeReason::Violation),
        _ => None,
    }
}
