//! A block of zeroed memory that the operating system maps when it is first touched.
//!
//! Rings are made of it, and so are the driver's receive buffers.

use std::fmt;
use std::io;
use std::ptr::NonNull;

/// A block of zeroed memory, aligned to a page.
pub(crate) struct Block {
    start: NonNull<u8>,
    len: usize,
}

impl Block {
    /// A block of `len` bytes, not zero.
    ///
    /// # Errors
    /// When the operating system has no memory, or no address space (`RLIMIT_AS`), for it.
    pub(crate) fn new(len: usize) -> io::Result<Block> {
        assert!(len > 0);
        Ok(Block { start: source::map(len)?, len })
    }

    /// Its first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: `new` got the block from `map` with this length, and nobody else frees it; who takes pointers into it
        // holds it alive.
        unsafe { source::unmap(self.start, self.len) }
    }
}

// SAFETY: the block is plain bytes that belong to no thread, and `Block` itself reads and writes none of them; it only
// hands out addresses.
unsafe impl Send for Block {}
// SAFETY: as above: through a shared reference only addresses can be had.
unsafe impl Sync for Block {}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.len)
    }
}

/// Straight from the kernel. The standard allocator would touch every page at once: for an
/// alignment beyond 16 bytes its `alloc_zeroed` writes the zeros itself.
#[cfg(not(any(loom, miri)))]
mod source {
    use std::{io, ptr, ptr::NonNull};

    pub(super) fn map(len: usize) -> io::Result<NonNull<u8>> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping, at an address that the kernel chooses, replaces none.
        let block = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if block == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // A huge page would make a ring, or a buffer, that carried one record cost 2 MiB. A kernel without huge
        // pages refuses the advice, which is as well.
        // SAFETY: the mapping was made just above, with this length, and holds nothing yet.
        unsafe { libc::madvise(block, len, libc::MADV_NOHUGEPAGE) };
        NonNull::new(block.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
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
mod source {
    use std::{alloc, io, ptr::NonNull};

    pub(super) fn map(len: usize) -> io::Result<NonNull<u8>> {
        // SAFETY: the layout is not empty, for no block is.
        let block = unsafe { alloc::alloc_zeroed(layout(len)) };
        NonNull::new(block).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
    }

    /// # Safety
    /// `block` came from [`map`] with the same `len`, and nobody uses it any more.
    pub(super) unsafe fn unmap(block: NonNull<u8>, len: usize) {
        // SAFETY: the caller says so, and the layout is a function of `len`.
        unsafe { alloc::dealloc(block.as_ptr(), layout(len)) }
    }

    fn layout(len: usize) -> alloc::Layout {
        alloc::Layout::from_size_align(len, 4096).expect("a block fits into the address space")
    }
}
