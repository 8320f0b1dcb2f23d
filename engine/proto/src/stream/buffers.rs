//! Reusable buffers for long envelopes.
//!
//! On the sending side a buffer holds an envelope that is encoded in place, and is reused once that is acknowledged. On
//! the receiving side it holds an envelope that is reassembled from segments, and is reused once the application has
//! dropped that.
//!
//! Fresh memory is expensive. The kernel clears it page by page, and takes it back page by page: 4 to 11 ms for 64 MiB,
//! during which the freeing thread does nothing else. A heartbeat beside such envelopes took 2 ms instead of 0.15 ms.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

/// Largest number of spare buffers. A buffer of any length is kept if the others have at most [`SPARE_BYTES`] together.
const SPARE: usize = 16;
const SPARE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of unused memory that one [`trim`](Buffers::trim) gives back. This takes about half a millisecond.
const STEP_BYTES: usize = 4 * 1024 * 1024;

/// Spare buffers of one outgoing stream, or of all incoming streams of a link.
#[derive(Debug)]
pub struct Buffers {
    spare: ArrayQueue<Vec<u8>>,
    /// Capacity in bytes of all buffers that are in `spare` or about to be pushed to it.
    bytes: AtomicUsize,
    /// Use flag: a buffer was requested since the last [`trim`](Buffers::trim).
    used: AtomicBool,
}

impl Buffers {
    /// Makes an empty stock of buffers.
    pub fn new() -> Arc<Buffers> {
        Arc::new(Buffers { spare: ArrayQueue::new(SPARE), bytes: AtomicUsize::new(0), used: AtomicBool::new(false) })
    }

    /// Returns a buffer of `length` bytes, which may contain bytes of earlier envelopes.
    pub(super) fn take(self: &Arc<Buffers>, length: usize) -> Buffer {
        let mut bytes = self.pop();
        bytes.resize(length, 0);
        Buffer { bytes, home: Arc::downgrade(self) }
    }

    /// Returns an empty buffer for `length` bytes. It may have to grow.
    ///
    /// For envelopes that an application may keep for long. The capacity is at most twice `length`, so that a short
    /// envelope does not retain the memory of a long one.
    pub fn take_empty(self: &Arc<Buffers>, length: usize) -> Buffer {
        let mut bytes = self.pop();
        bytes.clear();
        if bytes.capacity() / 2 > length {
            self.keep(std::mem::take(&mut bytes));
        }
        Buffer { bytes, home: Arc::downgrade(self) }
    }

    /// Frees some memory if no buffer was requested since the last call. Returns whether there is more to free.
    ///
    /// Each call frees little, because the caller has other streams to serve. The system's allocator truncates a buffer
    /// in place.
    pub fn trim(&self) -> bool {
        if self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        let mut bytes = self.pop();
        let capacity = bytes.capacity();
        if capacity > STEP_BYTES {
            bytes.clear();
            bytes.shrink_to(capacity - STEP_BYTES);
            self.keep(bytes);
        }
        self.used.store(false, Ordering::Relaxed);
        capacity > 0
    }

    /// Frees all spare buffers.
    pub(super) fn clear(&self) {
        while self.pop().capacity() > 0 {}
    }

    fn pop(&self) -> Vec<u8> {
        self.used.store(true, Ordering::Relaxed);
        let bytes = self.spare.pop().unwrap_or_default();
        self.bytes.fetch_sub(bytes.capacity(), Ordering::Relaxed);
        bytes
    }

    fn keep(&self, bytes: Vec<u8>) {
        let capacity = bytes.capacity();
        let others = self.bytes.fetch_add(capacity, Ordering::Relaxed);
        if others > SPARE_BYTES || self.spare.push(bytes).is_err() {
            self.bytes.fetch_sub(capacity, Ordering::Relaxed);
        }
    }
}

/// Buffer that returns to its [`Buffers`] when it is dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Weak<Buffers>,
}

impl Buffer {
    /// Appends `more`. If the capacity does not suffice, reserves `room` bytes first.
    pub fn append(&mut self, more: &[u8], room: usize) {
        if self.bytes.capacity() - self.bytes.len() < more.len() {
            self.bytes.reserve_exact(room);
        }
        self.bytes.extend_from_slice(more);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Bytes {
        Bytes::from_owner(buffer)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            home.keep(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_few_are_kept() {
        let buffers = Buffers::new();
        let first = buffers.take(1 << 20);
        let place = first.as_ptr();
        drop(Bytes::from(first).slice(7..9));
        let again = buffers.take(1 << 20);
        assert_eq!(again.as_ptr(), place);
        let many: Vec<Buffer> = (0..8).map(|_| buffers.take(1 << 20)).collect();
        drop((again, many));
        assert_eq!((buffers.spare.len(), buffers.bytes.load(Ordering::Relaxed)), (5, 5 << 20));
        drop((buffers.take(9 << 20), buffers.take(9 << 20)));
        assert_eq!(buffers.bytes.load(Ordering::Relaxed), (3 << 20) + (9 << 20), "one that is long, and not two");
        let kept = buffers.take(100);
        drop(buffers);
        drop(kept);
    }

    fn filled(buffers: &Arc<Buffers>, length: usize) -> (Bytes, *const u8) {
        let mut buffer = buffers.take_empty(length);
        buffer.append(&vec![7; length], length);
        let place = buffer.as_ptr();
        (Bytes::from(buffer), place)
    }

    #[test]
    fn what_may_be_kept_has_at_most_twice_its_bytes() {
        let buffers = Buffers::new();
        let (long, place) = filled(&buffers, 100_000);
        drop(long);
        let (half, again) = filled(&buffers, 50_000);
        assert_eq!(again, place);
        drop(half);
        let short = buffers.take_empty(49_999);
        assert_eq!((short.bytes.capacity(), buffers.bytes.load(Ordering::Relaxed)), (0, 100_000));
    }

    #[test]
    fn what_is_not_used_is_given_back_step_by_step() {
        let buffers = Buffers::new();
        assert!(!buffers.trim());
        drop(filled(&buffers, 2 * STEP_BYTES + 1));
        assert!(!buffers.trim(), "it was used");
        for rest in [STEP_BYTES + 1, 1, 0] {
            assert!(buffers.trim());
            assert_eq!(buffers.bytes.load(Ordering::Relaxed), rest);
        }
        assert!(!buffers.trim());
        drop(filled(&buffers, 100_000));
        buffers.clear();
        assert_eq!((buffers.spare.len(), buffers.bytes.load(Ordering::Relaxed)), (0, 0));
    }
}
