//! Tests of the wire format against `WIRE.md`: bytes written by hand, every error, and properties of all inputs.

mod errors;
// Their greetings have two lanes.
#[cfg(not(lanes3))]
mod golden;
mod properties;

use zerocopy::IntoBytes;

use super::{CHECKSUMMED, Kind, SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader};

/// Decodes the segment at the front of `bytes`: its header and its payload. Returns `None` while a part of it is
/// missing.
fn next_segment(bytes: &[u8]) -> Result<Option<(SegmentHeader, &[u8])>, SegmentError> {
    let Some(header) = SegmentHeader::parse(bytes)? else { return Ok(None) };
    let Some(payload) = bytes.get(SEGMENT_HEADER_BYTES..header.segment_bytes()) else { return Ok(None) };
    header.verify(payload)?;
    Ok(Some((*header, payload)))
}

/// Makes a header whose checksum covers the payload, changed by `set` and not sealed.
fn header(kind: Kind, set: impl FnOnce(&mut SegmentHeader)) -> SegmentHeader {
    let mut header = SegmentHeader::new(kind);
    header.flags = CHECKSUMMED.into();
    set(&mut header);
    header
}

/// Seals a segment and returns its bytes on the wire.
fn segment(mut header: SegmentHeader, payload: &[u8]) -> Vec<u8> {
    header.seal(&[payload]);
    [header.as_bytes(), payload].concat()
}

/// Computes CRC-32C by its definition, one bit at a time: polynomial 0x1EDC6F41, reflected, initial value and final
/// inversion all ones.
fn crc32c_bitwise(bytes: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            register = (register >> 1) ^ if register & 1 == 1 { 0x82F6_3B78 } else { 0 };
        }
    }
    !register
}

/// Decodes hexadecimal digits into bytes. White space is ignored.
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
