//! Helpers shared by the tests of several layers.

use std::borrow::Cow;

use zerocopy::IntoBytes;

use crate::batch::{Batch, Part, Piece};
use crate::link::{Local, Pid};

/// Random number generator with a seed: xorshift64*.
pub struct Random(u64);

impl Random {
    /// Makes a generator.
    pub fn new(seed: u64) -> Random {
        let mut random = Random((seed ^ 0x5DEE_CE66_D1CE_4E5B).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        random.number();
        random
    }

    /// Returns a random number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Returns a number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.number() >> 16) % limit
    }

    /// Returns true once in `count` calls, at random.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
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
