//! Byte ring between one application thread and one event loop: single producer, single consumer (SPSC).
//!
//! The [`Producer`] encodes **records** straight into the ring. The [`Consumer`] reads the written bytes as one or two
//! contiguous slices, hands them to the kernel, may read them again for a retransmission, and frees them once they are
//! acknowledged. The ring is the queue, the send buffer and the retransmit window at once. The ring never reads the
//! content of a record.
//!
//! ```
//! let (mut producer, mut consumer) = cluster_ring::ring(1 << 20)?;
//!
//! // The application encodes a record in place.
//! let mut record = producer.claim(16).expect("an empty ring has room");
//! record.copy_from_slice(b"sixteen bytes...");
//! record.commit();
//!
//! // The event loop sends it, and sends it again after a lost connection.
//! let written = consumer.written();
//! for _ in 0..2 {
//!     assert_eq!(consumer.slices(0, written)[0], b"sixteen bytes...");
//! }
//! // An acknowledgement has come: the room is free.
//! consumer.release(written);
//! assert_eq!(producer.released(), written);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Positions
//! A position counts bytes since the ring was made. It never wraps in practice (2^64 bytes). The byte at position `p`
//! is stored at offset `p & (capacity - 1)`. A record begins and ends at a multiple of 8, so every record is aligned in
//! memory too.
//!
//! The bytes between the cursors `released` and `written` belong to the consumer, which only reads them. All other
//! bytes belong to the producer. A cursor is stored with `Release` and loaded with `Acquire`, and this transfers
//! ownership of the bytes: the producer's writes are visible before the consumer reads them, and the consumer's reads
//! are finished before the producer overwrites them. Each side keeps a copy of the other side's cursor and refreshes it
//! only when the copy does not suffice. Each cursor has cache lines of its own. So a record normally costs no cache
//! miss.
//!
//! # Wake-ups
//! Either side may sleep until the other side has moved: the consumer when nothing is written, the producer when there
//! is no room. The caller decides how a side sleeps and how it is woken (an eventfd, a ring message, `unpark`). The
//! ring only reports *when a signal is due*. It has two doorbells for this (`doorbell.rs`), each with one **ringer**
//! and one **waiter**:
//!
//! | doorbell | ringer, after its store | waiter, before it sleeps |
//! | --- | --- | --- |
//! | `data` | producer: `written`, or closed | consumer: [`Consumer::wait`] |
//! | `room` | consumer: `released`, or closed | producer: [`Producer::wait_for_room`] |
//!
//! A doorbell has one of three states: `ACTIVE` (the waiter is awake), `WAITING` (the waiter sleeps or is about to),
//! `POLLING` (the waiter is awake and has promised to look again unasked; `data` only). Only the waiter stores these
//! states. The ringer makes a single transition, `WAITING` to `ACTIVE`, by compare-and-swap. A ringer whose swap
//! succeeds owes the signal. So each wait is answered by at most one signal.
//!
//! **Rule for callers**: sleep only after a wait that returned `true`, and only once per such result. Deliver a signal
//! for every `true` from the other side. A signal that arrives before the sleep must end that sleep, as with `unpark`
//! and an eventfd.
//!
//! # Why no wake-up is lost
//! Assume that the ringer stores its cursor as `x`, and that the waiter then sleeps without having seen `x`. After its
//! store the ringer reads the doorbell. The proof shows that this read led to a signal.
//!
//! *Case 1: the waiter was `ACTIVE` before it waited.* The waiter did: store `WAITING`; fence F; read the cursor. The
//! ringer did: store the cursor; fence G; read the doorbell. Both fences are sequentially consistent, so one of them
//! comes first. If G comes first, the waiter's read after F sees `x`, and the waiter does not sleep. So F comes first,
//! and the ringer's read after G sees this `WAITING` or a later state:
//!
//! - This `WAITING`: the ringer swaps it to `ACTIVE` and signals. If the swap fails, the waiter has stored a state
//!   since, so it is not in this sleep. The same argument, with the fence of its next wait, covers that wait.
//! - A state later than this `WAITING`: if the waiter stored it, the previous item applies. If the ringer stored it,
//!   for an earlier store of the cursor, the ringer has already signalled this wait.
//!
//! A ringer that reads the `WAITING` of an earlier wait and swaps that of a later one sends a spurious signal. A
//! spurious signal costs a turn and is allowed. It ends that wait too, since the doorbell is `ACTIVE` again and the
//! waiter publishes `WAITING` before its next sleep.
//!
//! *Case 2: the waiter polled before.* Here the ringer may skip G: it reads the doorbell once after a light barrier
//! ([`barrier`]), and a ringer that reads `POLLING` is done. Before the waiter can wait, it must leave polling:
//! store `ACTIVE`; heavy barrier; then wait as in case 1. A light and a heavy barrier are ordered as two fences would
//! be. If the light barrier came first, every read of the waiter after the heavy one sees `x`, including its read in
//! the wait, and it does not sleep. If the heavy barrier came first, the ringer reads `ACTIVE` or a later state, never
//! the `POLLING` that was left. Then the ringer passes G, and case 1 holds, or it reads a newer `POLLING`, which
//! another heavy barrier ends before the next sleep. [`Consumer::wait`] leaves polling by itself, and [`leave_polling`]
//! does it for many rings with one heavy barrier, so callers cannot get the order wrong.
//!
//! *Closing* follows the same proof with the `closed` flag in place of the cursor: the flag is stored before the
//! doorbell is read, and read again after `WAITING` is published.
//!
//! The benefit: while the consumer polls, a commit is a plain store and a load of a cache line that nobody writes. A
//! fence in each commit would delay every record until the ring's cache lines have arrived from the other core.

