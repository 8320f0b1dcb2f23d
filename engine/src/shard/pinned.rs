//! Pinned receive buffers: arrivals in the inbox keep them from being used again.
//!
//! An arrival is not copied. It keeps the chunk in which it was received, 260 KiB, until the application releases it.
//! So a peer that sends few bytes in each chunk, or on each of many connections, could pin many times the bytes of its
//! window. If the arrivals of a link pin more than its inbox may hold, the link copies further arrivals, close
//! together, until less is pinned. Each buffer is counted before the receive into it begins, because a connection that
//! ends leaves its buffer to the kernel.

use std::io;
use std::sync::Arc;

use super::{CHUNK_BYTES, Shard};
use crate::driver::{ChunkPool, Driver, PinnedChunk, ReceiveBuffer, Slice, SocketId};

/// Chunks that arrivals of a link may pin, and the present chunk for copies.
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

    /// Copies `payload` next to earlier copies. Returns `None` if there is no memory for it.
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

/// Returns the bytes of chunks that a link's arrivals may pin: those of its inbox, and two chunks that are not quite
/// full.
pub(super) fn pinned_limit(inbox_bytes: u64) -> usize {
    usize::try_from(inbox_bytes).unwrap_or(usize::MAX).saturating_add(2 * CHUNK_BYTES)
}

impl<D: Driver> Shard<D> {
    /// Makes room for the next receive of a connection whose buffer has not been counted. Its bytes may belong to a
    /// link.
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

    /// Receives into `buffer`. `fresh`: the chunk of the buffer, if it is another one than before.
    #[inline]
    pub(super) fn receive_next(&mut self, socket: SocketId, buffer: ReceiveBuffer, fresh: Option<PinnedChunk>) {
        self.driver.receive(socket, buffer);
        if let Some(fresh) = fresh {
            self.count_buffer(socket, fresh);
        }
    }

    /// Counts a buffer that the connection of a link receives in from now on, or has received in.
    #[cold]
    fn count_buffer(&mut self, socket: SocketId, chunk: PinnedChunk) {
        let Some(connection) = self.connection(socket) else { return };
        let Some(key) = connection.session.up() else { return };
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
        // Noticed when the next chunk is exchanged. Nothing is copied afterwards.
        for _ in 0..2 * CHUNK / 5 {
            drop(arrive(&mut pinned, b"short", limit, &pool));
        }
        pinned.add(pool.take().unwrap().pinned(), limit, &pool);
        assert!(!pinned.is_copying());
        assert!(pool.bytes_in_use() <= 2 * CHUNK, "{} bytes for nothing", pool.bytes_in_use());
    }
}
