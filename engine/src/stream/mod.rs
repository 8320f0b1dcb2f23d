//! An outgoing stream: the bytes that one outbox sends to one peer on one lane.
//!
//! A stream is an SPSC ring of bytes and the positions in it. The application writes at its [`SendQueue`], the link
//! sends from its [`SendWindow`]. Bytes stay in the ring until the peer has acknowledged them, so that the ring is queue,
//! send buffer and retransmit window at once.
//!
//! An envelope longer than [`MAX_RING_PAYLOAD`] travels by reference: its frame header stands in the ring, its `Bytes`
//! in a queue beside it, and nothing is copied. Its payload counts in the stream's positions but takes no room in the
//! ring, so **stream position = ring position + the payload bytes by reference before it**.

mod buffers;
mod droppable;
mod send_queue;
mod send_window;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use atomic_waker::AtomicWaker;
use crossbeam_queue::SegQueue;

use crate::callback::{Callbacks, OwnedBytes};
use crate::ring;
use crate::wire::FRAME_HEADER_BYTES;

pub use crate::wire::{Lane, lane_of, stream_id};
pub(crate) use buffers::{Buffer, Buffers};
pub use droppable::{DropPolicy, Dropped};
pub use send_queue::{Full, SendQueue};
pub use send_window::{AckError, Extent, SendWindow, Taken};

/// The longest payload that is copied into the ring; a longer one travels by reference.
pub const MAX_RING_PAYLOAD: usize = ring::MAX_RECORD - FRAME_HEADER_BYTES;

/// A stream holds at least this much payload by reference, however small its ring.
pub const LEAST_REFERENCE_BYTES: u64 = 4 * 1024 * 1024;

/// Makes a stream whose ring has `ring_bytes` and which holds up to `reference_bytes` of payload by reference, or one
/// envelope, whichever is more.
///
/// # Errors
/// When there is no memory for the ring.
pub fn stream(id: u32, ring_bytes: usize, reference_bytes: u64) -> io::Result<(SendQueue, SendWindow)> {
    stream_with(id, ring_bytes, reference_bytes, Callbacks::default())
}

/// Makes a stream of a server: `callbacks` tell it of wakers and bodies that panic.
pub(crate) fn stream_with(
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

/// Messages and payload bytes that went through one stream, in one direction. Written by one thread, read by any.
#[derive(Debug, Default)]
pub struct Counters {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    /// Counts `messages` with `bytes` of payload together. Only the stream's one writer may call this.
    #[inline]
    pub(crate) fn count(&self, messages: u64, bytes: u64) {
        // A load and a store, not a locked addition: there is one writer.
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
        self.messages.store(self.messages.load(Ordering::Relaxed) + messages, Ordering::Release);
    }

    /// Messages so far.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Acquire)
    }

    /// Payload bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl AsRef<Counters> for Counters {
    fn as_ref(&self) -> &Counters {
        self
    }
}

/// The part that the send queue and the send window share beside the ring.
struct Shared {
    /// Entries that were pushed to `references` and `droppables` together. The send window looks at this first: an empty
    /// queue costs it a full fence.
    beside: AtomicU64,
    /// Payloads by reference, in the order of their headers in the ring. Pushed before the header is published, so that
    /// whoever sees the header finds the payload.
    references: SegQueue<Reference>,
    /// Payload bytes by reference that are not acknowledged.
    referenced_bytes: AtomicU64,
    /// The limit on `referenced_bytes`; one envelope is always let in.
    reference_bytes: u64,
    /// Envelopes that may be dropped, in order. Pushed before their frames are published.
    droppables: SegQueue<DroppableFrame>,
    /// The sender that waits for room.
    room: AtomicWaker,
    callbacks: Callbacks,
    /// The sender has asked for an acknowledgement, and the link has not looked.
    ack_requested: AtomicBool,
    counters: Arc<Counters>,
    buffers: Arc<Buffers>,
}

impl Shared {
    /// Counts an entry that was pushed beside the ring, before its frame is published.
    fn pushed_beside(&self) {
        // There is one writer. Release: the pushes are seen by whoever sees this, and the frame is published after it.
        self.beside.store(self.beside.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
}

struct DroppableFrame {
    /// Ring position of the frame's header.
    ring_at: u64,
    payload_bytes: u64,
    policy: DropPolicy,
}

struct Reference {
    /// Ring position behind the frame's header.
    ring_after: u64,
    payload: OwnedBytes,
}
