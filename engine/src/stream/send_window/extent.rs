//! What a stream hands to its connection, and where the bytes of it stand.

use std::ops::Range;

use super::{InFlight, SendWindow};
use crate::batch::Part;
use crate::wire::FRAME_HEADER_BYTES;

/// What fills up the last bytes of a frame by reference.
static PADDING: [u8; 8] = [0; 8];

/// What a stream hands to its connection next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Bytes to send.
    Data(Extent),
    /// Nothing stands between these positions: what stood there was dropped.
    Skip {
        /// The position where the connection stands.
        from: u64,
        /// Where it goes on.
        to: u64,
    },
}

/// A run of bytes to send as one segment's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The stream position of its first byte.
    pub from: u64,
    /// The stream position behind its last byte.
    pub to: u64,
    /// `FRAGMENT`, `FIRST`, `LAST`, where they apply.
    pub flags: u16,
    /// Index of the envelope by reference that it belongs to.
    pub(super) reference: Option<usize>,
}

impl SendWindow {
    /// The extent's bytes, to be checksummed.
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

    /// The extent's bytes as parts that the kernel reads: they stay where they are, and live, while a part exists.
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

/// Which parts of an envelope by reference an extent covers: its header?, bytes of its payload, bytes of padding.
fn split(reference: &InFlight, extent: &Extent) -> (bool, Range<usize>, usize) {
    let length = reference.payload.len() as u64;
    let begin = extent.from.saturating_sub(reference.payload_at).min(length);
    let end = (extent.to - reference.payload_at).min(length);
    let padding = (extent.to - reference.payload_at).saturating_sub(length)
        - extent.from.saturating_sub(reference.payload_at).saturating_sub(length);
    (extent.from < reference.payload_at, begin as usize..end as usize, padding as usize)
}
