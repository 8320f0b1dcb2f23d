//! Receive buffers: chunks of memory that the kernel fills from the front while applications read what is filled.

use std::io;
use std::ops::{Deref, Range};
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Weak};

use crossbeam_queue::ArrayQueue;

use crate::ring::Block;

/// Memory for chunks of one size. What applications let go of is used again.
#[derive(Debug)]
pub struct ChunkPool {
    chunk_bytes: usize,
    free: ArrayQueue<Block>,
    in_use: AtomicUsize,
}

impl ChunkPool {
    /// A pool of chunks of `chunk_bytes` that keeps at most `spare` of them for later use.
    pub fn new(chunk_bytes: usize, spare: usize) -> Arc<ChunkPool> {
        Arc::new(ChunkPool { chunk_bytes, free: ArrayQueue::new(spare.max(1)), in_use: AtomicUsize::new(0) })
    }

    /// The bytes of a chunk.
    pub fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// The bytes of the chunks that are in use: by connections, and by arrivals that nobody has let go of. A page of them is
    /// memory once it was written to.
    pub fn bytes_in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed) * self.chunk_bytes
    }

    /// Number of chunks in use.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn chunks_in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// An empty buffer.
    ///
    /// # Errors
    /// When none is spare, and there is no memory for another.
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

/// A chunk in use. Its memory goes back to the pool with its last owner.
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
            // A full pool gives the memory back; that is what its bound is for.
            drop(pool.free.push(memory));
        }
    }
}

/// A chunk with the right to fill it: bytes `..filled` are constant and may be shared, the rest is this owner's alone.
#[derive(Debug)]
pub struct ReceiveBuffer {
    chunk: Arc<Chunk>,
    filled: usize,
}

impl ReceiveBuffer {
    /// How many bytes were received into it.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// How many more there is room for.
    pub fn free(&self) -> usize {
        self.chunk.bytes() - self.filled
    }

    /// The bytes received so far.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the first `filled` bytes are initialized (the memory was zeroed) and nobody writes to them while this
        // buffer or a slice of it lives: the only writers go behind `filled`, which only grows, until `reset` has
        // made sure that there is no slice.
        unsafe { slice::from_raw_parts(self.chunk.start(), self.filled) }
    }

    /// Shares bytes that were received.
    ///
    /// # Panics
    /// When the range reaches beyond what was received.
    pub fn share(&self, range: Range<usize>) -> Slice {
        assert!(range.start <= range.end && range.end <= self.filled);
        Slice { chunk: self.chunk.clone(), start: range.start, len: range.end - range.start }
    }

    /// Appends a copy of `bytes`: the beginning of something whose rest is still to be received.
    ///
    /// # Panics
    /// When there is no room for them.
    pub fn append(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.free());
        // SAFETY: the target lies behind `filled` and within the chunk, where only this owner may write; `bytes` cannot
        // overlap it, because it is borrowed and nothing behind `filled` is ever lent.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.chunk.start().add(self.filled), bytes.len()) };
        self.filled += bytes.len();
    }

    /// The chunk, for whoever wants to know how long it is shared after this buffer is dropped.
    pub fn pinned(&self) -> PinnedChunk {
        PinnedChunk(Arc::downgrade(&self.chunk))
    }

    /// Empties the buffer if nobody shares its bytes any more; so a quiet connection stays on the same few pages.
    pub fn reset(&mut self) -> bool {
        // Weak references are never upgraded, and slices are made from this buffer or from other slices alone: a count
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

    /// Where the kernel may write: address and length. Used by drivers alone.
    pub(super) fn target(&mut self) -> (*mut u8, usize) {
        // SAFETY: `filled` is within the chunk.
        (unsafe { self.chunk.start().add(self.filled) }, self.free())
    }

    /// The kernel has written `bytes` more.
    ///
    /// # Safety
    /// So many bytes behind `filled` were written, and the kernel writes no more.
    pub(super) unsafe fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.free());
        self.filled += bytes.min(self.free());
    }
}

/// A chunk whose buffer is not filled any more, and which slices may keep.
#[derive(Debug)]
pub struct PinnedChunk(Weak<Chunk>);

impl PinnedChunk {
    /// Returns whether any of its slices is still there.
    pub fn is_pinned(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// Received bytes, shared: they stay where they are, and their chunk lives, while this does.
#[derive(Clone, Debug)]
pub struct Slice {
    chunk: Arc<Chunk>,
    start: usize,
    len: usize,
}

impl Slice {
    /// A part of these bytes.
    ///
    /// # Panics
    /// When the range reaches beyond them.
    pub fn part(&self, range: Range<usize>) -> Slice {
        assert!(range.start <= range.end && range.end <= self.len);
        Slice { chunk: self.chunk.clone(), start: self.start + range.start, len: range.end - range.start }
    }
}

impl Deref for Slice {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the bytes were received when the slice was made (`share`), and nobody writes to it while the slice
        // keeps the chunk from being reset.
        unsafe { slice::from_raw_parts(self.chunk.start().add(self.start), self.len) }
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
