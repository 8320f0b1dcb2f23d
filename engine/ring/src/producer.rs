//! Producer: the writing end of a ring.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    slice,
};

use super::{MAX_RECORD, Memory, Shared};
use crate::sync::{Arc, Ordering};

/// Writing end of a ring, held by the application. It writes records one after the other.
///
/// ```
/// # use cluster_ring as ring;
/// let (mut producer, mut consumer) = ring::ring(ring::MIN_CAPACITY)?;
/// let mut record = producer.claim(16).expect("an empty ring has room");
/// record.copy_from_slice(b"sixteen bytes...");
/// if record.commit() {
///     // The consumer sleeps: wake it by whatever means it sleeps on.
/// }
/// let written = consumer.written();
/// assert_eq!(consumer.slices(0, written)[0], b"sixteen bytes...");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Producer {
    shared: Arc<Shared>,
    memory: Arc<Memory>,
    /// Cursors: `written <= limit <= released + capacity`. `limit` may be stale, and is refreshed when a claim would
    /// pass it. After [`close`](Producer::close) it stays at `written`.
    written: u64,
    limit: u64,
    /// Lowest position at which a record is the first of its page and gets a mark.
    unmarked: u64,
    /// Fast-path bound, `min(limit, unmarked)`. A record that ends at or before it has room, needs no mark, and does
    /// not cross the ring's end, which is the end of a page too. So one comparison suffices for nearly all records.
    plain: u64,
    closed: bool,
    /// Scratch buffer for a record that crosses the end of the ring. Made of words, for alignment.
    scratch: Vec<u64>,
}

/// Room for one record.
///
/// Write all of it, because it still holds bytes of earlier records, then [`commit`](Claim::commit). Dropping a claim
/// publishes nothing.
#[must_use = "a claim that is not committed publishes nothing"]
pub struct Claim<'a> {
    producer: &'a mut Producer,
    /// Address of the record: in the ring, or in the scratch buffer if the record crosses the ring's end.
    bytes: *mut u8,
    len: usize,
}

