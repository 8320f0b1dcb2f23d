//! Helpers shared by the tests of several layers.

use crate::batch::Part;
#[cfg(test)]
use crate::link::{Local, Pid};

/// Random number generator with a seed: xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        let mut random = Random((seed ^ 0x5DEE_CE66_D1CE_4E5B).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Returns a number below `limit`, which must not be 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// Makes the configuration of a server with this pid.
#[cfg(test)]
pub(crate) fn local(pid: Pid) -> Local {
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

/// Returns the bytes of a part.
#[expect(unsafe_code, reason = "a region says where its bytes are, and the kernel that reads them is played here")]
pub(crate) fn part_bytes(part: &Part) -> &[u8] {
    match part {
        // SAFETY: the region keeps its memory mapped, and nobody writes to it here: one thread runs the test, and the
        // bytes are compared or copied before anything else happens. (They may be old bytes; some tests are about
        // that.)
        Part::Ring(region) => unsafe { std::slice::from_raw_parts(region.as_ptr(), region.len()) },
        Part::Shared(bytes) => bytes,
        Part::Static(bytes) => bytes,
    }
}
