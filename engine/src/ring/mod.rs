//! The byte ring between one application thread and one event loop.
//!
//! The [`Producer`] encodes **records** straight into the ring; the [`Consumer`] takes whatever
//! stands there as one or two contiguous stretches, hands them to the kernel, may take them again
//! (a retransmission), and frees them when they are acknowledged. The ring is the queue, the send
//! buffer and the retransmit window at once. It never looks into a record.
//!
//! # Positions
//! A position counts bytes since the ring was made and never wraps in practice (2^64 bytes). The
//! byte at position `p` lives at offset `p & (capacity - 1)`. A record begins and ends at a
//! multiple of 8, so every record is aligned in memory too. Between the two cursors the bytes
//! belong to the consumer, who only reads; outside them they belong to the producer. Each cursor is
//! stored with `Release` and loaded with `Acquire`, which hands the bytes over: `written` makes the
//! producer's writes visible before the consumer reads them, and `released` makes the consumer's
//! reads finished before the producer overwrites them. Each side keeps a copy of the other's cursor
//! and refreshes it only when the copy does not suffice, and the cursors live on cache lines of
//! their own, so that a record normally costs no cache miss at all.
//!
//! # Wake-ups
//! Either side may sleep until the other has moved: the consumer when nothing is written, the
//! producer when there is no room. How one sleeps and how the other wakes it (an eventfd, a ring
//! message, `unpark`) is the caller's; the ring only says *when a signal is due*. For this there
//! are two doorbells (`doorbell.rs`), each with one **ringer** and one **waiter**:
//!
//! | doorbell | ringer, after it stored | waiter, before it sleeps |
//! | --- | --- | --- |
//! | `data` | producer: `written`, or closed | consumer: [`Consumer::wait`] |
//! | `room` | consumer: `released`, or closed | producer: [`Producer::wait_for_room`] |
//!
//! A doorbell is `ACTIVE` (the waiter is awake), `WAITING` (it sleeps, or is about to) or `POLLING`
//! (it promises to look again by itself; `data` only). The waiter alone stores any of the three;
//! the ringer makes one transition, `WAITING` to `ACTIVE`, by compare-and-swap, and whoever makes
//! it owes the signal. So each wait is answered by at most one signal.
//!
//! **The rule for callers**: sleep only after a wait that answered true, and only once per such
//! answer; deliver a signal for every true from the other side; let a signal that arrives before
//! the sleep end that sleep (as `unpark` and an eventfd do).
//!
//! # Why no wake-up is lost
//! Say the ringer stores its cursor to `x` and the waiter then sleeps without having seen `x`. We
//! show that the ringer's look at the doorbell, which follows the store, led to a signal.
//!
//! *The waiter was `ACTIVE` before it waited.* It did: store `WAITING`; fence F; read the cursor.
//! The ringer did: store the cursor; fence G; read the doorbell. Both fences are sequentially
//! consistent, so one comes first. If G, then the waiter's read after F sees `x`, and it does not
//! sleep. So F comes first, and the ringer's read after G sees this `WAITING` or something later:
//!
//! - this `WAITING`: the ringer swaps it to `ACTIVE` and signals. If the swap fails, the waiter has
//!   stored again since, so it is not in this sleep; its next wait is judged anew, with the same
//!   argument, by that wait's own fence.
//! - something later than this `WAITING`: either the waiter stored it, as above, or the ringer
//!   did, for an earlier store of this side, and then it signalled this very wait already.
//!
//! A ringer that reads `WAITING` of an earlier wait and swaps that of a later one signals without
//! need. A spurious signal costs a turn and is allowed; that wait is over all the same, since the
//! doorbell is `ACTIVE` again, and the waiter publishes `WAITING` before it sleeps once more.
//!
//! *The waiter polled before.* Here the ringer may skip G: it reads the doorbell once after a
//! light barrier (`crate::barrier`), and if it reads `POLLING`, it goes away. The waiter, before it
//! can wait, must leave: store `ACTIVE`; heavy barrier; and only then wait as above. A light and a
//! heavy barrier are ordered as two fences would be. If the light one came first, everything the
//! waiter reads after the heavy one sees `x`, its read in the wait too, and it does not sleep. If
//! the heavy one came first, the ringer reads `ACTIVE` or later, never the `POLLING` that was
//! left. Then it goes through G (and the first case holds), or it reads a newer `POLLING`, and
//! that one is left by another heavy barrier before the next sleep. [`Consumer::wait`] leaves by
//! itself, and [`leave_polling`] does it for many rings at the price of one heavy barrier, so the
//! order cannot be got wrong from outside.
//!
//! *Closing* is the same with the `closed` flag in the cursor's place: it is stored before the
//! doorbell is looked at, and read again after `WAITING` is published.
//!
//! What this buys: while the consumer polls, a commit is a plain store and a load of a line that
//! nobody writes. A fence for each record would make each record wait until the ring's cache lines
//! have come over from the other core.

