//! Floor of all contenders: one thread that copies each frame into a buffer, from there into another, and walks it
//! there.

use super::Outcome;
use super::frame::{HEADER_BYTES, header, walk};
use crate::measure::Checker;

pub fn one_way(checker: &mut Checker) -> Outcome {
    let load = checker.load();
    let frame = HEADER_BYTES + load.size;
    let mut payload = vec![0; load.size];
    let mut sent = Vec::with_capacity(BUFFER_BYTES.max(frame));
    let mut received = Vec::with_capacity(sent.capacity());
    let mut sequence = 0;
    while sequence < load.count {
        sent.clear();
        while sequence < load.count && sent.len() + frame <= sent.capacity() {
            load.stamp(sequence, &mut payload);
            sent.extend_from_slice(&header(load.size, sequence));
            sent.extend_from_slice(&payload);
            sequence += 1;
        }
        received.clear();
        received.extend_from_slice(&sent);
        walk(&received, |payload| checker.take(payload))?;
    }
    Ok(())
}

const BUFFER_BYTES: usize = 256 << 10;
