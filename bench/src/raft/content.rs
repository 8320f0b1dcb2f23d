//! Replicated content: what clients write, and the state machine that all contenders share.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Write of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Number of the client.
    pub client: u32,
    /// Number of the write among those of its client, from 1.
    pub sequence: u64,
    /// Value to store.
    pub value: Bytes,
}

impl Write {
    /// Makes write number `sequence` of a client, with a value of `size` bytes of its own.
    pub fn new(client: u32, sequence: u64, size: usize) -> Self {
        let mut value = vec![client as u8; size];
        let stamp = sequence.to_le_bytes();
        let stamped = size.min(stamp.len());
        value[..stamped].copy_from_slice(&stamp[..stamped]);
        Self { client, sequence, value: value.into() }
    }
}

/// State machine in memory: the last value of each client, and what is needed to compare two nodes.
#[derive(Debug, Clone, Default)]
pub struct Content {
    summary: Summary,
    /// Last write of each client.
    values: BTreeMap<u32, (u64, Bytes)>,
    /// Bytes that make a snapshot large, and that writes leave alone.
    ballast: Ballast,
}

/// Summary of a content, to compare two nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Writes applied.
    pub writes: u64,
    /// Writes that were not the next one of their client: lost, repeated, or out of order.
    pub disordered: u64,
    /// Hash over client and sequence of all writes, in the order in which they were applied.
    pub order: u64,
}

/// Bytes of a snapshot from an offset on, shared with the snapshot that they came from.
#[derive(Debug, Clone, Default)]
struct Ballast {
    bytes: Arc<Vec<u8>>,
    from: usize,
}

impl Content {
    /// Makes a content without writes, whose snapshots hold `ballast` bytes more.
    pub fn with_ballast(ballast: usize) -> Self {
        let bytes = Arc::new((0..ballast).map(|at| (at / 4096) as u8).collect());
        Self { ballast: Ballast { bytes, from: 0 }, ..Self::default() }
    }

    /// Applies the next write of the log.
    pub fn apply(&mut self, write: &Write) {
        let last = self.values.entry(write.client).or_default();
        self.summary.writes += 1;
        self.summary.disordered += u64::from(write.sequence != last.0 + 1);
        self.summary.order = mix(mix(self.summary.order ^ u64::from(write.client)) ^ write.sequence);
        *last = (write.sequence, write.value.clone());
    }

    /// Summary of the writes applied.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Returns a hash over everything that the content holds.
    pub fn digest(&self) -> u64 {
        let mut digest = mix(self.summary.order);
        for (client, (sequence, value)) in &self.values {
            digest = hash(mix(mix(digest ^ u64::from(*client)) ^ sequence), value);
        }
        hash(digest, &self.ballast.bytes[self.ballast.from..])
    }

    /// Returns the content as the bytes of a snapshot.
    pub fn snapshot(&self) -> Vec<u8> {
        let head = postcard::to_stdvec(&(self.summary, &self.values)).expect("the content can be encoded");
        let ballast = &self.ballast.bytes[self.ballast.from..];
        let mut bytes = Vec::with_capacity(8 + head.len() + ballast.len());
        bytes.extend((head.len() as u64).to_le_bytes());
        bytes.extend(head);
        bytes.extend(ballast);
        bytes
    }

    /// Returns the content of a snapshot, or `None` if the bytes are none.
    pub fn of_snapshot(bytes: &Arc<Vec<u8>>) -> Option<Self> {
        let length = u64::from_le_bytes(*bytes.first_chunk()?);
        let from = usize::try_from(length).ok()?.checked_add(8)?;
        let (summary, values) = postcard::from_bytes(bytes.get(8..from)?).ok()?;
        Some(Self { summary, values, ballast: Ballast { bytes: bytes.clone(), from } })
    }
}

/// Extends a hash by bytes, eight at a time.
fn hash(mut hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    rest.iter().fold(mix(hash ^ bytes.len() as u64), |hash, byte| mix(hash ^ u64::from(*byte)))
}

/// Mixes the bits of a word: the finalizer of splitmix64.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(writes: &[(u32, u64)]) -> Content {
        let mut content = Content::with_ballast(10_000);
        writes.iter().for_each(|(client, sequence)| content.apply(&Write::new(*client, *sequence, 64)));
        content
    }

    #[test]
    fn a_snapshot_is_the_whole_content() {
        let content = content(&[(0, 1), (1, 1), (0, 2)]);
        let copy = Content::of_snapshot(&Arc::new(content.snapshot())).unwrap();
        assert_eq!((copy.summary(), copy.digest()), (content.summary(), content.digest()));
        assert_eq!(copy.snapshot(), content.snapshot());
    }

    #[test]
    fn bytes_that_are_no_snapshot_are_refused() {
        let bytes = content(&[(0, 1)]).snapshot();
        for length in [0, 7, 9] {
            assert!(Content::of_snapshot(&Arc::new(bytes[..length].to_vec())).is_none());
        }
        assert!(Content::of_snapshot(&Arc::new(vec![0xff; 64])).is_none(), "a length beyond the end");
    }

    #[test]
    fn order_and_values_make_a_difference() {
        let ordered = content(&[(0, 1), (1, 1)]);
        assert_ne!(ordered.summary().order, content(&[(1, 1), (0, 1)]).summary().order);
        let mut other = content(&[(0, 1)]);
        other.apply(&Write { client: 1, sequence: 1, value: vec![7; 64].into() });
        assert_eq!(other.summary(), ordered.summary());
        assert_ne!(other.digest(), ordered.digest());
    }

    #[test]
    fn writes_that_are_lost_or_repeated_are_noticed() {
        assert_eq!(content(&[(0, 1), (0, 2), (1, 1)]).summary().disordered, 0);
        assert_eq!(content(&[(0, 1), (0, 1)]).summary().disordered, 1);
        assert_eq!(content(&[(0, 1), (0, 3)]).summary().disordered, 1);
    }
}
