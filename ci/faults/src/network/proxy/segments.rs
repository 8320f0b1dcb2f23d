//! One direction of a connection, taken apart into segments, so that a lie can be told in the place of one.

use std::time::Instant;

use cluster_engine::wire::{SEGMENT_HEADER_BYTES, SegmentHeader};

use super::lies::{self, Told};
use crate::plan::Lie;
use crate::random::Random;

/// A lie that is to be told, in the first segment where it can be.
#[derive(Clone, Debug)]
pub struct Armed {
    pub lie: Lie,
    pub random: Random,
    /// Not after this time.
    pub until: Instant,
}

/// Follows the segments of one direction.
#[derive(Default)]
pub struct Segments {
    /// The header of the present segment, as far as it has come.
    header: Vec<u8>,
    /// Bytes of the present segment that have come, and all of them once its header has.
    seen: usize,
    length: Option<usize>,
    /// The present segment, if it is kept until it is whole.
    held: Option<Vec<u8>>,
    armed: Option<Armed>,
    /// Bytes came that are no segment: everything passes as it is.
    lost: bool,
}

impl Segments {
    /// Tells a lie from the next segment on.
    pub fn arm(&mut self, armed: Armed) {
        self.armed = Some(armed);
    }

    /// Passes on what has come. Returns the lie, if one was told.
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

    /// Nothing more comes.
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

    /// The present segment is whole.
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
