//! Buffers for envelopes by reference that are encoded in place: used again once they are acknowledged.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

/// So many spare buffers a stream keeps, of at most this many bytes each.
const SPARE: usize = 16;
const LARGEST_SPARE_BYTES: usize = 256 * 1024;

/// The spare buffers of one stream.
#[derive(Debug)]
pub(super) struct Buffers {
    spare: ArrayQueue<Vec<u8>>,
}

impl Buffers {
    pub(super) fn new() -> Arc<Buffers> {
        Arc::new(Buffers { spare: ArrayQueue::new(SPARE) })
    }

    /// A buffer of `length` bytes. What stands in it is left over from earlier ones.
    pub(super) fn take(self: &Arc<Buffers>, length: usize) -> Buffer {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.resize(length, 0);
        Buffer { bytes, home: Arc::downgrade(self) }
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
        if self.bytes.capacity() <= LARGEST_SPARE_BYTES
            && let Some(home) = self.home.upgrade()
        {
            // With enough spare ones there already, this one is freed.
            drop(home.spare.push(std::mem::take(&mut self.bytes)));
        }
    }
}
