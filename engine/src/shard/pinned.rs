//! Receive buffers that an inbox keeps from being used again.
//!
//! Arrivals are not copied: each keeps the chunk that it came in, 260 KiB, until the application has let go of it. A
//! peer that sends little in each chunk, or on each of many connections, would so pin many times what its window
//! allows. So a link whose arrivals pin more than its inbox may hold copies what comes next, close together, until less
//! is pinned. Each buffer is counted before it is received in: when a connection ends, its buffer is the kernel's.

use std::io;
use std::sync::Arc;

use super::connection::Role;
use super::{CHUNK_BYTES, Shard};
use crate::driver::{ChunkPool, Driver, PinnedChunk, ReceiveBuffer, Slice, SocketId};

/// The chunks that arrivals of a link pin, and the present chunk for copies.
#[derive(Default)]
pub(super) struct Pinned {
    chunks: Vec<PinnedChunk>,
    copies: Option<ReceiveBuffer>,
    is_copying: bool,
}

impl Pinned {
    /// Counts a chunk that arrivals may pin. `limit`: bytes of chunks that may be in use before arrivals are copied.
    pub(super) fn add(&mut self, chunk: PinnedChunk, limit: usize, pool: &ChunkPool) {
        self.chunks.push(chunk);
        let bytes = |chunks: &[PinnedChunk]| chunks.len() * pool.chunk_bytes();
        if self.is_copying || bytes(&self.chunks) > limit {
            self.chunks.retain(PinnedChunk::is_pinned);
            self.is_copying = bytes(&self.chunks) > limit;
        }
    }

    /// Returns whether arrivals are to be copied.
    #[inline]
    pub(super) fn is_copying(&self) -> bool {
        self.is_copying
    }

    /// A copy of `payload`, close to the others. `None` if there is no memory for one.
    #[cold]
    pub(super) fn copy(&mut self, payload: &[u8], limit: usize, pool: &Arc<ChunkPool>) -> Option<Slice> {
        if self.copies.as_mut().is_none_or(|copies| !copies.reset() && copies.free() < payload.len()) {
            let full = self.copies.replace(pool.take().ok()?);
            if let Some(full) = full {
                self.add(full.pinned(), limit, pool);
            }
        }
        let copies = self.copies.as_mut()?;
        let begin = copies.filled();
        copies.append(payload);
        let copy = copies.share(begin..copies.filled());
        if !self.is_copying
            && let Some(last) = self.copies.take()
        {
            self.add(last.pinned(), limit, pool);
        }
        Some(copy)
    }
}

/// Bytes of chunks that a link's arrivals may pin: its inbox, and what is not quite full.
pub(super) fn pinned_limit(inbox_bytes: u64) -> usize {
    usize::try_from(inbox_bytes).unwrap_or(usize::MAX).saturating_add(2 * CHUNK_BYTES)
}

impl<D: Driver> Shard<D> {
    /// Room for the next receive of a connection whose buffer is not counted. What has come in that may be a link's.
    #[cold]
    pub(super) fn make_first_room(
        &mut self,
        socket: SocketId,
        buffer: ReceiveBuffer,
    ) -> io::Result<(ReceiveBuffer, Option<PinnedChunk>)> {
        self.count_buffer(socket, buffer.pinned());
        match self.connections.get_mut(socket.0 as usize) {
            Some(Some(connection)) => connection.make_first_room(buffer, &self.pool),
            _ => Ok((buffer, None)),
        }
    }

    /// Receives what comes next. `fresh`: the buffer, if it is another one than before.
    #[inline]
    pub(super) fn receive_next(&mut self, socket: SocketId, buffer: ReceiveBuffer, fresh: Option<PinnedChunk>) {
        self.driver.receive(socket, buffer);
        if let Some(fresh) = fresh {
            self.count_buffer(socket, fresh);
        }
    }

    /// A link's connection receives in this buffer from now on, or has received in it.
    #[cold]
    fn count_buffer(&mut self, socket: SocketId, chunk: PinnedChunk) {
        let Some(connection) = self.connection(socket) else { return };
        let Role::Link(key) = connection.role else { return };
        connection.is_counted = true;
        let pool = self.pool.clone();
        if let Some(slot) = self.slot(key) {
            slot.pinned.add(chunk, pinned_limit(slot.link.inbox_bytes()), &pool);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Receives `bytes` as a connection does, in a chunk that they keep.
    fn arrive(pinned: &mut Pinned, bytes: &[u8], limit: usize, pool: &Arc<ChunkPool>) -> Slice {
        if pinned.is_copying() {
            return pinned.copy(bytes, limit, pool).unwrap();
        }
        let mut buffer = pool.take().unwrap();
        buffer.append(bytes);
        pinned.add(buffer.pinned(), limit, pool);
        buffer.share(0..bytes.len())
    }

    #[test]
    fn arrivals_far_apart_are_copied_until_less_is_pinned() {
        const CHUNK: usize = 64 * 1024;
        let (pool, mut pinned) = (ChunkPool::new(CHUNK, 4), Pinned::default());
        let limit = 8 * CHUNK;
        let mut unread: Vec<Slice> = (0..1000).map(|_| arrive(&mut pinned, b"short", limit, &pool)).collect();
        assert!(pinned.is_copying());
        let most = limit + 2 * CHUNK;
        assert!(pool.bytes_in_use() <= most, "{} of {most} bytes for 5,000", pool.bytes_in_use());
        assert!(unread.iter().all(|slice| **slice == *b"short"));
        unread.clear();
        // Seen when the next chunk is exchanged; then nothing is copied any more.
        for _ in 0..2 * CHUNK / 5 {
            drop(arrive(&mut pinned, b"short", limit, &pool));
        }
        pinned.add(pool.take().unwrap().pinned(), limit, &pool);
        assert!(!pinned.is_copying());
        assert!(pool.bytes_in_use() <= 2 * CHUNK, "{} bytes for nothing", pool.bytes_in_use());
    }
}