mod block;
mod consumer;
mod doorbell;
mod marks;
mod memory;
mod producer;

#[cfg(all(test, loom))]
mod loom;
#[cfg(all(test, not(loom)))]
mod stress;
#[cfg(all(test, not(loom)))]
mod tests;

use std::{fmt, io};

use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use doorbell::Doorbell;
use marks::Marks;
use memory::Memory;

pub(crate) use block::Block;
pub use consumer::{Consumer, leave_polling};
pub use memory::Region;
pub use producer::{Claim, Producer};

/// Makes a ring and returns its two ends, each of which may move to a thread of its own.
///
/// `capacity_bytes` is rounded up to a power of two and is at least [`MIN_CAPACITY`]. The memory is
/// mapped when it is first written, page by page.
///
/// # Errors
/// When the operating system has no memory or address space left for the ring.
pub fn ring(capacity_bytes: usize) -> io::Result<(Producer, Consumer)> {
    let capacity = capacity_bytes.max(MIN_CAPACITY).next_power_of_two();
    let shared = Arc::new(Shared {
        written: Line(AtomicU64::new(0)),
        released: Line(AtomicU64::new(0)),
        bells: Line(Bells {
            data: Doorbell::new(),
            room: Doorbell::new(),
            producer_closed: AtomicBool::new(false),
            consumer_closed: AtomicBool::new(false),
        }),
        marks: Marks::new(capacity),
        memory: Arc::new(Memory::new(capacity)?),
    });
    Ok((Producer::new(shared.clone()), Consumer::new(shared)))
}

/// What the two ends share.
///
/// The cursors' invariant, at every moment and whatever either side has seen of the other:
///
/// ```text
/// released <= written <= released + capacity
/// ```
///
/// Both only grow. `written` is stored by the producer alone and `released` by the consumer alone.
/// A side's copy of the other's cursor may be old, and an old copy errs to the safe side: an old
/// `released` shows less room than there is, an old `written` fewer bytes.
struct Shared {
    written: Line<AtomicU64>,
    released: Line<AtomicU64>,
    bells: Line<Bells>,
    marks: Marks,
    memory: Arc<Memory>,
}

/// What is mostly read shares a line. A flag beside a cursor would be fetched anew after each move of that.
struct Bells {
    data: Doorbell,
    room: Doorbell,
    producer_closed: AtomicBool,
    consumer_closed: AtomicBool,
}

/// Keeps what one side writes off the lines that the other side writes. 128 bytes, as processors
/// fetch lines in pairs.
#[repr(align(128))]
struct Line<T>(T);

impl Shared {
    /// Asserts the cursors' invariant; either side may call it at any time.
    ///
    /// `written` is read between two reads of `released`: it cannot be less than the earlier one
    /// nor more than a ring ahead of the later one.
    fn assert_invariant(&self) {
        let earlier = self.released.0.load(Ordering::Acquire);
        let written = self.written.0.load(Ordering::Acquire);
        let later = self.released.0.load(Ordering::Acquire);
        assert!(
            earlier <= written && written <= later + self.memory.capacity() as u64,
            "ring cursors out of order: {self:?}"
        );
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("capacity", &self.memory.capacity())
            .field("written", &self.written.0.load(Ordering::Acquire))
            .field("released", &self.released.0.load(Ordering::Acquire))
            .field("producer_closed", &self.bells.0.producer_closed.load(Ordering::Acquire))
            .field("consumer_closed", &self.bells.0.consumer_closed.load(Ordering::Acquire))
            .field("data", &self.bells.0.data)
            .field("room", &self.bells.0.room)
            .finish()
    }
}

/// The longest record, in bytes. Loom and miri, which are a thousand times slower, get small rings.
pub const MAX_RECORD: usize = if cfg!(any(loom, miri)) { 64 } else { 16 * 1024 };

/// The smallest ring, in bytes: four of the longest records.
pub const MIN_CAPACITY: usize = 4 * MAX_RECORD;
