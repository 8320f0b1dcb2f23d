//! One direction of a connection, split into segments, so that a lie can be told in the place of one.

use std::time::Instant;

use cluster_engine::wire::{SEGMENT_HEADER_BYTES, SegmentHeader};
use fastrand::Rng;

use super::lies::{self, Told};
use crate::plan::Lie;

/// Lie that is to be told in the first suitable segment.
#[derive(Clone, Debug)]
pub struct Armed {
    pub lie: Lie,
    pub random: Rng,
    /// Time after which the lie is not told any more.
    pub until: Instant,
}

/// Follower of the segments of one direction.
#[derive(Default)]
pub struct Segments {
    /// Header of the current segment, as far as it has arrived.
    header: Vec<u8>,
    /// Bytes of the current segment that have arrived. `length` has all of them, once the header is complete.
    seen: usize,
    length: Option<usize>,
    /// Current segment, if it is held back until it is complete.
    held: Option<Vec<u8>>,
    armed: Option<Armed>,
    /// True once bytes came that are no segment: from then on, all bytes pass unchanged.
    lost: bool,
}

impl Segments {
    /// Arms a lie, to be told from the next segment on.
    pub fn arm(&mut self, armed: Armed) {
        self.armed = Some(armed);
    }

    /// Passes on `bytes`. Returns the lie, if one was told.
    pub fn pass(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Option<(Lie, Told)> {
        let mut told = None;
        while !bytes.is_empty() && !self.lost {
            if self.seen == 0 {
                self.armed = self.armed.take().filter(|armed| Instant::now() < armed.until);
                self.held = self.armed.as_ref().map(|_| Vec::new());
            }
            let missing = self.length.unwrap_or(SEGMENT_HEADER_BYTES) - self.seen;
            let (part, rest) = bytes.split_at(missing.min(bytes.len()));
            bytes = rest;
            self.seen += part.len();
            self.held.as_mut().unwrap_or(out).extend_from_slice(part);
            if self.length.is_none() {
                self.header.extend_from_slice(part);
                self.read_header();
            }
            if self.length == Some(self.seen) {
                told = self.finish(out).or(told);
            }
        }
        if self.lost {
            self.end(out);
            out.extend_from_slice(bytes);
        }
        told
    }

    /// Passes on the bytes held back, at the end of the stream.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        out.extend(self.held.take().unwrap_or_default());
    }

    fn read_header(&mut self) {
        match SegmentHeader::parse(&self.header) {
            Ok(None) => {}
            Ok(Some(header)) => self.length = Some(header.segment_bytes()),
            Err(_) => self.lost = true,
        }
    }

    /// Handles the end of the current segment.
    fn finish(&mut self, out: &mut Vec<u8>) -> Option<(Lie, Told)> {
        self.header.clear();
        (self.seen, self.length) = (0, None);
        let (held, armed) = (self.held.take()?, self.armed.as_mut());
        match armed.and_then(|armed| Some((armed.lie, lies::tell(armed.lie, &held, &mut armed.random)?))) {
            Some((lie, mut told)) => {
                out.append(&mut told.bytes);
                self.armed = None;
                Some((lie, told))
            }
            None => {
                out.extend(held);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
