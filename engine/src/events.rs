//! What a server is told about its peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;

use crate::link::{DownReason, DropReason, Pid};
use crate::wire::{RefusalReason, WireIncarnation};

/// An application that reads no events keeps this many; of more, the oldest are dropped, and counted.
const KEPT: usize = 1024;

/// Something that happened to a peer, or to the server itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The link to the peer is up.
    Up {
        /// The peer.
        pid: Pid,
        /// Drawn anew each time the peer starts.
        incarnation: WireIncarnation,
    },
    /// The link to the peer is down. What was sent to it waits, and is delivered when it comes back.
    Down {
        /// The peer.
        pid: Pid,
        /// Why.
        reason: DownReason,
    },
    /// The peer has been restarted since the link was last up: what its predecessor had not acknowledged is sent to it.
    Restarted {
        /// The peer.
        pid: Pid,
        /// Its new incarnation.
        incarnation: WireIncarnation,
    },
    /// The peer will not have us. The engine tries again, and again.
    Refused {
        /// The peer.
        pid: Pid,
        /// Why.
        reason: RefusalReason,
    },
    /// Envelopes that the outbox had taken were given up.
    Dropped {
        /// The peer.
        pid: Pid,
        /// How many since the last such event.
        count: u64,
        /// Why.
        reason: DropReason,
    },
    /// The peer was added to this server while it ran.
    Added {
        /// The peer.
        pid: Pid,
    },
    /// The peer was removed from this server. What it had not acknowledged was given up: see [`Dropped`](Event::Dropped).
    Removed {
        /// The peer.
        pid: Pid,
    },
    /// Connections cannot be accepted for now; the engine tries again.
    AcceptFailed {
        /// What the kernel says.
        error: String,
    },
}

/// Events on their way from a shard to an application.
#[derive(Debug)]
pub(crate) struct EventQueue {
    queue: ArrayQueue<Event>,
    missed: AtomicU64,
    waker: AtomicWaker,
}

impl EventQueue {
    pub(crate) fn new() -> Arc<EventQueue> {
        Arc::new(EventQueue { queue: ArrayQueue::new(KEPT), missed: AtomicU64::new(0), waker: AtomicWaker::new() })
    }

    pub(crate) fn push(&self, event: Event) {
        if self.queue.force_push(event).is_some() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        self.waker.wake();
    }

    pub(crate) fn pop(&self) -> Option<Event> {
        self.queue.pop()
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(crate) fn waker(&self) -> &AtomicWaker {
        &self.waker
    }
}