impl Producer {
    /// Claims room for a record of `len` bytes, contiguous and aligned to 8. Returns `None` if there is no room now or
    /// this end is closed. See [`wait_for_room`](Producer::wait_for_room).
    ///
    /// # Panics
    /// Panics if `len` is 0, not a multiple of 8, or more than [`MAX_RECORD`].
    #[inline(always)]
    pub fn claim(&mut self, len: usize) -> Option<Claim<'_>> {
        assert!(len != 0 && len <= MAX_RECORD && len.is_multiple_of(8), "not a record length: {len}");
        let bytes = if self.is_plain(len) {
            self.memory.for_write(self.memory.offset(self.written), len)
        } else {
            self.place(len)?.as_ptr()
        };
        Some(Claim { producer: self, bytes, len })
    }

    /// Returns whether there is room for a record of `len` bytes. Reads the consumer's cursor only if there seems to be
    /// none.
    #[inline(always)]
    pub fn has_room(&mut self, len: usize) -> bool {
        self.is_plain(len) || self.makes_room(len)
    }

    /// Position after the last committed record.
    #[inline]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Reads and returns the position up to which the consumer has freed the ring.
    pub fn released(&mut self) -> u64 {
        let released = self.shared.released.0.load(Ordering::Acquire);
        if !self.closed {
            self.limit = released + self.memory.capacity() as u64;
            self.plain = self.limit.min(self.unmarked);
        }
        released
    }

    /// Reads the consumer's cursor and returns how many bytes of records can be claimed now. 0 once this end is closed.
    pub fn free(&mut self) -> usize {
        self.released();
        (self.limit - self.written) as usize
    }

    /// Size of the ring in bytes.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Announces that this end waits for room for `len` bytes.
    ///
    /// Returns `true` if this end may sleep now. The consumer's next [`release`](super::Consumer::release) then answers
    /// that a signal is due, even if it freed less than `len` bytes; in that case wait again. Returns `false` if this
    /// end must not sleep, because there is room already or one of the ends is closed. Then claim again and, if that
    /// fails, check [`is_closed`](Producer::is_closed).
    ///
    /// # Panics
    /// Panics if `len` is more than the capacity of the ring.
    #[must_use = "false means: do not sleep"]
    pub fn wait_for_room(&mut self, len: usize) -> bool {
        assert!(len <= self.capacity(), "no ring of {} bytes has room for {len}", self.capacity());
        if !self.lacks_room(len) {
            return false;
        }
        self.shared.bells.0.room.wait();
        let waits = self.lacks_room(len);
        if !waits {
            self.shared.bells.0.room.wake();
        }
        waits
    }

    /// Returns whether the consumer is closed. Nobody reads records that are written after that.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.shared.bells.0.consumer_closed.load(Ordering::Acquire)
    }

    /// Closes this end: no more records can be claimed, and [`written`](Producer::written) is final. Returns `true` if
    /// the consumer sleeps and must be signalled. Dropping the producer closes it too, but cannot report whether a
    /// signal is due. So call this first where the consumer may sleep.
    #[must_use = "true means: the consumer sleeps and must be signalled"]
    pub fn close(&mut self) -> bool {
        self.closed = true;
        self.limit = self.written;
        self.plain = self.limit.min(self.unmarked);
        self.shared.bells.0.producer_closed.store(true, Ordering::Release);
        self.shared.bells.0.data.ring()
    }

    pub(super) fn new(shared: Arc<Shared>) -> Producer {
        let memory = shared.memory.clone();
        let limit = memory.capacity() as u64;
        let scratch = Vec::new();
        Producer { shared, memory, written: 0, limit, unmarked: 0, plain: 0, closed: false, scratch }
    }

    /// Asserts the shared invariant of the cursors and that of this end.
    #[cfg(all(test, not(loom)))]
    pub(super) fn assert_invariant(&self) {
        self.shared.assert_invariant();
        let released = self.shared.released.0.load(Ordering::Acquire);
        assert!(self.written <= self.limit);
        assert_eq!(self.plain, self.limit.min(self.unmarked));
        assert!(self.limit <= released + self.capacity() as u64 || self.closed);
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Returns whether `len` bytes have no room now but may get it later.
    fn lacks_room(&mut self, len: usize) -> bool {
        self.free() < len && !self.closed && !self.is_closed()
    }

    /// Returns whether a record of `len` bytes is plain: it has room, needs no mark and does not cross the ring's end.
    #[inline(always)]
    fn is_plain(&self, len: usize) -> bool {
        self.written + len as u64 <= self.plain
    }

    #[inline(never)]
    fn makes_room(&mut self, len: usize) -> bool {
        self.limit - self.written >= len as u64 || self.free() >= len
    }

    /// Returns the address for a record of `len` bytes that is not plain, or `None` if there is no room.
    #[inline(never)]
    fn place(&mut self, len: usize) -> Option<NonNull<u8>> {
        if !self.makes_room(len) {
            return None;
        }
        let offset = self.memory.offset(self.written);
        let straddles = offset + len > self.memory.capacity();
        NonNull::new(if straddles { self.scratch() } else { self.memory.for_write(offset, len) })
    }

    /// Completes a record of `len` bytes that is not plain, before it is published.
    #[inline(never)]
    fn complete(&mut self, bytes: *const u8, len: usize) {
        if self.memory.offset(self.written) + len > self.memory.capacity() {
            self.copy_across(bytes, len);
        }
        if self.written >= self.unmarked {
            self.unmarked = self.shared.marks.set(self.written);
            self.plain = self.limit.min(self.unmarked);
        }
    }

    /// Returns the scratch buffer, which has the length of the longest record from its first use on.
    #[cold]
    fn scratch(&mut self) -> *mut u8 {
        self.scratch.resize(MAX_RECORD / 8, 0);
        self.scratch.as_mut_ptr().cast()
    }

    /// Copies a record of `len` bytes from the scratch buffer to the end and the beginning of the ring.
    #[cold]
    fn copy_across(&mut self, bytes: *const u8, len: usize) {
        let offset = self.memory.offset(self.written);
        let head = self.memory.capacity() - offset;
        let to_head = self.memory.for_write(offset, head);
        let to_tail = self.memory.for_write(0, len - head);
        // SAFETY: `bytes` is the scratch buffer, which has at least `len` bytes and is not part of the ring. `claim`
        // saw room for `len` bytes from `written` on, and the consumer reads none beyond `written`. Of these, `head`
        // bytes lie before the end of the block and the rest at its start.
        unsafe {
            ptr::copy_nonoverlapping(bytes, to_head, head);
            ptr::copy_nonoverlapping(bytes.add(head), to_tail, len - head);
        }
    }
}

impl Claim<'_> {
    /// Publishes the record. Returns `true` if the consumer sleeps and must be signalled. Of all commits since the
    /// consumer went to sleep, exactly one returns `true`.
    #[inline(always)]
    #[must_use = "true means: the consumer sleeps and must be signalled"]
    pub fn commit(self) -> bool {
        let Claim { producer, bytes, len } = self;
        if !producer.is_plain(len) {
            producer.complete(bytes, len);
        }
        let shared = &*producer.shared;
        producer.written += len as u64;
        shared.written.0.store(producer.written, Ordering::Release);
        shared.bells.0.data.ring()
    }
}

impl Deref for Claim<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the pointer is valid for `len` initialised bytes (a ring and a scratch buffer begin as zeros). The
        // borrow of the producer reserves them for this claim, and the consumer reads none beyond `written`.
        unsafe { slice::from_raw_parts(self.bytes, self.len) }
    }
}

impl DerefMut for Claim<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the claim is borrowed exclusively here.
        unsafe { slice::from_raw_parts_mut(self.bytes, self.len) }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.bells.0.producer_closed.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Producer").field(&self.shared).finish()
    }
}
