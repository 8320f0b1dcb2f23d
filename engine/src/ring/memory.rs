//! The bytes of a ring: one block, mapped lazily, shared by both ends and by what the kernel holds.

use std::fmt;
use std::ptr::NonNull;

use crate::sync::Arc;

/// The block. It hands out pointers and knows nothing of cursors: who may use which bytes is the
/// matter of the two ends, who take pointers only for the stretch that is theirs.
///
/// On lines of its own, away from the reference count of the [`Arc`] around it, which the consumer
/// changes for each region while the producer reads the address for each record.
#[repr(align(128))]
pub(super) struct Memory {
    base: NonNull<u8>,
    capacity: usize,
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
    pub(super) fn new(capacity: usize) -> Memory {
        assert!(capacity.is_power_of_two());
        Memory {
            base: block::map(capacity),
            capacity,
            #[cfg(loom)]
            words: (0..capacity / 8).map(|_| crate::sync::UnsafeCell::new(())).collect(),
        }
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Where the byte at `position` lives.
    #[inline]
    pub(super) fn offset(&self, position: u64) -> usize {
        position as usize & (self.capacity - 1)
    }

    /// A pointer through which `len` bytes are about to be read.
    #[inline]
    pub(super) fn for_read(&self, offset: usize, len: usize) -> *const u8 {
        debug_assert!(offset + len <= self.capacity);
        #[cfg(loom)]
        self.words[offset / 8..(offset + len).div_ceil(8)].iter().for_each(|w| w.with(|_| ()));
        self.base.as_ptr().wrapping_add(offset)
    }

    /// A pointer through which `len` bytes are about to be written.
    #[inline]
    pub(super) fn for_write(&self, offset: usize, len: usize) -> *mut u8 {
        debug_assert!(offset + len <= self.capacity);
        #[cfg(loom)]
        self.words[offset / 8..(offset + len).div_ceil(8)].iter().for_each(|w| w.with_mut(|_| ()));
        self.base.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `new` got the block from `map` with this capacity, and nobody else frees it; the
        // ends and the regions, who take pointers into it, each hold the memory alive.
        unsafe { block::unmap(self.base, self.capacity) }
    }
}

// SAFETY: the block is plain bytes that belong to no thread, and `Memory` itself reads and writes
// none of them; it only hands out addresses.
unsafe impl Send for Memory {}
// SAFETY: as above: through a shared reference only addresses can be had.
unsafe impl Sync for Memory {}

/// Straight from the kernel. The standard allocator would touch every page at once: for an
/// alignment beyond 16 bytes its `alloc_zeroed` writes the zeros itself.
#[cfg(not(any(loom, miri)))]
mod block {
    use std::{io, ptr, ptr::NonNull};

    pub(super) fn map(len: usize) -> NonNull<u8> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping, at an address that the kernel chooses, replaces none.
        let block = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if block == libc::MAP_FAILED {
            panic!("cannot map a ring of {len} bytes: {}", io::Error::last_os_error());
        }
        // A huge page would make a ring that carried one record cost 2 MiB. A kernel without huge
        // pages refuses the advice, which is as well.
        // SAFETY: the mapping was made just above, with this length, and holds nothing yet.
        unsafe { libc::madvise(block, len, libc::MADV_NOHUGEPAGE) };
        NonNull::new(block.cast()).expect("the kernel maps nothing at address 0 unasked")
    }

    /// # Safety
    /// `block` came from [`map`] with the same `len`, and nobody uses it any more.
    pub(super) unsafe fn unmap(block: NonNull<u8>, len: usize) {
        // SAFETY: the caller says that it is a whole mapping and out of use.
        let result = unsafe { libc::munmap(block.as_ptr().cast(), len) };
        debug_assert_eq!(result, 0, "munmap: {}", io::Error::last_os_error());
    }
}

/// From the allocator, whose blocks miri follows byte by byte.
#[cfg(any(loom, miri))]
mod block {
    use std::{alloc, ptr::NonNull};

    pub(super) fn map(len: usize) -> NonNull<u8> {
        // SAFETY: the layout is not empty, for no ring is.
        let block = unsafe { alloc::alloc_zeroed(layout(len)) };
        NonNull::new(block).unwrap_or_else(|| alloc::handle_alloc_error(layout(len)))
    }

    /// # Safety
    /// `block` came from [`map`] with the same `len`, and nobody uses it any more.
    pub(super) unsafe fn unmap(block: NonNull<u8>, len: usize) {
        // SAFETY: the caller says so, and the layout is a function of `len`.
        unsafe { alloc::dealloc(block.as_ptr(), layout(len)) }
    }

    fn layout(len: usize) -> alloc::Layout {
        alloc::Layout::from_size_align(len, 4096).expect("a ring fits into the address space")
    }
}