#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "asks the kernel for barriers; the block states what makes it sound")]
pub mod barrier;
#[allow(unsafe_code, reason = "maps memory; each block states what makes it sound")]
mod block;
#[allow(unsafe_code, reason = "shares memory between two threads; each block states what makes it sound")]
mod consumer;
mod doorbell;
pub mod grace;
mod marks;
#[allow(unsafe_code, reason = "shares memory between two threads; each block states what makes it sound")]
mod memory;
#[allow(unsafe_code, reason = "shares memory between two threads; each block states what makes it sound")]
mod producer;
mod sync;

#[cfg(all(test, loom))]
mod loom;
#[cfg(all(test, not(loom)))]
mod stress;
#[cfg(all(test, not(loom)))]
#[allow(unsafe_code, reason = "reads a region as the kernel does")]
mod tests;

use std::{fmt, io};

use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use doorbell::Doorbell;
use marks::Marks;
use memory::Memory;

pub use block::Block;
pub use consumer::{Consumer, leave_polling};
pub use memory::Region;
pub use producer::{Claim, Producer};

/// Makes a ring and returns its two ends. Each end may move to a thread of its own.
///
/// `capacity_bytes` is rounded up to a power of two and is at least [`MIN_CAPACITY`]. The kernel maps the memory page
/// by page, at the first write to each page.
///
/// # Errors
/// Returns an error when the operating system has no memory or address space left for the ring.
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

/// State that both ends of a ring share.
///
/// Invariant of the cursors, at every moment and in the view of either side:
///
/// ```text
/// released <= written <= released + capacity
/// ```
///
/// Both cursors only grow. Only the producer stores `written`, and only the consumer stores `released`. A side's copy
/// of the other cursor may be stale, and a stale copy is safe: a stale `released` shows less room than there is, a
/// stale `written` fewer bytes.
struct Shared {
    written: Line<AtomicU64>,
    released: Line<AtomicU64>,
    bells: Line<Bells>,
    marks: Marks,
    memory: Arc<Memory>,
}

/// Doorbells and closed flags: fields that are mostly read, on one cache line. Beside a cursor, each move of the cursor
/// would evict them from the reader's cache.
struct Bells {
    data: Doorbell,
    room: Doorbell,
    producer_closed: AtomicBool,
    consumer_closed: AtomicBool,
}

/// Alignment wrapper that keeps the fields one side writes off the cache lines the other side writes. 128 bytes,
/// because processors fetch cache lines in pairs.
#[repr(align(128))]
struct Line<T>(T);

impl Shared {
    /// Asserts the cursors' invariant. Either side may call this at any time.
    ///
    /// `written` is read between two reads of `released`. It is at least the first of them and at most one capacity
    /// above the second.
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

/// Longest record, in bytes. Small under loom and miri, which are a thousand times slower.
pub const MAX_RECORD: usize = if cfg!(any(loom, miri)) { 64 } else { 16 * 1024 };

/// Smallest capacity of a ring, in bytes: four records of the greatest length.
pub const MIN_CAPACITY: usize = 4 * MAX_RECORD;
