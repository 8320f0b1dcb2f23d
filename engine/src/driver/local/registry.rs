//! Registry of the servers of one engine: their addresses, and a queue of messages for each shard.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_queue::SegQueue;

use crate::driver::{Notifier, Slice};
use crate::time::Time;

/// Shared part of the local transports of an engine.
///
/// Shards communicate only by messages: a message is pushed to the queue of a shard, which is then notified. No message
/// is missed, for the same reason as no command (see [`Notifier`]): a shard that is about to wait first marks itself as
/// asleep, and then checks its queue once more.
#[derive(Debug)]
pub struct LocalRegistry {
    queues: Vec<LoopQueue>,
    listeners: RwLock<HashMap<SocketAddr, LocalAddr>>,
    numbers: AtomicU64,
}

/// Time since the last turn of a loop that does not sleep, after which the loop counts as hanging.
const HANGS: Duration = Duration::from_millis(500);

/// Messages for one shard.
#[derive(Debug)]
struct LoopQueue {
    messages: SegQueue<LocalMessage>,
    /// Set if the shard is gone, and reads no more messages.
    closed: AtomicBool,
    notifier: Arc<Notifier>,
    /// Time until which the loop has sent everything that was due. `reported_at` is the time of that report. Both in
    /// nanoseconds.
    sent_until: AtomicU64,
    reported_at: AtomicU64,
}

/// Local address of a server that can be reached through memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddr {
    /// Number of the server's shard.
    pub(super) shard: u32,
    /// Address at which the server listens.
    pub(super) address: SocketAddr,
    /// Number of the address, unique in the life of the engine.
    pub(super) number: NonZeroU64,
}

/// Identity of an endpoint. It is never reused, so a message to a closed endpoint reaches no other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndpointId {
    pub(super) shard: u32,
    pub(super) slot: u32,
    pub(super) number: NonZeroU64,
}

/// A message from one shard to another, or to itself.
#[derive(Debug)]
pub(super) enum LocalMessage {
    /// An endpoint dials a server.
    Dial {
        /// The server.
        addr: LocalAddr,
        /// The endpoint that dials.
        from: EndpointId,
    },
    /// An event for an endpoint.
    To(EndpointId, EndpointEvent),
}

/// Bytes and messages that an endpoint has sent to its peer, or taken from it, since the connection was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Transferred {
    pub(super) bytes: u64,
    /// Number of messages, which wraps around.
    pub(super) messages: u32,
}

impl LocalMessage {
    /// Number of bytes of segments in the message.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        match self {
            LocalMessage::To(_, EndpointEvent::Bytes { bytes, .. }) => bytes.len(),
            _ => 0,
        }
    }
}

/// An event for an endpoint, sent by its peer.
#[derive(Debug)]
pub(super) enum EndpointEvent {
    /// The dial was accepted by this endpoint, or refused (`None`).
    Answered(Option<EndpointId>),
    /// Whole segments, and the bytes and messages that the sender has taken. If `ask` is set, the receiver reports its
    /// own progress at once.
    Bytes { bytes: Slice, ask: bool, taken: Transferred },
    /// The bytes and messages that the peer has taken.
    Transferred(Transferred),
    /// The peer sends no more.
    Finished,
    /// The peer sends no more, and takes no more.
    Closed,
}

impl LocalRegistry {
    /// Makes a registry for the shards that these notifiers wake. A shard is numbered by its place in the list.
    pub fn new(notifiers: impl IntoIterator<Item = Arc<Notifier>>) -> Arc<LocalRegistry> {
        let queues = notifiers
            .into_iter()
            .map(|notifier| LoopQueue {
                messages: SegQueue::new(),
                closed: AtomicBool::new(false),
                notifier,
                sent_until: AtomicU64::new(0),
                reported_at: AtomicU64::new(0),
            })
            .collect();
        Arc::new(LocalRegistry { queues, listeners: RwLock::default(), numbers: AtomicU64::new(0) })
    }

    /// Returns a number that was not returned before.
    pub(super) fn number(&self) -> NonZeroU64 {
        NonZeroU64::MIN.saturating_add(self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// Registers a server that is about to listen at `address`, on the shard with number `shard`. The server can be
    /// dialed from now on; the dial is answered after [`listen`](crate::driver::Driver::listen).
    pub fn announce(&self, address: SocketAddr, shard: usize) -> LocalAddr {
        let addr = LocalAddr { shard: shard as u32, address, number: self.number() };
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).insert(address, addr);
        addr
    }

    /// Removes the registration of a server.
    pub(super) fn forget(&self, addr: LocalAddr) {
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        if listeners.get(&addr.address) == Some(&addr) {
            listeners.remove(&addr.address);
        }
    }

    /// Finds the server that listens at an address, if it belongs to this engine and is reachable through memory.
    pub(super) fn find(&self, address: SocketAddr) -> Option<LocalAddr> {
        self.listeners.read().unwrap_or_else(PoisonError::into_inner).get(&address).copied()
    }

    /// Sends a message to a shard, and wakes the shard if it sleeps. Discards the message if the shard is gone.
    pub(super) fn post(&self, shard: u32, message: LocalMessage) {
        if let Some(queue) = self.queues.get(shard as usize)
            && !queue.closed.load(Ordering::Relaxed)
        {
            queue.messages.push(message);
            queue.notifier.notify();
        }
    }

    /// Closes the queue of a shard that is gone. Removes its servers, refuses the dials in the queue, and discards all
    /// other messages.
    pub(super) fn close(&self, shard: u32) {
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|_, addr| addr.shard != shard);
        drop(listeners);
        let Some(closing) = self.queues.get(shard as usize) else { return };
        closing.closed.store(true, Ordering::Relaxed);
        while let Some(message) = closing.messages.pop() {
            if let LocalMessage::Dial { from, .. } = message {
                self.post(from.shard, LocalMessage::To(from, EndpointEvent::Answered(None)));
            }
        }
    }

    /// Records at `now` that a shard has sent everything that was due until `until`.
    pub(super) fn report_sent_until(&self, shard: u32, until: Time, now: Time) {
        if let Some(queue) = self.queues.get(shard as usize) {
            queue.sent_until.store(until.as_nanos(), Ordering::Relaxed);
            queue.reported_at.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// Returns the time until which a shard has sent everything that was due. Returns `now` if the shard sleeps, and so
    /// has sent everything, or hangs, and so reports nothing.
    pub(super) fn peer_sent_until(&self, shard: u32, now: Time) -> Time {
        let Some(queue) = self.queues.get(shard as usize) else { return now };
        let (until, at) = (queue.sent_until.load(Ordering::Relaxed), queue.reported_at.load(Ordering::Relaxed));
        if queue.notifier.is_asleep() || now.since(Time::from_nanos(at)) > HANGS {
            now
        } else {
            Time::from_nanos(until)
        }
    }

    /// Number of messages that a shard has not read.
    pub(crate) fn messages(&self, shard: u32) -> usize {
        self.queues.get(shard as usize).map_or(0, |queue| queue.messages.len())
    }

    /// Returns whether there are messages for a shard.
    #[inline]
    pub(super) fn has_messages(&self, shard: u32) -> bool {
        self.queues.get(shard as usize).is_some_and(|queue| !queue.messages.is_empty())
    }

    /// Takes the next message for a shard. Does not call `pop` on an empty queue, which would cost a full fence.
    #[inline]
    pub(super) fn next_message(&self, shard: u32) -> Option<LocalMessage> {
        let messages = &self.queues.get(shard as usize)?.messages;
        if messages.is_empty() { None } else { messages.pop() }
    }
}
