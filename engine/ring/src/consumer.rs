//! Consumer: the reading end of a ring.

use std::{fmt, slice};

use super::{Memory, Region, Shared};
use crate::barrier;
use crate::sync::{Arc, Ordering};

/// Reading end of a ring, held by the event loop.
///
/// It reads bytes by position, as often as needed, until it releases them.
///
/// In these docs, "`written` as seen" is the value that the last call of [`written`](Consumer::written) returned.
pub struct Consumer {
    shared: Arc<Shared>,
    memory: Arc<Memory>,
    /// Cursors: `released <= written <= released + capacity`. `written` may be stale.
    released: u64,
    written: u64,
    /// Polling flag: the doorbell is in `POLLING`, and a heavy barrier is due before it may become `WAITING`.
    polling: bool,
    /// Report flag: a wait has already reported that the producer is closed.
    close_reported: bool,
}

/// Takes rings out of polling, with one heavy barrier for all of them.
///
/// The barrier takes some microseconds. It is left out if no ring was polling.
///
/// An event loop calls this before it waits on many rings. Otherwise each [`wait`](Consumer::wait) leaves polling by
/// itself and pays for a barrier of its own.
pub fn leave_polling<'a>(consumers: impl IntoIterator<Item = &'a mut Consumer>) {
    let mut left = false;
    for consumer in consumers {
        if consumer.polling {
            consumer.shared.bells.0.data.wake();
            consumer.polling = false;
            left = true;
        }
    }
    if left {
        barrier::heavy();
    }
}

impl Consumer {
    /// Reads and returns the position up to which the producer has written.
    #[inline]
    pub fn written(&mut self) -> u64 {
        self.written = self.shared.written.0.load(Ordering::Acquire);
        self.written
    }

    /// Finds a record boundary in `(from, limit]` that is not beyond `written` as seen. Returns `from` if none is
    /// known. `from` must itself be a record boundary.
    ///
    /// The search takes constant time and reads no record, so the result is not always the largest boundary. If `limit`
    /// is at or beyond `written` as seen, the result is exactly that `written`. If `limit - from` is at least 2 ×
    /// [`MAX_RECORD`](super::MAX_RECORD), the result is greater than `limit - 2 * MAX_RECORD`. With a smaller distance
    /// the result may be `from` although boundaries lie in between; call again with a larger limit.
    ///
    /// # Panics
    /// Panics if `from` is not within `released..=written`, with `written` as seen.
    pub fn cut(&self, from: u64, limit: u64) -> u64 {
        self.assert_readable(from, self.written);
        if limit >= self.written {
            return self.written;
        }
        self.shared.marks.last(from, limit).unwrap_or(from)
    }

    /// Returns the bytes from position `from` to position `to`. The second slice is empty unless the range wraps around
    /// the end of the ring.
    ///
    /// # Panics
    /// Panics unless `released <= from <= to <= written`, with `written` as seen.
    pub fn slices(&self, from: u64, to: u64) -> [&[u8]; 2] {
        self.parts(from, to).map(|(offset, len)| {
            // SAFETY: the pointer is valid for `len` bytes of the block from `offset` on. They are initialised, and lie
            // between `released` and `written`, so the producer writes none of them. `released` cannot move while this
            // borrow lasts.
            unsafe { slice::from_raw_parts(self.memory.for_read(offset, len), len) }
        })
    }

    /// Returns the bytes from position `from` to position `to` as regions for the kernel. The second region is empty
    /// unless the range wraps around the end of the ring.
    ///
    /// # Panics
    /// Panics unless `released <= from <= to <= written`, with `written` as seen.
    #[inline]
    pub fn regions(&self, from: u64, to: u64) -> [Region; 2] {
        self.parts(from, to).map(|(offset, len)| Region::new(self.memory.clone(), offset, len))
    }

