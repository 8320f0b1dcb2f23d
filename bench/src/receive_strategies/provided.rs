//! Ring of buffers from which the kernel picks when it receives.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Buffers of equal size, numbered from 0, provided to one io_uring as one group.
///
/// The kernel consumes them in the order in which they were provided, and [`recycle`](Self::recycle) is called in the
/// order of consumption. The order is therefore always 0, 1, …, count - 1, 0, 1, ….
pub struct ProvidedBuffers {
    entries: Pages,
    memory: Pages,
    count: u16,
    bytes: usize,
    tail: u16,
    /// Bytes consumed of each buffer; only incremental buffers are consumed in parts.
    consumed: Vec<usize>,
}

impl ProvidedBuffers {
    /// Registers `count` (a power of two) buffers of `bytes` each under [`GROUP`].
    ///
    /// The returned value must outlive the ring's last receive: the caller keeps both, and drops the ring first.
    pub fn register(ring: &IoUring, count: u16, bytes: usize, incremental: bool) -> io::Result<Self> {
        let entries = Pages::zeroed(usize::from(count) * size_of::<BufRingEntry>());
        let memory = Pages::zeroed(usize::from(count) * bytes);
        let flags = if incremental { INCREMENTAL } else { 0 };
        // SAFETY: `entries` is page-aligned and holds `count` entries. The contract of this function makes it outlive
        // the ring's use of it.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries.start.as_ptr() as u64, count, GROUP, flags)?;
        }
        let consumed = vec![0; usize::from(count)];
        let mut buffers = Self { entries, memory, count, bytes, tail: 0, consumed };
        for id in 0..count {
            buffers.provide(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Bytes that one buffer holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the buffer that follows `id` in the order of consumption.
    pub fn after(&self, id: u16) -> u16 {
        (id + 1) % self.count
    }

    /// Returns the next `length` unconsumed bytes of buffer `id`, which a completion has just filled.
    pub fn consume(&mut self, id: u16, length: usize) -> &[u8] {
        let start = self.consumed[usize::from(id)];
        assert!(start + length <= self.bytes, "a completion stays within its buffer");
        self.consumed[usize::from(id)] += length;
        // SAFETY: the range lies within `memory` (asserted for the buffer, and the ring gives only ids below `count`),
        // and the kernel has finished writing to it.
        unsafe {
            let first = self.memory.start.as_ptr().add(usize::from(id) * self.bytes + start);
            std::slice::from_raw_parts(first, length)
        }
    }

    /// Gives buffer `id` back to the kernel at the next [`publish`](Self::publish).
    pub fn recycle(&mut self, id: u16) {
        self.consumed[usize::from(id)] = 0;
        self.provide(id);
    }

    /// Shows the recycled buffers to the kernel.
    pub fn publish(&self) {
        // SAFETY: the tail lies within the first entry of `entries`, is aligned, and is written by this thread only.
        // The kernel reads it with acquire semantics.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.start.as_ptr().cast());
            AtomicU16::from_ptr(tail.cast_mut()).store(self.tail, Ordering::Release);
        }
    }

    fn provide(&mut self, id: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: `slot` is below `count`, and the kernel does not read entries past the tail. Fields are written one
        // by one because the tail shares the first entry's memory.
        unsafe {
            let entry = &mut *self.entries.start.as_ptr().cast::<BufRingEntry>().add(slot);
            entry.set_addr(self.memory.start.as_ptr().add(usize::from(id) * self.bytes) as u64);
            entry.set_len(self.bytes as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }
}

/// Zeroed, page-aligned memory.
struct Pages {
    start: NonNull<u8>,
    layout: Layout,
}

impl Pages {
    fn zeroed(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).expect("a size that fits memory");
        // SAFETY: no caller asks for zero bytes.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) });
        Self { start: start.unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `zeroed` allocated it with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// Number of the buffer group, by which receives name it.
pub const GROUP: u16 = 0;

const PAGE_BYTES: usize = 4096;

/// Flag `IOU_PBUF_RING_INC`, which the `io-uring` crate does not name.
const INCREMENTAL: u16 = 2;
