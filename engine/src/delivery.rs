//! Queue of an inbox: arrivals go from a shard to an application.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::callback::Callbacks;
use crate::driver::Slice;
use crate::link::{Pid, RecvShared};
use crate::roster::LinkKey;
use crate::wire::WireIncarnation;

/// Capacity of the queue between shard and application, in arrivals. Further arrivals overflow; credit bounds them.
pub(crate) const ARRIVALS: usize = 1024;

/// An arrival: the unit that a shard hands to an inbox.
pub(crate) struct Arrived {
    pub(crate) pid: Pid,
    pub(crate) link: LinkKey,
    /// Session of the link in which it arrived.
    pub(crate) session: u32,
    /// Incarnation of the peer in that session.
    pub(crate) incarnation: WireIncarnation,
    pub(crate) stream: Arc<RecvShared>,
    /// Bytes that it takes up in the window of its lane.
    pub(crate) room: u64,
    pub(crate) body: ArrivedBody,
}

/// Contents of an arrival.
pub(crate) enum ArrivedBody {
    /// The payload of a segment: frames.
    Frames(Slice),
    /// One envelope that was longer than a segment.
    Whole { id: i64, payload: Bytes },
}

#[derive(Default)]
struct Shared {
    waker: AtomicWaker,
    callbacks: Callbacks,
    overflow: Overflow,
}

/// Overflow: arrivals for which the queue had no room.
///
/// Both ends own them, because they are acknowledged and must be readable when the shard is gone.
///
/// While there are any, the shard appends to them and puts nothing into the queue, so everything in the queue came
/// before them. The application takes all of them when it finds the queue empty, so the next arrival in the queue came
/// after them.
#[derive(Default)]
struct Overflow {
    arrivals: Mutex<VecDeque<Arrived>>,
    /// Set while there are arrivals here. The shard sets it, and the application clears it, both under the lock.
    exists: AtomicBool,
}

impl Overflow {
    #[inline]
    fn exists(&self) -> bool {
        self.exists.load(Ordering::Acquire)
    }

    #[cold]
    fn push(&self, arrived: Arrived) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.push_back(arrived);
        self.exists.store(true, Ordering::Release);
    }

    #[cold]
    fn take(&self) -> VecDeque<Arrived> {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        self.exists.store(false, Ordering::Release);
        mem::take(&mut *arrivals)
    }
}

/// Makes the queue of an inbox, with room for `capacity` arrivals.
pub(crate) fn arrivals(capacity: usize, callbacks: Callbacks) -> (InboxSender, Arrivals) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let shared = Arc::new(Shared { callbacks, ..Shared::default() });
    let sender =
        InboxSender { arrivals: producer, touched: false, _last: WakeLast(shared.clone()), shared: shared.clone() };
    (sender, Arrivals { queue: consumer, overflowed: VecDeque::new(), shared })
}

/// The shard's end of an inbox.
pub(crate) struct InboxSender {
    arrivals: Producer<Arrived>,
    touched: bool,
    /// Declared after `arrivals`: the application is woken once that field is dropped, and so sees that no more
    /// arrivals come.
    _last: WakeLast,
    shared: Arc<Shared>,
}

struct WakeLast(Arc<Shared>);

impl Shared {
    fn wake(&self) {
        self.callbacks.wake(&self.waker);
    }
}

impl InboxSender {
    /// Hands over an arrival. Never fails: an arrival without room in the queue overflows.
    pub(crate) fn push(&mut self, arrived: Arrived) {
        self.touched = true;
        if self.shared.overflow.exists() {
            return self.shared.overflow.push(arrived);
        }
        if let Err(PushError::Full(arrived)) = self.arrivals.push(arrived) {
            self.shared.overflow.push(arrived);
        }
    }

    /// Wakes the application if anything came since the last call.
    pub(crate) fn wake(&mut self) {
        if mem::take(&mut self.touched) {
            self.shared.wake();
        }
    }
}

impl Drop for WakeLast {
    /// Wakes the application, which then sees that no more arrivals come.
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// The application's end of the queue.
pub(crate) struct Arrivals {
    queue: Consumer<Arrived>,
    /// Arrivals that were taken from the overflow. They came before those in the queue.
    overflowed: VecDeque<Arrived>,
    shared: Arc<Shared>,
}

impl Arrivals {
    /// Takes the next arrival, if there is one.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Arrived> {
        if !self.overflowed.is_empty() {
            return self.overflowed.pop_front();
        }
        match self.queue.pop() {
            Ok(arrived) => Some(arrived),
            Err(_) if self.shared.overflow.exists() => self.next_overflowed(),
            Err(_) => None,
        }
    }

    #[cold]
    fn next_overflowed(&mut self) -> Option<Arrived> {
        // The queue may have been filled since it was found empty. From now on, the shard puts nothing into it.
        if let Ok(arrived) = self.queue.pop() {
            return Some(arrived);
        }
        self.overflowed = self.shared.overflow.take();
        self.overflowed.pop_front()
    }

    /// Returns whether no arrival is there now.
    pub(crate) fn is_empty(&self) -> bool {
        self.overflowed.is_empty() && self.queue.is_empty() && !self.shared.overflow.exists()
    }

    /// Returns whether the shard's end is gone. The arrivals that are left are the last ones then.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_abandoned()
    }

    /// Registers `waker` to be woken when something arrives. The caller must check for arrivals once more after this
    /// call.
    pub(crate) fn register(&self, waker: &Waker) {
        self.shared.waker.register(waker);
    }
}