    /// Frees the ring up to position `to`; the producer may overwrite those bytes. Returns `true` if the producer waits
    /// for room and must be signalled. A call that frees no new bytes is allowed and gives the same answer.
    ///
    /// # Panics
    /// Panics unless `released <= to <= written`, with `written` as seen.
    #[must_use = "true means: the producer waits for room and must be signalled"]
    pub fn release(&mut self, to: u64) -> bool {
        self.assert_readable(to, self.written);
        self.released = to;
        self.shared.released.0.store(to, Ordering::Release);
        if cfg!(debug_assertions) {
            self.shared.assert_invariant();
        }
        self.shared.bells.0.room.ring()
    }

    /// Position up to which the ring is free.
    #[inline]
    pub fn released(&self) -> u64 {
        self.released
    }

    /// Size of the ring in bytes.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Announces that this end is about to sleep, having seen `written` at position `seen`.
    ///
    /// Returns `true` if this end may sleep. The next commit or close of the producer then answers that a signal is
    /// due. Returns `false` if this end must not sleep, because `written` has moved or the producer [is
    /// closed](Consumer::is_closed). The close is reported only once, so that a closed ring whose bytes still await
    /// their acknowledgement does not keep an event loop awake.
    ///
    /// A spurious signal may follow a `false`, or arrive without new bytes: a commit saw this end as waiting during the
    /// call. Ignore it.
    #[must_use = "false means: do not sleep"]
    pub fn wait(&mut self, seen: u64) -> bool {
        leave_polling([&mut *self]);
        self.shared.bells.0.data.wait();
        let closing = self.is_closed() && !self.close_reported;
        let news = self.written() != seen;
        if news || closing {
            self.shared.bells.0.data.wake();
            self.close_reported |= !news;
            return false;
        }
        true
    }

    /// Takes back a [`wait`](Consumer::wait), so that the producer sends no signal to an event loop that is awake for
    /// another reason. A ring that polls goes on polling.
    pub fn wake(&mut self) {
        if !self.polling {
            self.shared.bells.0.data.wake();
        }
    }

    /// Promises to read [`written`](Consumer::written) again and again, unasked, so that a commit costs no fence. The
    /// promise ends with [`leave_polling`] or [`wait`](Consumer::wait). Does nothing where the kernel has no
    /// membarrier.
    pub fn poll(&mut self) {
        if !self.polling && barrier::available() {
            self.polling = true;
            self.shared.bells.0.data.poll();
        }
    }

    /// Returns whether the producer is closed. After a `true`, the next result of [`written`](Consumer::written) is
    /// final.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.shared.bells.0.producer_closed.load(Ordering::Acquire)
    }

    /// Closes this end, and so tells the producer that nobody reads any more. Returns `true` if the producer waits for
    /// room and must be signalled. Dropping the consumer closes it too, but cannot report whether a signal is due. So
    /// call this first where the producer may sleep.
    #[must_use = "true means: the producer waits for room and must be signalled"]
    pub fn close(&mut self) -> bool {
        self.shared.bells.0.consumer_closed.store(true, Ordering::Release);
        self.shared.bells.0.room.ring()
    }

    pub(super) fn new(shared: Arc<Shared>) -> Consumer {
        let memory = shared.memory.clone();
        Consumer { shared, memory, released: 0, written: 0, polling: false, close_reported: false }
    }

    /// Returns offset and length of the bytes from `from` to `to`, in two parts where they wrap around the end of the
    /// ring.
    fn parts(&self, from: u64, to: u64) -> [(usize, usize); 2] {
        self.assert_readable(from, to);
        let offset = self.memory.offset(from);
        let len = (to - from) as usize;
        let head = len.min(self.memory.capacity() - offset);
        [(offset, head), (0, len - head)]
    }

    fn assert_readable(&self, from: u64, to: u64) {
        assert!(
            self.released <= from && from <= to && to <= self.written,
            "{from}..{to} is not within the readable {}..{}",
            self.released,
            self.written
        );
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.bells.0.consumer_closed.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Consumer").field(&self.shared).finish()
    }
}
