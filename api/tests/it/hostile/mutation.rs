//! Recorded speech, damaged in every way that a connection, or somebody with a pid, could damage it.

use cluster_engine::wire::{Hello, SEGMENT_HEADER_BYTES, SegmentHeader};
use fastrand::Rng;
use zerocopy::IntoBytes;

use super::recording::Recording;
use super::speech::say_hello;

/// What a stream is made of: recordings, and the greeting that makes the server listen.
pub(super) struct Material {
    pub(super) recordings: Vec<Recording>,
}

impl Material {
    /// The bytes to be said on one connection by who greets with `hello`.
    pub(super) fn mutated(&self, rng: &mut Rng, hello: &Hello) -> Vec<u8> {
        // The long ones are long, and so not used often.
        let index = if rng.u64(..32) == 0 { rng.usize(..self.recordings.len()) } else { 0 };
        let mut segments = self.recordings[index].clone();
        segments[0] = say_hello(hello);
        // In most streams the greeting is right, so that what comes behind it is heard.
        let first = usize::from(rng.u64(..4) != 0);
        for _ in 0..rng.u64(..4) {
            change_segments(rng, &mut segments, first);
        }
        let intact: usize = segments.iter().take(first).map(Vec::len).sum();
        let mut bytes = segments.concat();
        if rng.bool() {
            self.change_bytes(rng, &mut bytes, intact);
        }
        bytes
    }

    /// Damages what stands behind the first `intact` bytes. No checksum is made right.
    fn change_bytes(&self, rng: &mut Rng, bytes: &mut Vec<u8>, intact: usize) {
        let at = intact + below(rng, bytes.len() - intact + 1);
        match rng.u64(..5) {
            0 => bytes.truncate(at),
            1 => {
                for _ in 0..=rng.u64(..8) {
                    let bit = below(rng, (bytes.len() - intact) * 8);
                    if let Some(byte) = bytes.get_mut(intact + bit / 8) {
                        *byte ^= 1 << (bit % 8);
                    }
                }
            }
            2 => {
                let other = self.recordings[0].concat();
                bytes.splice(at.., other[below(rng, other.len())..].iter().copied());
            }
            3 => {
                let noise: Vec<u8> = (0..rng.u64(..3_000)).map(|_| rng.u8(..)).collect();
                bytes.splice(at..(at + rng.usize(..100)).min(bytes.len()), noise);
            }
            _ => drop(bytes.splice(at..(at + rng.usize(..100)).min(bytes.len()), [])),
        }
    }
}

/// Changes one of the segments from `first` on, or their order. What is altered is sealed again, and passes the checksum.
fn change_segments(rng: &mut Rng, segments: &mut Vec<Vec<u8>>, first: usize) {
    if segments.len() <= first {
        return;
    }
    let (one, other) = (first + below(rng, segments.len() - first), first + below(rng, segments.len() - first));
    match rng.u64(..8) {
        0 => segments.swap(one, other),
        1 => segments.insert(other, segments[one].clone()),
        2 => drop(segments.remove(one)),
        3 => segments[one..].rotate_left(1),
        4 => {
            let length = [rng.u32(..), 8 * rng.u32(..10_000)][rng.usize(..2)];
            segments[one][8..12].copy_from_slice(&length.to_le_bytes());
        }
        5 => change_payload(rng, &mut segments[one]),
        _ => change_header(rng, &mut segments[one]),
    }
}

fn change_payload(rng: &mut Rng, segment: &mut Vec<u8>) {
    let mut payload = segment.split_off(SEGMENT_HEADER_BYTES);
    for _ in 0..=rng.u64(..3) {
        if !payload.is_empty() {
            let at = below(rng, payload.len());
            payload[at] = [rng.u8(..), 0, 0xFF, 8][rng.usize(..4)];
        }
    }
    if rng.u64(..3) == 0 {
        payload.resize((payload.len() + 32).saturating_sub(8 * rng.usize(..9)).min(1 << 16), 0);
    }
    seal(segment, &payload);
}

fn change_header(rng: &mut Rng, segment: &mut Vec<u8>) {
    let payload = segment.split_off(SEGMENT_HEADER_BYTES);
    let number = match rng.u64(..4) {
        0 => rng.u64(..),
        1 => 8 * rng.u64(..1_000),
        2 => u64::MAX - 7,
        _ => 1 << rng.u64(..64),
    };
    // Kind, stream, position, acknowledgement and its stream, flags.
    let (at, bytes) = [(3, 1), (4, 4), (16, 8), (24, 8), (32, 8), (40, 4), (44, 1)][rng.usize(..7)];
    segment[at..at + bytes].copy_from_slice(&number.to_le_bytes()[..bytes]);
    if at == 3 {
        segment[3] = 1 + (number % 9) as u8;
    }
    seal(segment, &payload);
}

/// Makes the checksum right, where the header is one.
fn seal(segment: &mut Vec<u8>, payload: &[u8]) {
    if let Ok(Some(header)) = SegmentHeader::parse(segment) {
        let mut header = *header;
        header.seal(&[payload]);
        *segment = header.as_bytes().to_vec();
    }
    segment.extend_from_slice(payload);
}

fn below(rng: &mut Rng, end: usize) -> usize {
    rng.usize(..end.max(1))
}
