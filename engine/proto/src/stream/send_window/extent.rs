//! Extents: runs of bytes that a stream hands to its connection, and the memory that holds them.

use std::ops::Range;

use super::{InFlight, SendWindow};
use crate::batch::Part;
use crate::wire::FRAME_HEADER_BYTES;

/// Padding at the end of a frame by reference.
static PADDING: [u8; 8] = [0; 8];

/// Next item that a stream hands to its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Bytes to send as a Data segment.
    Data(Extent),
    /// Gap in the stream, whose envelopes were dropped. Sent as a Skip segment (WIRE.md, section Control segments).
    Skip {
        /// Position where the gap begins: the next one to send on the connection.
        from: u64,
        /// Position where the stream continues.
        to: u64,
    },
}

/// Run of bytes to send as the payload of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Stream position of the first byte.
    pub from: u64,
    /// Stream position after the last byte.
    pub to: u64,
    /// Segment flags of a fragment: `FRAGMENT`, `FIRST`, `LAST` (WIRE.md, section Fragments). 0 for whole frames.
    pub flags: u16,
    /// Index in `references` of the envelope that these bytes belong to. `None`: the bytes are in the ring.
    pub(super) reference: Option<usize>,
}

impl SendWindow {
    /// Bytes of an extent as slices, for the checksum.
    pub fn slices(&self, extent: &Extent) -> [&[u8]; 4] {
        let Some(index) = extent.reference else {
            let [first, second] = self.ring.slices(self.ring_position(extent.from), self.ring_position(extent.to));
            return [first, second, &[], &[]];
        };
        let reference = &self.references[index];
        let (header, payload, padding) = split(reference, extent);
        let [first, second]: [&[u8]; 2] = if header {
            self.ring.slices(reference.ring_after - FRAME_HEADER_BYTES as u64, reference.ring_after)
        } else {
            [&[], &[]]
        };
        [first, second, &reference.payload[payload], &PADDING[..padding]]
    }

    /// Passes the bytes of an extent to `push` as parts for the kernel. The bytes stay in place and valid while a part
    /// exists and the peer has not acknowledged them.
    pub fn parts(&self, extent: &Extent, push: &mut dyn FnMut(Part)) {
        let mut regions = |from, to| {
            for region in self.ring.regions(from, to) {
                if !region.is_empty() {
                    push(Part::Ring(region));
                }
            }
        };
        let Some(index) = extent.reference else {
            regions(self.ring_position(extent.from), self.ring_position(extent.to));
            return;
        };
        let reference = &self.references[index];
        let (header, payload, padding) = split(reference, extent);
        if header {
            regions(reference.ring_after - FRAME_HEADER_BYTES as u64, reference.ring_after);
        }
        if !payload.is_empty() {
            push(Part::Shared(reference.payload.part(payload)));
        }
        if padding > 0 {
            push(Part::Static(&PADDING[..padding]));
        }
    }
}

/// Splits an extent of an envelope by reference. Returns whether it covers the header, the range of payload bytes, and
/// the number of padding bytes.
fn split(reference: &InFlight, extent: &Extent) -> (bool, Range<usize>, usize) {
    let length = reference.payload.len() as u64;
    let begin = extent.from.saturating_sub(reference.payload_at).min(length);
    let end = (extent.to - reference.payload_at).min(length);
    let padding = (extent.to - reference.payload_at).saturating_sub(length)
        - extent.from.saturating_sub(reference.payload_at).saturating_sub(length);
    (extent.from < reference.payload_at, begin as usize..end as usize, padding as usize)
}
