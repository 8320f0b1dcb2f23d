//! Payloads of the small control segments: acknowledgements of several streams, and the goodbye.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{LARGEST_POSITION, Lane};

/// Acknowledgement of one stream and credit of its lane, in the payload of an `Ack` segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Grant {
    /// The stream, as its sender numbers it; [`NO_STREAM`](super::NO_STREAM) for credit alone.
    pub stream: U32,
    /// The lane that the credit is for: that of the stream, if there is one.
    pub lane: U16,
    reserved: U16,
    /// Every byte before this position is in the receiver's inbox.
    pub position: U64,
    /// Bytes that may be sent on the lane in this session, from its beginning.
    pub credit: U64,
}

const _: () = assert!(size_of::<Grant>() == 24);

impl Grant {
    /// A grant for `stream`, and for `lane`.
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

/// The payload of an `Ack` segment.
pub fn encode_grants(grants: &[Grant]) -> Vec<u8> {
    grants.as_bytes().to_vec()
}

/// The grants in the payload of an `Ack` segment; `None` when it is not a whole number of them.
pub fn decode_grants(payload: &[u8]) -> Option<&[Grant]> {
    <[Grant]>::ref_from_bytes(payload).ok()
}

/// The payload of a `Skip` segment: the position where the stream goes on.
pub fn encode_skip(to: u64) -> [u8; 8] {
    to.to_le_bytes()
}

/// The position in the payload of a `Skip` segment; `None` when it is none.
pub fn decode_skip(payload: &[u8]) -> Option<u64> {
    let to = u64::from_le_bytes(payload.try_into().ok()?);
    (to.is_multiple_of(8) && to <= LARGEST_POSITION).then_some(to)
}

/// The payload of a `Confirm` segment: the challenge.
pub fn encode_challenge(challenge: u64) -> [u8; 8] {
    challenge.to_le_bytes()
}

/// The challenge in the payload of a `Confirm` segment; `None` when it is none.
pub fn decode_challenge(payload: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(payload.try_into().ok()?))
}

/// Why a server leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GoodbyeReason {
    /// It was stopped.
    Stopped,
    /// It has removed the receiver from its cluster.
    Removed,
    /// It received something that breaks the protocol.
    Violation,
}

/// The payload of a `Goodbye` segment.
pub fn encode_goodbye(reason: GoodbyeReason) -> [u8; 8] {
    let code: u64 = match reason {
        GoodbyeReason::Stopped => 1,
        GoodbyeReason::Removed => 2,
        GoodbyeReason::Violation => 3,
    };
    code.to_le_bytes()
}

/// The reason in the payload of a `Goodbye` segment; `None` when there is no such reason.
pub fn decode_goodbye(payload: &[u8]) -> Option<GoodbyeReason> {
    match u64::from_le_bytes(payload.try_into().ok()?) {
        1 => Some(GoodbyeReason::Stopped),
        2 => Some(GoodbyeReason::Removed),
        3 => Some(GoodbyeReason::Violation),
        _ => None,
    }
}
