//! The writing end.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    slice,
};

use super::{MAX_RECORD, Memory, Shared};
use crate::sync::{Arc, Ordering};

/// The application's end of a ring: it writes records and never looks back.
///
/// ```
/// # use cluster_engine::ring;
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
    /// `written <= limit <= released + capacity`; the limit may be old, and is refreshed when a
    /// claim would pass it. After [`close`](Producer::close) it stays at `written`.
    written: u64,
    limit: u64,
    /// A record that begins here or later is the first of its page, and gets a mark.
    unmarked: u64,
    /// `min(limit, unmarked)`: a record that ends here or before has room, needs no mark, and does not pass the ring's end, which
    /// is a page's end too. So one comparison does for nearly all.
    plain: u64,
    closed: bool,
    /// A record that straddles the end of the ring is written here first. Words, for alignment.
    scratch: Vec<u64>,
}

/// Room for one record. Write all of it, for what stands there is left over from earlier records;
/// then [`commit`](Claim::commit). A claim that is dropped has published nothing.
#[must_use = "a claim that is not committed publishes nothing"]
pub struct Claim<'a> {
    producer: &'a mut Producer,
    /// In the ring, or in the scratch buffer if the record straddles its end.
    bytes: *mut u8,
    len: usize,
}

impl Producer {
    /// Room for a record of `len` bytes, contiguous and aligned to 8, or `None` if there is none
    /// now (or this end is closed). See [`wait_for_room`](Producer::wait_for_room).
    ///
    /// # Panics
    /// If `len` is 0, not a multiple of 8, or more than [`MAX_RECORD`].
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

    /// Whether there is room for a record of `len` bytes. Looks at the consumer only if there seems to be none.
    #[inline(always)]
    pub fn has_room(&mut self, len: usize) -> bool {
        self.is_plain(len) || self.makes_room(len)
    }

    /// The position after the last record committed.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The position up to which the consumer has freed the ring, as of now.
    pub fn released(&mut self) -> u64 {
        let released = self.shared.released.0.load(Ordering::Acquire);
        if !self.closed {
            self.limit = released + self.memory.capacity() as u64;
            self.plain = self.limit.min(self.unmarked);
        }
        released
    }

    /// How many bytes can be claimed as of now, in records. 0 once this end is closed.
    pub fn free(&mut self) -> usize {
        self.released();
        (self.limit - self.written) as usize
    }

    /// The ring's size in bytes.
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Announces that this end waits for room for `len` bytes. True: it may sleep now, and the
    /// consumer's next [`release`](super::Consumer::release) answers that a signal is due, be it
    /// for less than `len` (then wait again). False: do not sleep, for there is room already, or
    /// one of the ends is closed; claim again and, if that fails, look at
    /// [`is_closed`](Producer::is_closed).
    ///
    /// # Panics
    /// If `len` is more than the ring holds.
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

    /// Whether the consumer is gone: what is written from now on, nobody reads.
    pub fn is_closed(&self) -> bool {
        self.shared.bells.0.consumer_closed.load(Ordering::Acquire)
    }

    /// Closes this end: nothing can be claimed any more, and [`written`](Producer::written) is
    /// final. True: the consumer sleeps and must be signalled. Dropping the producer closes it too,
    /// but cannot tell whether a signal is due; so close first where the consumer may sleep.
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

    /// Asserts the cursors' invariant, the shared one and this end's own.
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

    /// Whether there is something to wait for: room that may still come.
    fn lacks_room(&mut self, len: usize) -> bool {
        self.free() < len && !self.closed && !self.is_closed()
    }

    /// Whether a record of `len` bytes needs nothing but to be written.
    #[inline(always)]
    fn is_plain(&self, len: usize) -> bool {
        self.written + len as u64 <= self.plain
    }

    #[inline(never)]
    fn makes_room(&mut self, len: usize) -> bool {
        self.limit - self.written >= len as u64 || self.free() >= len
    }

    /// Where a record of `len` bytes goes that is not a plain one, if there is room.
    #[inline(never)]
    fn place(&mut self, len: usize) -> Option<NonNull<u8>> {
        if !self.makes_room(len) {
            return None;
        }
        let offset = self.memory.offset(self.written);
        let straddles = offset + len > self.memory.capacity();
        NonNull::new(if straddles { self.scratch() } else { self.memory.for_write(offset, len) })
    }

    /// What a record of `len` bytes needs before it is published, if it is not a plain one.
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

    /// The scratch buffer, as long as the longest record from its first use on.
    #[cold]
    fn scratch(&mut self) -> *mut u8 {
        self.scratch.resize(MAX_RECORD / 8, 0);
        self.scratch.as_mut_ptr().cast()
    }

    /// Copies a record of `len` bytes from the scratch buffer to both sides of the ring's end.
    #[cold]
    fn copy_across(&mut self, bytes: *const u8, len: usize) {
        let offset = self.memory.offset(self.written);
        let head = self.memory.capacity() - offset;
        let to_head = self.memory.for_write(offset, head);
        let to_tail = self.memory.for_write(0, len - head);
        // SAFETY: `bytes` is the scratch buffer, of at least `len` bytes and not part of the ring.
        // `claim` saw room for `len` bytes from `written` on, and the consumer reads none beyond
        // `written`; of these, `head` lie before the end of the block and the rest at its start.
        unsafe {
            ptr::copy_nonoverlapping(bytes, to_head, head);
            ptr::copy_nonoverlapping(bytes.add(head), to_tail, len - head);
        }
    }
}

impl Claim<'_> {
    /// Publishes the record. True: the consumer sleeps and must be signalled; of all commits since
    /// it went to sleep, exactly one answers so.
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
        // SAFETY: `len` initialised bytes (a ring and a scratch buffer begin as zeros) that the
        // borrow of the producer keeps to this claim; the consumer reads none beyond `written`.
        unsafe { slice::from_raw_parts(self.bytes, self.len) }
    }
}

impl DerefMut for Claim<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and this claim is borrowed exclusively.
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
