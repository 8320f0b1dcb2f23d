//! Connection: a session, and the buffer in which its bytes are received.

use std::io;
use std::sync::Arc;

use super::timers::Entry;
use crate::batch::Batch;
use crate::driver::{ChunkPool, PinnedChunk, ReceiveBuffer};
use crate::roster::LinkKey;
use crate::session::Session;

/// Least room in bytes with which a receive begins, unless a whole segment fits.
const LEAST_ROOM: usize = 32 * 1024;

/// Connection of a server. It fills a cache line, and shares none.
#[repr(align(64))]
pub(super) struct Connection {
    pub(super) session: Session<LinkKey>,
    pub(super) node: u32,
    pub(super) sending: bool,
    /// Set while the connection counts among the dials under way.
    pub(super) counts_as_dial: bool,
    /// Set if the buffer has room for a greeting, and no more.
    pub(super) has_small_buffer: bool,
    /// Set if the link counts the buffer among those that arrivals may pin.
    pub(super) is_counted: bool,
    /// Batch to send when the send under way is over.
    pub(super) next: Option<Box<Batch>>,
    /// Entry of the connection in the shard's timers.
    pub(super) deadline: Option<Entry>,
}

impl Connection {
    pub(super) fn new(session: Session<LinkKey>, node: u32) -> Connection {
        Connection {
            counts_as_dial: session.is_dialing(),
            has_small_buffer: session.is_accepted(),
            session,
            node,
            sending: false,
            is_counted: false,
            next: None,
            deadline: None,
        }
    }

    /// Makes room for the next receive. The received bytes are ignored.
    pub(super) fn discard(
        &mut self,
        mut buffer: ReceiveBuffer,
        pool: &Arc<ChunkPool>,
    ) -> io::Result<(ReceiveBuffer, Option<PinnedChunk>)> {
        self.session.discard(buffer.filled());
        if self.session.is_ended() && buffer.reset() {
            self.session.rebase();
            return Ok((buffer, None));
        }
        self.make_room(buffer, pool)
    }

    /// Makes room for the next receive of a connection that has not been up. If it has a small buffer and is up now, it
    /// moves to a buffer of `pool`, which is returned as [`make_room`](Connection::make_room) does.
    #[cold]
    pub(super) fn make_first_room(
        &mut self,
        mut buffer: ReceiveBuffer,
        pool: &Arc<ChunkPool>,
    ) -> io::Result<(ReceiveBuffer, Option<PinnedChunk>)> {
        if !self.has_small_buffer {
            return self.make_room(buffer, pool);
        }
        let rest = buffer.filled() - self.session.parsed();
        if self.session.up().is_none() {
            // No arrival shares a buffer in which only a handshake was received.
            if rest == 0 && buffer.reset() {
                self.session.rebase();
            }
            // A greeting that does not fit was refused already.
            if self.session.is_accepted() || buffer.free() + rest >= self.session.wanted(buffer.bytes()) {
                return Ok((buffer, None));
            }
        }
        let mut larger = pool.take()?;
        larger.append(&buffer.bytes()[self.session.parsed()..]);
        self.session.rebase();
        self.has_small_buffer = false;
        let pinned = larger.pinned();
        Ok((larger, Some(pinned)))
    }

    /// Makes room for the next receive: behind what is there if a whole segment fits, else in a new chunk, to which the
    /// beginning of an unfinished segment moves. Returns a new chunk twice, because what arrives in it may pin it.
    ///
    /// # Errors
    /// Returns an error if there is no memory for a new chunk.
    pub(super) fn make_room(
        &mut self,
        mut buffer: ReceiveBuffer,
        pool: &Arc<ChunkPool>,
    ) -> io::Result<(ReceiveBuffer, Option<PinnedChunk>)> {
        let rest = buffer.filled() - self.session.parsed();
        if rest == 0 && buffer.reset() {
            self.session.rebase();
            return Ok((buffer, None));
        }
        let segment = self.session.wanted(buffer.bytes());
        if buffer.free() >= (segment - rest.min(segment)).max(LEAST_ROOM) {
            return Ok((buffer, None));
        }
        let mut fresh = pool.take()?;
        fresh.append(&buffer.bytes()[self.session.parsed()..]);
        self.session.rebase();
        let pinned = fresh.pinned();
        Ok((fresh, Some(pinned)))
    }
}
