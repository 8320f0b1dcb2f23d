//! Outgoing stream: the bytes that one outbox sends to one peer on one lane (WIRE.md, section Streams).
//!
//! A stream is an SPSC ring of bytes and the positions in it. The application writes through the [`SendQueue`], and the
//! link sends from the [`SendWindow`]. Bytes stay in the ring until the peer has acknowledged them, so the ring is
//! queue, send buffer and retransmit window at once.
//!
//! An envelope longer than [`MAX_RING_PAYLOAD`] is sent by reference: the ring holds its frame header, a queue beside
//! the ring holds its `Bytes`, and nothing is copied. Its payload counts in stream positions but takes no room in the
//! ring. So **stream position = ring position + the payload bytes by reference before it**, padding included.

mod buffers;
mod droppable;
mod send_queue;
mod send_window;
#[cfg(test)]
mod tests;
mod ticket;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use atomic_waker::AtomicWaker;
use crossbeam_queue::SegQueue;

use crate::callback::{Callbacks, OwnedBytes};
use crate::ring;
use crate::wire::FRAME_HEADER_BYTES;

pub use crate::wire::{Lane, lane_of, stream_id};
pub use buffers::{Buffer, Buffers};
pub use droppable::{DropPolicy, Dropped};
pub use send_queue::{Full, SendQueue, Slot};
pub use send_window::{AckError, Extent, SendWindow, Taken};
pub use ticket::{Ticket, TicketState};

/// Longest payload that is copied into the ring, in bytes. A longer one is sent by reference.
pub const MAX_RING_PAYLOAD: usize = ring::MAX_RECORD - FRAME_HEADER_BYTES;

/// Bytes of payload by reference that a stream can hold at least, however small its ring.
pub const LEAST_REFERENCE_BYTES: u64 = 4 * 1024 * 1024;

/// Makes a stream and returns its two ends.
///
/// The ring has `ring_bytes`. Beside it the stream holds up to `reference_bytes` of payload by reference, or a single
/// envelope of any length.
///
/// # Errors
/// Returns an error when there is no memory for the ring.
#[inline]
pub fn stream(id: u32, ring_bytes: usize, reference_bytes: u64) -> io::Result<(SendQueue, SendWindow)> {
    stream_with(id, ring_bytes, reference_bytes, Callbacks::default())
}

/// Makes a stream of a server, as [`stream`] does. `callbacks` report panics of wakers and of the drops of bodies to
/// that server.
///
/// # Errors
/// Returns an error when there is no memory for the ring.
pub fn stream_with(
    id: u32,
    ring_bytes: usize,
    reference_bytes: u64,
    callbacks: Callbacks,
) -> io::Result<(SendQueue, SendWindow)> {
    let (producer, consumer) = ring::ring(ring_bytes)?;
    let shared = Arc::new(Shared {
        beside: AtomicU64::new(0),
        references: SegQueue::new(),
        referenced_bytes: AtomicU64::new(0),
        reference_bytes,
        droppables: SegQueue::new(),
        room: AtomicWaker::new(),
        callbacks,
        ack_requested: AtomicBool::new(false),
        counters: Arc::default(),
        buffers: Buffers::new(),
    });
    Ok((SendQueue::new(producer, shared.clone()), SendWindow::new(id, consumer, shared)))
}

/// Messages and payload bytes that went through one stream in one direction. Written by one thread, read by any.
#[derive(Debug, Default)]
pub struct Counters {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    /// Counts `messages` whose payloads have `bytes` in total. Only the stream's single writer may call this.
    #[inline]
    pub fn count(&self, messages: u64, bytes: u64) {
        // With a single writer a load and a store suffice; a locked addition is not needed.
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
        self.messages.store(self.messages.load(Ordering::Relaxed) + messages, Ordering::Release);
    }

    /// Number of messages so far.
    #[inline]
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Acquire)
    }

    /// Payload bytes so far.
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl AsRef<Counters> for Counters {
    fn as_ref(&self) -> &Counters {
        self
    }
}

/// State that the send queue and the send window share beside the ring.
struct Shared {
    /// Number of entries pushed to `references` and `droppables` together. The send window reads this first, because a
    /// look into an empty queue costs a full fence.
    beside: AtomicU64,
    /// Payloads by reference, in the order of their headers in the ring. A payload is pushed before its header is
    /// published, so a reader that sees the header finds the payload.
    references: SegQueue<Reference>,
    /// Payload bytes by reference that are not acknowledged.
    referenced_bytes: AtomicU64,
    /// Limit on `referenced_bytes`. A single envelope is always accepted.
    reference_bytes: u64,
    /// Envelopes that may be dropped, in order. Each is pushed before its frame is published.
    droppables: SegQueue<DroppableFrame>,
    /// Waker of the sender that waits for room or for a flush.
    room: AtomicWaker,
    callbacks: Callbacks,
    /// Request flag: the sender has asked for an acknowledgement, and the link has not read the request yet.
    ack_requested: AtomicBool,
    counters: Arc<Counters>,
    buffers: Arc<Buffers>,
}

impl Shared {
    /// Counts an entry that was pushed beside the ring. Called before the entry's frame is published.
    fn pushed_beside(&self) {
        // There is a single writer. Release: a reader of this count sees the pushes. The frame is published after it.
        self.beside.store(self.beside.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
}

struct DroppableFrame {
    /// Ring position of the frame's header.
    ring_at: u64,
    payload_bytes: u64,
    policy: DropPolicy,
    ticket: Option<Ticket>,
}

struct Reference {
    /// Ring position behind the frame's header.
    ring_after: u64,
    payload: OwnedBytes,
}
