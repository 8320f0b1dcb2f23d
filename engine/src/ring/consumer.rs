//! The reading end.

use std::{fmt, slice};

use super::{Memory, Region, Shared};
use crate::barrier;
use crate::sync::{Arc, Ordering};

/// The event loop's end of a ring: it takes bytes by position, as often as it likes, until it
/// releases them.
///
/// "Seen" below means: as of the last call of [`written`](Consumer::written).
pub struct Consumer {
    shared: Arc<Shared>,
    memory: Arc<Memory>,
    /// `released <= written <= released + capacity`, of which `written` may be old.
    released: u64,
    written: u64,
    /// The doorbell is in `POLLING`, and a heavy barrier is due before it may say `WAITING`.
    polling: bool,
    /// A wait has reported that the producer is closed, and need not do so again.
    close_reported: bool,
}

/// Takes rings out of polling, at the price of one heavy barrier for all of them (some
/// microseconds), or nothing if none was polling. A loop that is about to wait on many rings calls
/// this first; else each [`wait`](Consumer::wait) leaves by itself and pays for itself.
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
    /// The position up to which the producer has written, as of now.
    #[inline]
    pub fn written(&mut self) -> u64 {
        self.written = self.shared.written.0.load(Ordering::Acquire);
        self.written
    }

    /// A record boundary in `(from, limit]`, not beyond `written` as seen; `from` if it knows none.
    /// `from` must be a record boundary itself.
    ///
    /// It takes constant time and looks at no record, and so it is not always the largest. If
    /// `limit` covers all that is written, it is exact. If `limit - from` is at least
    /// 2 × [`MAX_RECORD`](super::MAX_RECORD), the answer is more than `limit` less that. Below that
    /// the answer may be `from` though there are boundaries in between: come back with a larger
    /// limit.
    ///
    /// # Panics
    /// If `from` is not within `released..=written`.
    pub fn cut(&self, from: u64, limit: u64) -> u64 {
        self.assert_readable(from, self.written);
        if limit >= self.written {
            return self.written;
        }
        self.shared.marks.last(from, limit).unwrap_or(from)
    }

    /// The bytes from `from` to `to`. The second slice is empty unless they pass the ring's end.
    ///
    /// # Panics
    /// Unless `released <= from <= to <= written` as seen.
    pub fn slices(&self, from: u64, to: u64) -> [&[u8]; 2] {
        self.parts(from, to).map(|(offset, len)| {
            // SAFETY: `len` bytes of the block from `offset` on. They are initialised, and lie
            // between `released` and `written`, so the producer writes none of them; `released`
            // cannot move while this borrow lasts.
            unsafe { slice::from_raw_parts(self.memory.for_read(offset, len), len) }
        })
    }

    /// The bytes from `from` to `to`, for the kernel. The second region is empty unless they pass
    /// the ring's end.
    ///
    /// # Panics
    /// Unless `released <= from <= to <= written` as seen.
    pub fn regions(&self, from: u64, to: u64) -> [Region; 2] {
        self.parts(from, to).map(|(offset, len)| Region::new(self.memory.clone(), offset, len))
    }

    /// Frees the ring up to `to`: the producer may write over it. True: the producer waits for room
    /// and must be signalled. Releasing nothing new is allowed and answers likewise.
    ///
    /// # Panics
    /// Unless `released <= to <= written` as seen.
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

    /// The position up to which the ring is free.
    pub fn released(&self) -> u64 {
        self.released
    }

    /// The ring's size in bytes.
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Announces that this end is about to sleep, having seen `written` at `seen`. True: it may
    /// sleep, and the next commit (or close) answers that a signal is due. False: it must not, for
    /// `written` has moved, or else the producer [is closed](Consumer::is_closed); the latter is
    /// said once, so that a closed ring whose bytes still wait for their acknowledgement does not
    /// keep a loop awake.
    ///
    /// A signal may come all the same after a false, or without news: then a commit found this end
    /// waiting while it was making up its mind. Ignore it.
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

    /// Takes back a [`wait`](Consumer::wait), so that no signal is sent to a loop that is awake for
    /// another reason. A ring that polls goes on polling.
    pub fn wake(&mut self) {
        if !self.polling {
            self.shared.bells.0.data.wake();
        }
    }

    /// Promises to look at [`written`](Consumer::written) again and again, unasked, so that a
    /// commit costs no fence. The promise ends with [`leave_polling`] or [`wait`](Consumer::wait).
    /// Does nothing where the kernel has no membarrier.
    pub fn poll(&mut self) {
        if !self.polling && barrier::available() {
            self.polling = true;
            self.shared.bells.0.data.poll();
        }
    }

    /// Whether the producer is gone. What [`written`](Consumer::written) says after a true is
    /// final.
    pub fn is_closed(&self) -> bool {
        self.shared.bells.0.producer_closed.load(Ordering::Acquire)
    }

    /// Closes this end: the producer is told that nobody reads. True: it waits for room and must be
    /// signalled. Dropping the consumer closes it too, but cannot tell whether a signal is due; so
    /// close first where the producer may sleep.
    #[must_use = "true means: the producer waits for room and must be signalled"]
    pub fn close(&mut self) -> bool {
        self.shared.bells.0.consumer_closed.store(true, Ordering::Release);
        self.shared.bells.0.room.ring()
    }

    pub(super) fn new(shared: Arc<Shared>) -> Consumer {
        let memory = shared.memory.clone();
        Consumer { shared, memory, released: 0, written: 0, polling: false, close_reported: false }
    }

    /// Where the bytes from `from` to `to` lie, as offset and length.
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
