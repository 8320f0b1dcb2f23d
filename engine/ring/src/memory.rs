//! Memory of a ring: one block, mapped lazily, shared by both ends and by the regions that the kernel reads.

use std::fmt;
use std::io;

use super::block::Block;
use crate::sync::Arc;

/// Memory block of a ring. It returns pointers and has no cursors. The two ends decide which bytes each may use, and
/// take pointers only into their own range.
///
/// Aligned to cache lines of its own, away from the reference count of the surrounding [`Arc`]. The consumer changes
/// that count for each region while the producer reads the block's address for each record.
#[repr(align(128))]
pub(super) struct Memory {
    block: Block,
    /// Capacity minus one.
    mask: usize,
    /// Stand-ins for the words of the block, so that loom sees each access to them.
    #[cfg(loom)]
    words: Box<[crate::sync::UnsafeCell<()>]>,
}

/// Range of a ring's bytes that the kernel may read, even after both ends of the ring are dropped.
///
/// A region keeps the memory mapped. It does not keep the bytes: after the consumer has released them, the producer may
/// overwrite them. So release only bytes that no operation still reads.
#[derive(Clone)]
pub struct Region {
    memory: Arc<Memory>,
    offset: usize,
    len: usize,
}

impl Region {
    /// Address of the first of [`len`](Region::len) bytes.
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        self.memory.for_read(self.offset, self.len)
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the region has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns a copy of the bytes, as the kernel would read them now. For simulations on one thread: nobody else may
    /// write to the ring meanwhile.
    #[cfg(feature = "simulation")]
    pub fn copy(&self) -> Vec<u8> {
        // SAFETY: the region keeps its memory mapped, and the caller runs both ends of the ring on this thread.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }.to_vec()
    }

    pub(super) fn new(memory: Arc<Memory>, offset: usize, len: usize) -> Region {
        Region { memory, offset, len }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({} bytes at {})", self.len, self.offset)
    }
}

impl Memory {
    /// Allocates a zeroed block of `capacity` bytes.
    ///
    /// # Panics
    /// Panics if `capacity` is not a power of two.
    pub(super) fn new(capacity: usize) -> io::Result<Memory> {
        assert!(capacity.is_power_of_two());
        Ok(Memory {
            block: Block::new(capacity)?,
            mask: capacity - 1,
            #[cfg(loom)]
            words: (0..capacity / 8).map(|_| crate::sync::UnsafeCell::new(())).collect(),
        })
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.mask + 1
    }

    /// Returns the offset of the byte at `position` in the block.
    #[inline]
    pub(super) fn offset(&self, position: u64) -> usize {
        position as usize & self.mask
    }

    /// Returns a pointer through which the caller is about to read `len` bytes.
    #[inline]
    pub(super) fn for_read(&self, offset: usize, len: usize) -> *const u8 {
        debug_assert!(offset + len <= self.capacity());
        #[cfg(loom)]
        self.words[offset / 8..(offset + len).div_ceil(8)].iter().for_each(|w| w.with(|_| ()));
        self.block.start().as_ptr().wrapping_add(offset)
    }

    /// Returns a pointer through which the caller is about to write `len` bytes.
    #[inline]
    pub(super) fn for_write(&self, offset: usize, len: usize) -> *mut u8 {
        debug_assert!(offset + len <= self.capacity());
        #[cfg(loom)]
        self.words[offset / 8..(offset + len).div_ceil(8)].iter().for_each(|w| w.with_mut(|_| ()));
        self.block.start().as_ptr().wrapping_add(offset)
    }
}

// SAFETY: the cells exist to be entered by both ends at once, so that loom reports it when that happens.
#[cfg(loom)]
unsafe impl Sync for Memory {}
