//! The bytes of a ring: one block, mapped lazily, shared by both ends and by what the kernel holds.

use std::fmt;
use std::io;

use super::block::Block;
use crate::sync::Arc;

/// The block. It hands out pointers and knows nothing of cursors: who may use which bytes is the
/// matter of the two ends, who take pointers only for the stretch that is theirs.
///
/// On lines of its own, away from the reference count of the [`Arc`] around it, which the consumer
/// changes for each region while the producer reads the address for each record.
#[repr(align(128))]
pub(super) struct Memory {
    block: Block,
    /// The capacity less one.
    mask: usize,
    /// Stand in for the words of the block, so that loom sees each access to them.
    #[cfg(loom)]
    words: Box<[crate::sync::UnsafeCell<()>]>,
}

/// A stretch of a ring's bytes that the kernel may read, wherever the ring's ends are by then.
///
/// It keeps the memory mapped. It does not keep the bytes: they stand until the consumer releases
/// them, after which the producer writes over them. So release only what no operation still reads.
#[derive(Clone)]
pub struct Region {
    memory: Arc<Memory>,
    offset: usize,
    len: usize,
}

impl Region {
    /// The first byte; the following [`len`](Region::len) belong to the region.
    pub fn as_ptr(&self) -> *const u8 {
        self.memory.for_read(self.offset, self.len)
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
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
    /// A zeroed block. `capacity` is a power of two.
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

    /// Where the byte at `position` lives.
    #[inline]
    pub(super) fn offset(&self, position: u64) -> usize {
        position as usize & self.mask
    }

    /// A pointer through which `len` bytes are about to be read.
    #[inline]
    pub(super) fn for_read(&self, offset: usize, len: usize) -> *const u8 {
        debug_assert!(offset + len <= self.capacity());
        #[cfg(loom)]
        self.words[offset / 8..(offset + len).div_ceil(8)].iter().for_each(|w| w.with(|_| ()));
        self.block.start().as_ptr().wrapping_add(offset)
    }

    /// A pointer through which `len` bytes are about to be written.
    #[inline]
    pub(super) fn for_write(&self, offset: usize, len: usize) -> *mut u8 {
        debug_assert!(offset + len <= self.capacity());
        #[cfg(loom)]
        self.words[offset / 8..(offset + len).div_ceil(8)].iter().for_each(|w| w.with_mut(|_| ()));
        self.block.start().as_ptr().wrapping_add(offset)
    }
}

// SAFETY: the cells beside the block are there to be entered by both ends at once, so that loom sees it when they are.
#[cfg(loom)]
unsafe impl Sync for Memory {}
