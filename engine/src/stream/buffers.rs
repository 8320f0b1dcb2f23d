//! Buffers for long envelopes, which are used again: on the sending side, for what is encoded in place, once it is
//! acknowledged; on the receiving side, for what is put together from segments, once the application has dropped it.
//!
//! Fresh memory is dear. The kernel clears it page by page, and takes it back page by page: 4 to 11 ms for 64 MiB, in which the
//! thread that gives it back does nothing else. A heartbeat beside such envelopes took 2 ms instead of 0.15.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

/// So many spare buffers are kept; one is kept, however long it is, when the others have at most so many bytes together.
const SPARE: usize = 16;
const SPARE_BYTES: usize = 4 * 1024 * 1024;

/// So much of what nobody uses is given back at once, which takes about half a millisecond.
const STEP_BYTES: usize = 4 * 1024 * 1024;

/// The spare buffers of a stream that is sent, or of all that come on a link.
#[derive(Debug)]
pub(crate) struct Buffers {
    spare: ArrayQueue<Vec<u8>>,
    /// The bytes of all that are in `spare`, or on their way there.
    bytes: AtomicUsize,
    /// Whether a buffer was asked for since the last [`trim`](Buffers::trim).
    used: AtomicBool,
}

impl Buffers {
    pub(crate) fn new() -> Arc<Buffers> {
        Arc::new(Buffers { spare: ArrayQueue::new(SPARE), bytes: AtomicUsize::new(0), used: AtomicBool::new(false) })
    }

    /// A buffer of `length` bytes. What stands in it is left over from earlier ones.
    pub(super) fn take(self: &Arc<Buffers>, length: usize) -> Buffer {
        let mut bytes = self.pop();
        bytes.resize(length, 0);
        Buffer { bytes, home: Arc::downgrade(self) }
    }

    /// An empty buffer for `length` bytes, which may have to grow.
    ///
    /// For what an application may keep for long: it has room for at most twice as much, so that a short envelope does not hold
    /// the memory of a long one.
    pub(crate) fn take_empty(self: &Arc<Buffers>, length: usize) -> Buffer {
        let mut bytes = self.pop();
        bytes.clear();
        if bytes.capacity() / 2 > length {
            self.keep(std::mem::take(&mut bytes));
        }
        Buffer { bytes, home: Arc::downgrade(self) }
    }

    /// Gives some memory back if no buffer was asked for since the last call. Returns whether there is more to give.
    ///
    /// A little at a time, because the caller has others to serve. The system's allocator cuts a buffer's end off in place.
    pub(crate) fn trim(&self) -> bool {
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

    /// Gives back all that is spare.
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

/// A buffer that goes back to where it came from.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Weak<Buffers>,
}

impl Buffer {
    /// Appends `more`; where there is no room for it, makes room for `room` bytes.
    pub(crate) fn append(&mut self, more: &[u8], room: usize) {
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
