//! A stream against a model of its bytes, and what acknowledgements may not say.

mod model;

use crate::payload::Body;

use super::{AckError, Part, StreamReader, stream};
use crate::wire::{FIRST, FRAGMENT, LAST, frame_bytes};

/// Random numbers from a seed: xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        let mut random = Random((seed ^ 0x5DEE_CE66_D1CE_4E5B).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

#[expect(unsafe_code, reason = "a region says where its bytes are, and the kernel that reads them is played here")]
fn part_bytes(part: &Part) -> &[u8] {
    match part {
        // SAFETY: the region keeps its memory mapped, and nobody writes to it here: one thread runs the test, and the
        // slice is compared before anything else happens.
        Part::Ring(region) => unsafe { std::slice::from_raw_parts(region.as_ptr(), region.len()) },
        Part::Shared(bytes) => bytes,
        Part::Static(bytes) => bytes,
    }
}

fn taken(reader: &mut StreamReader) -> Vec<(u64, u64, u16)> {
    std::iter::from_fn(|| reader.take()).map(|extent| (extent.from, extent.to, extent.flags)).collect()
}

/// Found by seed 0 of the simulation of two links: in front of an envelope by reference the ring need not know a
/// boundary, and nothing was sent any more.
#[test]
fn a_short_frame_in_front_of_one_by_reference_is_sent() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20);
    reader.restart(1 << 20);
    writer.push(1, &Body::from(b"short")).expect("room");
    writer.push(2, &Body::from(vec![7; 20_000])).expect("room");
    writer.push(3, &Body::from(b"behind")).expect("room");
    let behind = 24 + frame_bytes(20_000) as u64;
    assert_eq!(taken(&mut reader), [(0, 24, 0), (24, behind, 0), (behind, behind + 24, 0)]);
}

#[test]
fn an_envelope_longer_than_a_segment_is_sent_in_fragments() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20);
    reader.restart(1 << 20);
    writer.push(1, &Body::from(vec![7; 150_000])).expect("room");
    let (first, end) = (66_560, frame_bytes(150_000) as u64);
    let fragments = [(0, first, FRAGMENT | FIRST), (first, 2 * first, FRAGMENT), (2 * first, end, FRAGMENT | LAST)];
    assert_eq!(taken(&mut reader), fragments);
}

#[test]
fn acknowledgements_that_cannot_be_right_change_nothing() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20);
    reader.restart(1 << 20);
    writer.push(1, &Body::from(b"short")).expect("room");
    writer.push(2, &Body::from(vec![7; 100_000])).expect("room");
    let end = 24 + frame_bytes(100_000) as u64;
    assert_eq!(reader.acknowledge(24, 0), Err(AckError { position: 24, sent: 0 }), "nothing is sent yet");
    taken(&mut reader);
    for position in [23, 25, 32, 40, 66_560, end - 8, end - 1, end + 8, u64::MAX - 7, u64::MAX] {
        assert_eq!(reader.acknowledge(position, 0), Err(AckError { position, sent: end }));
        assert_eq!((reader.acked(), reader.unacknowledged()), (0, (2, 100_005)));
    }
    assert_eq!(reader.acknowledge(24, 0), Ok(()));
    assert_eq!(reader.acknowledge(0, 0), Ok(()), "an old one is no error");
    assert_eq!((reader.acked(), reader.unacknowledged()), (24, (1, 100_000)));
    assert_eq!(reader.acknowledge(end, 0), Ok(()));
    assert!(reader.is_drained());
    assert_eq!(reader.unacknowledged(), (0, 0));
}
