//! Buffers for envelopes by reference that are encoded in place: used again once they are acknowledged.
//!
//! Fresh memory is dear: it is cleared before it is written. For envelopes of 1 MiB that was 8 % of all the processor time.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

/// So many spare buffers a stream keeps, of at most so many bytes together.
const SPARE: usize = 16;
const SPARE_BYTES: usize = 4 * 1024 * 1024;

/// The spare buffers of one stream.
#[derive(Debug)]
pub(super) struct Buffers {
    spare: ArrayQueue<Vec<u8>>,
    /// The bytes of all that are in `spare`, or on their way there.
    bytes: AtomicUsize,
}

impl Buffers {
    pub(super) fn new() -> Arc<Buffers> {
        Arc::new(Buffers { spare: ArrayQueue::new(SPARE), bytes: AtomicUsize::new(0) })
    }

    /// A buffer of `length` bytes. What stands in it is left over from earlier ones.
    pub(super) fn take(self: &Arc<Buffers>, length: usize) -> Buffer {
        let mut bytes = self.spare.pop().unwrap_or_default();
        self.bytes.fetch_sub(bytes.capacity(), Ordering::Relaxed);
        bytes.resize(length, 0);
        Buffer { bytes, home: Arc::downgrade(self) }
    }

    fn keep(&self, bytes: Vec<u8>) {
        let capacity = bytes.capacity();
        let kept = self.bytes.fetch_add(capacity, Ordering::Relaxed) + capacity;
        if kept > SPARE_BYTES || self.spare.push(bytes).is_err() {
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
        assert_eq!((buffers.spare.len(), buffers.bytes.load(Ordering::Relaxed)), (4, 4 << 20));
        drop(buffers.take(5 << 20));
        assert_eq!(buffers.spare.len(), 3, "what is too large is not kept");
        let kept = buffers.take(100);
        drop(buffers);
        drop(kept);
    }
}
