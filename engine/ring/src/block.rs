//! Zeroed memory that the operating system maps at the first touch, page by page.
//!
//! Rings and the driver's receive buffers are made of such blocks.

use std::fmt;
use std::io;
use std::ptr::NonNull;

/// Block of zeroed memory, aligned to a page.
pub struct Block {
    start: NonNull<u8>,
    len: usize,
}

impl Block {
    /// Allocates a block of `len` bytes.
    ///
    /// # Errors
    /// Returns an error when the operating system has no memory, or no address space (`RLIMIT_AS`), for the block.
    ///
    /// # Panics
    /// Panics if `len` is 0.
    pub fn new(len: usize) -> io::Result<Block> {
        assert!(len > 0);
        Ok(Block { start: source::map(len)?, len })
    }

    /// Address of the first byte.
    #[inline]
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "a block is never empty")]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: `new` got the block from `map` with this length, and nothing else frees it. Every holder of a pointer
        // into the block keeps the `Block` alive.
        unsafe { source::unmap(self.start, self.len) }
    }
}

// SAFETY: the block is plain bytes that belong to no thread. `Block` itself reads and writes none of them; it only
// returns addresses.
unsafe impl Send for Block {}
// SAFETY: a shared reference gives access to addresses only, never to the bytes.
unsafe impl Sync for Block {}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.len)
    }
}

/// Memory straight from the kernel. The standard allocator would touch every page at once: for an alignment above 16
/// bytes its `alloc_zeroed` writes the zeros itself.
#[cfg(not(any(loom, miri)))]
mod source {
    use std::{io, ptr, ptr::NonNull};

    pub(super) fn map(len: usize) -> io::Result<NonNull<u8>> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address that the kernel chooses replaces no other mapping.
        let block = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if block == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // With a huge page, a ring or buffer that carried one record would cost 2 MiB. A kernel without huge pages
        // refuses the advice; the error is ignored on purpose.
        // SAFETY: the mapping was made just above, with this length, and holds nothing yet.
        unsafe { libc::madvise(block, len, libc::MADV_NOHUGEPAGE) };
        NonNull::new(block.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
    }

    /// # Safety
    /// `block` must come from [`map`] with the same `len`, and must not be in use any more.
    pub(super) unsafe fn unmap(block: NonNull<u8>, len: usize) {
        // SAFETY: the caller guarantees that this is a whole mapping and out of use.
        let result = unsafe { libc::munmap(block.as_ptr().cast(), len) };
        debug_assert_eq!(result, 0, "munmap: {}", io::Error::last_os_error());
    }
}

/// Memory from the allocator, whose blocks miri tracks byte by byte.
#[cfg(any(loom, miri))]
mod source {
    use std::{alloc, io, ptr::NonNull};

    pub(super) fn map(len: usize) -> io::Result<NonNull<u8>> {
        // SAFETY: the layout is not empty, because `Block::new` refuses a length of 0.
        let block = unsafe { alloc::alloc_zeroed(layout(len)) };
        NonNull::new(block).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
    }

    /// # Safety
    /// `block` must come from [`map`] with the same `len`, and must not be in use any more.
    pub(super) unsafe fn unmap(block: NonNull<u8>, len: usize) {
        // SAFETY: the caller guarantees both, and the layout depends on `len` alone.
        unsafe { alloc::dealloc(block.as_ptr(), layout(len)) }
    }

    fn layout(len: usize) -> alloc::Layout {
        alloc::Layout::from_size_align(len, 4096).expect("a block fits into the address space")
    }
}
