//! A connection: cutting what was received into segments.

use std::io;
use std::ops::Range;

use super::timers::Entry;
use crate::batch::Batch;
use crate::driver::{ChunkPool, PinnedChunk, ReceiveBuffer};
use crate::roster::LinkKey;
use crate::wire::{SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader};
use std::sync::Arc;

/// A receive is not begun with less room than this, unless a whole segment fits.
const LEAST_ROOM: usize = 32 * 1024;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A peer has connected to this server and has not said who it is.
    Unknown(u32),
    /// The link is dialing.
    Dialing(LinkKey),
    /// The link waits for the answer to its `Hello`.
    Greeting(LinkKey),
    /// The link's segments travel here.
    Link(LinkKey),
    /// Nothing that comes is looked at; it is closed when the last send is over and the other side has closed too.
    Ending,
}

impl Role {
    /// Returns whether a dial is under way.
    pub(super) fn is_dialing(self) -> bool {
        matches!(self, Role::Dialing(_) | Role::Greeting(_))
    }
}

/// A connection and how far its bytes were taken apart. It fills a line of the processor's cache, and shares none.
#[repr(align(64))]
pub(super) struct Connection {
    pub(super) role: Role,
    pub(super) node: u32,
    pub(super) sending: bool,
    /// To be sent when the send under way is over.
    pub(super) next: Option<Box<Batch>>,
    /// To be closed then: its entry among the shard's timers.
    pub(super) deadline: Option<Entry>,
    /// Its buffer has room for a greeting, and no more.
    pub(super) has_small_buffer: bool,
    /// Its link counts its buffer among those that arrivals may pin.
    pub(super) is_counted: bool,
    /// The buffer's bytes before this were taken.
    parsed: usize,
}

impl Connection {
    pub(super) fn new(role: Role, node: u32) -> Connection {
        Connection {
            role,
            node,
            sending: false,
            next: None,
            deadline: None,
            has_small_buffer: false,
            is_counted: false,
            parsed: 0,
        }
    }

    /// A connection that this server has accepted.
    pub(super) fn accepted(node: u32) -> Connection {
        Connection { has_small_buffer: true, ..Connection::new(Role::Unknown(node), node) }
    }

    /// Nothing of what comes now was taken yet.
    pub(super) fn begin(&mut self) {
        self.parsed = 0;
    }

    /// The next whole segment: its header, and where its payload stands in the bytes.
    pub(super) fn next_segment(&mut self, bytes: &[u8]) -> Result<Option<(SegmentHeader, Range<usize>)>, SegmentError> {
        let bytes = &bytes[self.parsed..];
        let Some(header) = SegmentHeader::parse(bytes)? else { return Ok(None) };
        let length = header.segment_bytes();
        if bytes.len() < length {
            return Ok(None);
        }
        header.verify(&bytes[SEGMENT_HEADER_BYTES..length])?;
        let payload = self.parsed + SEGMENT_HEADER_BYTES..self.parsed + length;
        self.parsed = payload.end;
        Ok(Some((*header, payload)))
    }

    /// Room for the next receive; what is here is not looked at.
    pub(super) fn discard(
        &mut self,
        buffer: ReceiveBuffer,
        pool: &Arc<ChunkPool>,
    ) -> io::Result<(ReceiveBuffer, Option<PinnedChunk>)> {
        self.parsed = buffer.filled();
        self.make_room(buffer, pool)
    }

    /// Room for the next receive of a connection that was not a link's so far. If it has a small buffer and is a link's
    /// now, it moves to a buffer of `pool`, which is returned as [`make_room`](Connection::make_room) does.
    #[cold]
    pub(super) fn make_first_room(
        &mut self,
        mut buffer: ReceiveBuffer,
        pool: &Arc<ChunkPool>,
    ) -> io::Result<(ReceiveBuffer, Option<PinnedChunk>)> {
        match self.role {
            _ if !self.has_small_buffer => self.make_room(buffer, pool),
            // A greeting that does not fit was refused already.
            Role::Unknown(_) => Ok((buffer, None)),
            Role::Link(_) => {
                let mut larger = pool.take()?;
                larger.append(&buffer.bytes()[self.parsed..]);
                (self.parsed, self.has_small_buffer) = (0, false);
                let pinned = larger.pinned();
                Ok((larger, Some(pinned)))
            }
            _ => {
                // Nobody has a share of what is not a link's.
                buffer.reset();
                self.parsed = 0;
                Ok((buffer, None))
            }
        }
    }

    /// Room for the next receive: behind what is there if a whole segment fits, else in a new chunk, to which the
    /// beginning of an unfinished segment moves. Then it returns the new chunk twice, for what arrives in it may pin
    /// it. Fails if there is no memory for a new chunk.
    pub(super) fn make_room(
        &mut self,
        mut buffer: ReceiveBuffer,
        pool: &Arc<ChunkPool>,
    ) -> io::Result<(ReceiveBuffer, Option<PinnedChunk>)> {
        let rest = buffer.filled() - self.parsed;
        if rest == 0 && buffer.reset() {
            self.parsed = 0;
            return Ok((buffer, None));
        }
        let unfinished = &buffer.bytes()[self.parsed..];
        // A header that cannot be right was refused by `next_segment` already.
        let segment =
            SegmentHeader::parse(unfinished).ok().flatten().map_or(SEGMENT_HEADER_BYTES, SegmentHeader::segment_bytes);
        if buffer.free() >= (segment - rest.min(segment)).max(LEAST_ROOM) {
            return Ok((buffer, None));
        }
        let mut fresh = pool.take()?;
        fresh.append(unfinished);
        self.parsed = 0;
        let pinned = fresh.pinned();
        Ok((fresh, Some(pinned)))
    }
}
