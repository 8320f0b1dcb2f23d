//! Helpers shared by the tests of several layers.

use std::borrow::Cow;

use fastrand::Rng;
use zerocopy::IntoBytes;

use crate::batch::{Batch, Part, Piece};
use crate::link::{Local, Pid};

/// Makes the random number generator of a seed. Generators of neighbouring seeds would draw related numbers if their
/// states were not mixed by a first draw.
pub fn seeded(seed: u64) -> Rng {
    Rng::with_seed(seed).fork()
}

/// Returns true once in `count` calls, at random.
pub fn one_in(random: &mut Rng, count: u64) -> bool {
    random.u64(..count) == 0
}

/// Makes the configuration of a server with this pid.
pub fn local(pid: Pid) -> Local {
    Local {
        pid,
        incarnation: [pid as u8; 16],
        secret: 7,
        cluster: "test".to_owned(),
        window_bytes: 128 * 1024,
        max_envelope_bytes: 1 << 20,
        socket_bytes: 0,
        checksum_payload: true,
        heartbeat_interval: std::time::Duration::from_millis(500),
        peer_timeout: std::time::Duration::from_millis(1500),
        eager: true,
    }
}

/// Returns the bytes of a part, as the kernel would read them now.
pub fn part_bytes(part: &Part) -> Cow<'_, [u8]> {
    match part {
        Part::Ring(region) => Cow::Owned(region.copy()),
        Part::Shared(bytes) => Cow::Borrowed(bytes),
        Part::Static(bytes) => Cow::Borrowed(bytes),
    }
}

/// Returns the bytes `from..to` of a batch, as the kernel would read them now.
pub fn batch_bytes(batch: &Batch, from: usize, to: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(to - from);
    let mut at = 0;
    for piece in batch.pieces() {
        let bytes: Cow<'_, [u8]> = match piece {
            Piece::Header(index) => Cow::Borrowed(batch.header(*index).as_bytes()),
            Piece::Part(part) => part_bytes(part),
            Piece::Owned(bytes) => Cow::Borrowed(bytes),
        };
        let (begin, end) = (from.clamp(at, at + bytes.len()), to.clamp(at, at + bytes.len()));
        out.extend_from_slice(&bytes[begin - at..end - at]);
        at += bytes.len();
    }
    assert_eq!(at, batch.bytes(), "a batch knows its length");
    out
}

#[cfg(test)]
mod tests {
    use super::seeded;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut random = seeded(1);
        assert_eq!(
            [random.u64(..), random.u64(..)],
            [7_494_446_975_856_485_542, 10_758_071_481_185_895_328],
            "another fastrand draws other numbers: the seeds that tests and notes name mean other runs now"
        );
    }
}
