//! Receive buffers: chunks of memory that the kernel fills from the front while applications read the filled part.

use std::io;
use std::ops::{Deref, Range};
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Weak};

use crossbeam_queue::ArrayQueue;

use crate::ring::Block;

/// Pool of chunks of one size. It reuses the memory of chunks that applications have released.
#[derive(Debug)]
pub struct ChunkPool {
    chunk_bytes: usize,
    free: ArrayQueue<Block>,
    in_use: AtomicUsize,
}

impl ChunkPool {
    /// Makes a pool of chunks of `chunk_bytes` bytes. It keeps at most `spare` released chunks, and at least one.
    pub fn new(chunk_bytes: usize, spare: usize) -> Arc<ChunkPool> {
        Arc::new(ChunkPool { chunk_bytes, free: ArrayQueue::new(spare.max(1)), in_use: AtomicUsize::new(0) })
    }

    /// Size of a chunk in bytes.
    pub fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// Bytes of the chunks in use: by connections, and by arrivals that are not released. The kernel backs a page of a
    /// chunk with memory once the page was written to.
    pub fn bytes_in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed) * self.chunk_bytes
    }

    /// Number of chunks in use.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn chunks_in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Takes an empty buffer.
    ///
    /// # Errors
    /// Returns an error when no chunk is spare, and there is no memory for another.
    pub fn take(self: &Arc<ChunkPool>) -> io::Result<ReceiveBuffer> {
        let memory = match self.free.pop() {
            Some(memory) => memory,
            None => Block::new(self.chunk_bytes)?,
        };
        self.in_use.fetch_add(1, Ordering::Relaxed);
        let chunk = Arc::new(Chunk { memory: Some(memory), pool: Arc::downgrade(self) });
        Ok(ReceiveBuffer { chunk, filled: 0 })
    }
}

/// A chunk in use. Its memory returns to the pool when the last owner drops it.
#[derive(Debug)]
struct Chunk {
    memory: Option<Block>,
    pool: Weak<ChunkPool>,
}

impl Chunk {
    fn start(&self) -> *mut u8 {
        self.memory.as_ref().map_or(std::ptr::null_mut(), |memory| memory.start().as_ptr())
    }

    fn bytes(&self) -> usize {
        self.memory.as_ref().map_or(0, Block::len)
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let (Some(memory), Some(pool)) = (self.memory.take(), self.pool.upgrade()) {
            pool.in_use.fetch_sub(1, Ordering::Relaxed);
            // A full pool frees the memory: its bound exists for that.
            drop(pool.free.push(memory));
        }
    }
}

/// Chunk and the right to fill it.
///
/// The bytes `..filled` do not change and may be shared; only this owner accesses the rest.
#[derive(Debug)]
pub struct ReceiveBuffer {
    chunk: Arc<Chunk>,
    filled: usize,
}

impl ReceiveBuffer {
    /// Number of bytes received into the buffer.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Number of bytes that the buffer has room for.
    pub fn free(&self) -> usize {
        self.chunk.bytes() - self.filled
    }

    /// Bytes received so far.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the first `filled` bytes are initialized, because the memory was zeroed. They are not written to
        // while this buffer or a slice of it lives: writes go behind `filled`, which only grows until `reset` has made
        // sure that there is no slice.
        unsafe { slice::from_raw_parts(self.chunk.start(), self.filled) }
    }

    /// Shares a range of the received bytes.
    ///
    /// # Panics
    /// Panics when the range reaches beyond the received bytes.
    pub fn share(&self, range: Range<usize>) -> Slice {
        assert!(range.start <= range.end && range.end <= self.filled);
        Slice { chunk: self.chunk.clone(), start: range.start, len: range.end - range.start }
    }

    /// Appends a copy of `bytes`: the beginning of a segment whose rest is still to be received.
    ///
    /// # Panics
    /// Panics when `bytes` is longer than the free part.
    pub fn append(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.free());
        // SAFETY: the target lies behind `filled` and within the chunk, where only this owner may write. `bytes` cannot
        // overlap the target, because it is borrowed, and nothing behind `filled` is ever lent.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.chunk.start().add(self.filled), bytes.len()) };
        self.filled += bytes.len();
    }

    /// Returns a weak handle of the chunk. It tells after the drop of this buffer whether slices still share the chunk.
    pub fn pinned(&self) -> PinnedChunk {
        PinnedChunk(Arc::downgrade(&self.chunk))
    }

    /// Empties the buffer if no slice shares its bytes. Returns whether it did. So a quiet connection stays on the same
    /// few pages.
    pub fn reset(&mut self) -> bool {
        // Weak references are never upgraded, and slices are made only from this buffer or from other slices: a count
        // of one stays one. (`Arc::get_mut` would lock the weak count, at the price of a full barrier for each
        // receive.)
        let alone = Arc::strong_count(&self.chunk) == 1;
        if alone {
            // Synchronizes with the drop of the last slice.
            fence(Ordering::Acquire);
            self.filled = 0;
        }
        alone
    }

    /// Returns the address and the length of the part that the kernel may write to. For drivers only.
    pub(super) fn target(&mut self) -> (*mut u8, usize) {
        // SAFETY: `filled` is within the chunk.
        (unsafe { self.chunk.start().add(self.filled) }, self.free())
    }

    /// The free part. The memory is zeroed or holds earlier bytes that nobody shares.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        let (start, length) = self.target();
        // SAFETY: the memory is initialized, and only this owner accesses what lies behind `filled`.
        unsafe { slice::from_raw_parts_mut(start, length) }
    }

    /// Counts `bytes` more bytes as received.
    ///
    /// # Safety
    /// The kernel has written that many bytes behind `filled`, and writes no more.
    pub(super) unsafe fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.free());
        self.filled += bytes.min(self.free());
    }
}

/// Chunk whose buffer is not filled any more, and whose memory slices may keep.
#[derive(Debug)]
pub struct PinnedChunk(Weak<Chunk>);

impl PinnedChunk {
    /// Returns whether a slice of the chunk still exists.
    pub fn is_pinned(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// Shared received bytes. They keep their address, and their chunk stays alive, as long as the slice exists.
#[derive(Clone, Debug)]
pub struct Slice {
    chunk: Arc<Chunk>,
    start: usize,
    len: usize,
}

impl Slice {
    /// Shares a part of the slice.
    ///
    /// # Panics
    /// Panics when the range reaches beyond the slice.
    pub fn part(&self, range: Range<usize>) -> Slice {
        assert!(range.start <= range.end && range.end <= self.len);
        Slice { chunk: self.chunk.clone(), start: self.start + range.start, len: range.end - range.start }
    }
}

impl Deref for Slice {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the bytes were received before `share` made the slice. They are not written to, because the slice
        // keeps the chunk from being reset.
        unsafe { slice::from_raw_parts(self.chunk.start().add(self.start), self.len) }
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
