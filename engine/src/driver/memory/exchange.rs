//! Where the shards of an engine find each other: who listens at which address, and a queue of letters for each.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_queue::SegQueue;

use crate::driver::{Notifier, Slice};
use crate::time::Time;

/// What the docks of an engine share.
///
/// Everything between two shards is a letter: pushed to the queue of the one that it concerns, which is notified then.
/// So a letter is found by the same rule as a command (see [`Notifier`]): the shard that wants to wait says so first, and
/// then looks at its queue once more.
#[derive(Debug)]
pub struct Exchange {
    ports: Vec<Port>,
    listeners: RwLock<HashMap<SocketAddr, Berth>>,
    numbers: AtomicU64,
}

/// A loop whose last turn ended so long ago, and that does not sleep, hangs.
const HANGS: Duration = Duration::from_millis(500);

/// A shard's queue.
#[derive(Debug)]
struct Port {
    letters: SegQueue<Letter>,
    /// Nobody reads the letters any more.
    closed: AtomicBool,
    notifier: Arc<Notifier>,
    /// The time until which the loop has sent everything that was due, and the time of that report, in nanoseconds.
    sent_until: AtomicU64,
    reported_at: AtomicU64,
}

/// A server that can be reached through memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Berth {
    /// Its shard.
    pub(super) port: u32,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// No other berth of the engine ever has the same.
    pub(super) number: NonZeroU64,
}

/// An end of a connection. It means no other end, ever: a letter to one that is closed finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) port: u32,
    pub(super) slot: u32,
    pub(super) number: NonZeroU64,
}

/// What one shard tells another, or itself.
#[derive(Debug)]
pub(super) enum Letter {
    /// Somebody dials a server here.
    Dial {
        /// Whom.
        berth: Berth,
        /// Who.
        from: Place,
    },
    /// Something concerns an end.
    To(Place, News),
}

/// Bytes and letters that an end has sent, or taken from the other end, since the connection was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) bytes: u64,
    /// Wraps around.
    pub(super) letters: u32,
}

impl Letter {
    /// Bytes of segments that it carries.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        match self {
            Letter::To(_, News::Bytes { bytes, .. }) => bytes.len(),
            _ => 0,
        }
    }
}

/// What an end is told by the other.
#[derive(Debug)]
pub(super) enum News {
    /// The dial has reached that end, or nobody.
    Answered(Option<Place>),
    /// Whole segments, and how much the sender has taken. It wants to know when these are taken, if `ask`.
    Bytes { bytes: Slice, ask: bool, taken: Taken },
    /// Bytes and letters that were taken.
    Taken(Taken),
    /// Nothing more will come.
    Finished,
    /// Nothing more will come, and nothing more is taken.
    Closed,
}

impl Exchange {
    /// An exchange for the shards that are woken by these notifiers. A shard is known by its place in the list.
    pub fn new(notifiers: impl IntoIterator<Item = Arc<Notifier>>) -> Arc<Exchange> {
        let ports = notifiers
            .into_iter()
            .map(|notifier| Port {
                letters: SegQueue::new(),
                closed: AtomicBool::new(false),
                notifier,
                sent_until: AtomicU64::new(0),
                reported_at: AtomicU64::new(0),
            })
            .collect();
        Arc::new(Exchange { ports, listeners: RwLock::default(), numbers: AtomicU64::new(0) })
    }

    /// A number that was not given before.
    pub(super) fn number(&self) -> NonZeroU64 {
        NonZeroU64::MIN.saturating_add(self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a server known that is about to listen at an address, on the shard with this place. It can be dialed from
    /// now on, and is reached when its shard has been told to [listen](crate::driver::Driver::listen).
    pub fn announce(&self, address: SocketAddr, port: usize) -> Berth {
        let berth = Berth { port: port as u32, address, number: self.number() };
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).insert(address, berth);
        berth
    }

    /// A server is not to be reached any more.
    pub(super) fn forget(&self, berth: Berth) {
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        if listeners.get(&berth.address) == Some(&berth) {
            listeners.remove(&berth.address);
        }
    }

    /// The server that listens at an address, if it lives on this engine and wants to be reached through memory.
    pub(super) fn find(&self, address: SocketAddr) -> Option<Berth> {
        self.listeners.read().unwrap_or_else(PoisonError::into_inner).get(&address).copied()
    }

    /// Puts a letter into a shard's queue, and wakes the shard if it sleeps.
    pub(super) fn post(&self, port: u32, letter: Letter) {
        if let Some(port) = self.ports.get(port as usize)
            && !port.closed.load(Ordering::Relaxed)
        {
            port.letters.push(letter);
            port.notifier.notify();
        }
    }

    /// Closes the port of a shard that is gone: its servers cannot be reached there, and letters to it are discarded.
    pub(super) fn close(&self, port: u32) {
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|_, berth| berth.port != port);
        drop(listeners);
        let Some(closing) = self.ports.get(port as usize) else { return };
        closing.closed.store(true, Ordering::Relaxed);
        while let Some(letter) = closing.letters.pop() {
            if let Letter::Dial { from, .. } = letter {
                self.post(from.port, Letter::To(from, News::Answered(None)));
            }
        }
    }

    /// A shard has sent everything that was due until then.
    pub(super) fn report_sent_until(&self, port: u32, until: Time, now: Time) {
        if let Some(port) = self.ports.get(port as usize) {
            port.sent_until.store(until.as_nanos(), Ordering::Relaxed);
            port.reported_at.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// The time until which a shard has sent everything that was due. One that sleeps has, and of one that hangs
    /// nothing is known: `now`.
    pub(super) fn peer_sent_until(&self, port: u32, now: Time) -> Time {
        let Some(port) = self.ports.get(port as usize) else { return now };
        let (until, at) = (port.sent_until.load(Ordering::Relaxed), port.reported_at.load(Ordering::Relaxed));
        if port.notifier.is_asleep() || now.since(Time::from_nanos(at)) > HANGS { now } else { Time::from_nanos(until) }
    }

    /// Letters that a shard has not read.
    pub(crate) fn letters(&self, port: u32) -> usize {
        self.ports.get(port as usize).map_or(0, |port| port.letters.len())
    }

    /// Whether there are letters for a shard.
    #[inline]
    pub(super) fn has_letters(&self, port: u32) -> bool {
        self.ports.get(port as usize).is_some_and(|port| !port.letters.is_empty())
    }

    /// The next letter. An empty queue is left alone: to be told so by its `pop` costs a full fence.
    #[inline]
    pub(super) fn next_letter(&self, port: u32) -> Option<Letter> {
        let letters = &self.ports.get(port as usize)?.letters;
        if letters.is_empty() { None } else { letters.pop() }
    }
}
