//! Queue of events from a shard to an application.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use atomic_waker::AtomicWaker;

use super::{Event, LinkState, PeerState};
use crate::callback::{Callback, Callbacks, caught};
use crate::link::{DropReason, Pid};
use crate::time::Time;
use crate::wire::RefusalReason;

/// Number of unread events that are kept. Further events displace the oldest ones: see [`Backlog`].
const KEPT: usize = 1024;

/// Events of a server, and the state of each of its peers.
///
/// The lock is taken when a link goes up or down, and when an event is read. Drops can be frequent, so each link counts
/// them in counters of its own: see [`UnreportedDrops`].
#[derive(Debug)]
pub(crate) struct EventQueue {
    backlog: Mutex<Backlog>,
    /// Set while there is something to read. Checked without the lock.
    is_unread: AtomicBool,
    waker: AtomicWaker,
    watcher: OnceLock<Watcher>,
}

/// Function that is called with each event, at once, by the thread that reports it. The state of the peer is the new
/// one by then.
struct Watcher(Box<dyn Fn(&Event) + Send + Sync>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// Events that the application has not read: at most [`KEPT`], and a few for each peer.
///
/// A displaced event is kept in `newest` as long as it is the newest of its topic. A displaced count of drops is added
/// to the next count of the same topic. So a reader that fell behind still learns the present state of each peer, and
/// the number of dropped envelopes.
#[derive(Debug, Default)]
struct Backlog {
    entries: VecDeque<Entry>,
    most: usize,
    /// Number of entries that have left `entries`, read or displaced. Entries are numbered; this is the number of the
    /// first entry.
    gone: u64,
    /// The newest displaced event of each topic. All of them are older than `entries`.
    newest: BTreeMap<Topic, Entry>,
    /// Present peers only: a removed peer leaves no entry behind.
    peers: BTreeMap<Pid, Peer>,
    /// Number of displaced events that were dropped. The reader has been told of the first `missed_told` of them.
    missed: u64,
    missed_told: u64,
}

#[derive(Debug)]
struct Peer {
    link: LinkState,
    since: Time,
    /// Last refusal, and the number of its entry. `None` if there was none since the link last went up or down.
    refused: Option<(RefusalReason, u64)>,
}

#[derive(Debug)]
enum Entry {
    Event(Event),
    Dropped(Arc<Drops>),
}

/// Topic of an event. A newer event replaces a displaced one of the same topic. Topics without a peer sort first.
type Topic = (Option<Pid>, Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Accepting,
    Dialing,
    Panics(Callback),
    Engine,
    Fallback,
    State,
    Reset,
    Refusal,
    Drops(DropReason),
}

/// Dropped envelopes of one peer and reason that were not yet reported to the application.
#[derive(Debug)]
struct Drops {
    pid: Pid,
    reason: DropReason,
    /// Number of dropped envelopes. While it is not zero, the queue has an entry for it.
    count: AtomicU64,
}

/// Counters of the drops on one link since it last went up or down, by reason. The queue holds clones of them.
#[derive(Debug, Default)]
pub(crate) struct UnreportedDrops(Vec<Arc<Drops>>);

impl UnreportedDrops {
    /// Counts later drops in new events, because another event about the peer follows the earlier ones.
    pub(crate) fn begin_anew(&mut self) {
        self.0.clear();
    }
}

impl Drops {
    fn take(&self) -> u64 {
        self.count.swap(0, Ordering::AcqRel)
    }
}

impl EventQueue {
    /// Makes the queue of a server with these peers.
    pub(crate) fn new(peers: impl IntoIterator<Item = Pid>, now: Time) -> Arc<EventQueue> {
        let peers = peers.into_iter().map(|pid| (pid, Peer::new(now))).collect();
        Arc::new(EventQueue {
            backlog: Mutex::new(Backlog { peers, most: KEPT, ..Backlog::default() }),
            is_unread: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            watcher: OnceLock::new(),
        })
    }

    /// Adds an event, and updates the state that `peer_state` returns.
    pub(crate) fn push(&self, event: Event, now: Time) {
        let watched = self.watcher.get().map(|watcher| (watcher, event.clone()));
        let mut backlog = self.lock();
        if backlog.look_at(&event, now) {
            self.append(backlog, Entry::Event(event));
        } else {
            drop(backlog);
        }
        if let Some((watcher, event)) = watched {
            self.call(watcher, &event);
        }
    }

    /// Calls `watcher` with each event from now on, at once, even with those that are not kept because nobody reads
    /// them. Returns `false` if there is a watcher already.
    pub(crate) fn watch(&self, watcher: impl Fn(&Event) + Send + Sync + 'static) -> bool {
        self.watcher.set(Watcher(Box::new(watcher))).is_ok()
    }

    fn call(&self, watcher: &Watcher, event: &Event) {
        if let Err(message) = caught(|| (watcher.0)(event)) {
            self.panicked(Callback::Waker, message);
        }
    }

    /// Reports dropped envelopes of a peer. They are counted in one event, until it is read or another event about the
    /// peer comes in between.
    ///
    /// Only the first drop of an event takes the lock.
    pub(crate) fn dropped(&self, unreported: &mut UnreportedDrops, pid: Pid, count: u64, reason: DropReason) {
        let index = unreported.0.iter().position(|drops| drops.reason == reason).unwrap_or_else(|| {
            unreported.0.push(Arc::new(Drops { pid, reason, count: AtomicU64::new(0) }));
            unreported.0.len() - 1
        });
        let drops = &unreported.0[index];
        if drops.count.fetch_add(count, Ordering::AcqRel) == 0 && count > 0 {
            self.append(self.lock(), Entry::Dropped(drops.clone()));
        }
        if let Some(watcher) = self.watcher.get() {
            self.call(watcher, &Event::Dropped { pid, count, reason });
        }
    }

    fn append(&self, mut backlog: MutexGuard<'_, Backlog>, entry: Entry) {
        backlog.append(entry);
        self.is_unread.store(true, Ordering::Release);
        drop(backlog);
        if let Some(waker) = self.waker.take()
            && let Err(message) = caught(|| waker.wake())
        {
            self.panicked(Callback::Waker, message);
        }
    }

    /// Makes the callers of application code for this server. They report each panic as an event in this queue.
    pub(crate) fn callbacks(self: &Arc<EventQueue>) -> Callbacks {
        let events = self.clone();
        Callbacks::new(move |callback, message| events.panicked(callback, message))
    }

    /// Reports a panic of application code. Panics of one callback are counted in one event until it is read.
    #[cold]
    pub(super) fn panicked(&self, callback: Callback, message: String) {
        let mut backlog = self.lock();
        match backlog.panics(callback) {
            Some(count) => *count += 1,
            None => self.append(backlog, Entry::Event(Event::CallbackPanicked { callback, count: 1, message })),
        }
    }

    /// Takes the next event, if there is one.
    pub(crate) fn pop(&self) -> Option<Event> {
        // No event is missed: a reader registers its waker and then checks again, and the flag is set before the waker
        // is woken.
        if !self.is_unread.load(Ordering::Acquire) {
            return None;
        }
        let mut backlog = self.lock();
        let event = backlog.pop();
        self.is_unread.store(!backlog.is_empty(), Ordering::Release);
        event
    }

    /// Returns the total number of events that were dropped unread.
    pub(crate) fn missed(&self) -> u64 {
        self.lock().missed
    }

    pub(crate) fn waker(&self) -> &AtomicWaker {
        &self.waker
    }

    /// Adds a peer, without an event.
    pub(crate) fn meet(&self, pid: Pid, now: Time) {
        self.lock().peers.entry(pid).or_insert_with(|| Peer::new(now));
    }

    /// Removes a peer, without an event.
    pub(crate) fn part(&self, pid: Pid) {
        self.lock().forget(pid);
    }

    /// Records that the peer is dialed for the first time.
    pub(crate) fn connects(&self, pid: Pid, now: Time) {
        if let Some(peer) = self.lock().peers.get_mut(&pid).filter(|peer| peer.link == LinkState::Idle) {
            (peer.link, peer.since) = (LinkState::Connecting, now);
        }
    }

    /// Returns the state of the link to a peer. `None` if the queue does not know the peer.
    pub(crate) fn peer_state(&self, pid: Pid, now: Time) -> Option<PeerState> {
        let backlog = self.lock();
        let peer = backlog.peers.get(&pid)?;
        Some(PeerState { link: peer.link.clone(), elapsed: now.since(peer.since) })
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the number of unread events that are kept.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn limit(&self, most: usize) {
        self.lock().most = most;
    }

    /// Returns the numbers of entries, of displaced entries that are kept, and of peers.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        let backlog = self.lock();
        (backlog.entries.len(), backlog.newest.len(), backlog.peers.len())
    }
}

impl Backlog {
    /// Updates the state of a peer from an event. Returns `false` if an unread event already says the same.
    fn look_at(&mut self, event: &Event, now: Time) -> bool {
        let next = self.gone + self.entries.len() as u64;
        let (pid, link) = match event {
            Event::Added { pid } => {
                self.peers.insert(*pid, Peer::new(now));
                return true;
            }
            Event::Removed { pid } => {
                self.forget(*pid);
                return true;
            }
            Event::Refused { pid, reason } => {
                let Some(peer) = self.peers.get_mut(pid) else { return true };
                let is_told = peer.refused.is_some_and(|(last, entry)| last == *reason && entry >= self.gone);
                if !is_told {
                    peer.refused = Some((*reason, next));
                }
                return !is_told;
            }
            Event::Up { pid, incarnation } => (pid, LinkState::Up { incarnation: *incarnation }),
            Event::Down { pid, reason } => (pid, LinkState::Down { reason: reason.clone() }),
            _ => return true,
        };
        if let Some(peer) = self.peers.get_mut(pid) {
            *peer = Peer { link, since: now, refused: None };
        }
        true
    }

    /// Removes a peer, and the displaced events about it.
    fn forget(&mut self, pid: Pid) {
        self.peers.remove(&pid);
        let topics: Vec<Topic> = self
            .newest
            .range((Some(pid), Kind::Accepting)..)
            .map(|(topic, _)| *topic)
            .take_while(|(about, _)| *about == Some(pid))
            .collect();
        for topic in topics {
            self.newest.remove(&topic);
            self.missed += 1;
        }
    }

    /// Returns the count in the unread event that reports panics of this callback.
    fn panics(&mut self, wanted: Callback) -> Option<&mut u64> {
        self.newest.values_mut().chain(&mut self.entries).find_map(|entry| match entry {
            Entry::Event(Event::CallbackPanicked { callback, count, .. }) if *callback == wanted => Some(count),
            _ => None,
        })
    }

    fn append(&mut self, entry: Entry) {
        if self.entries.len() >= self.most
            && let Some(oldest) = self.entries.pop_front()
        {
            self.gone += 1;
            self.give_way(oldest);
        }
        self.entries.push_back(entry);
    }

    /// Keeps a displaced entry, if it can be the newest of its topic.
    fn give_way(&mut self, entry: Entry) {
        let topic = entry.topic();
        let Some((pid, kind)) = topic.filter(|(pid, _)| pid.is_none_or(|pid| self.peers.contains_key(&pid))) else {
            self.missed += 1;
            return;
        };
        if kind == Kind::State && self.newest.remove(&(pid, Kind::Refusal)).is_some() {
            self.missed += 1;
        }
        let newer = match &entry {
            Entry::Dropped(drops) => Some(drops.clone()),
            Entry::Event(_) => None,
        };
        match (self.newest.insert((pid, kind), entry), newer) {
            (Some(Entry::Dropped(older)), Some(newer)) => {
                newer.count.fetch_add(older.take(), Ordering::AcqRel);
            }
            (Some(_), _) => self.missed += 1,
            (None, _) => {}
        }
    }

    fn pop(&mut self) -> Option<Event> {
        if self.missed > self.missed_told {
            let count = self.missed - std::mem::replace(&mut self.missed_told, self.missed);
            return Some(Event::Missed { count });
        }
        let entry = match self.newest.pop_first() {
            Some((_, entry)) => entry,
            None => {
                let entry = self.entries.pop_front()?;
                self.gone += 1;
                entry
            }
        };
        Some(match entry {
            Entry::Event(event) => event,
            Entry::Dropped(drops) => Event::Dropped { pid: drops.pid, count: drops.take(), reason: drops.reason },
        })
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.newest.is_empty() && self.missed == self.missed_told
    }
}

impl Peer {
    fn new(now: Time) -> Peer {
        Peer { link: LinkState::Idle, since: now, refused: None }
    }
}

impl Entry {
    /// Returns the topic of an entry. `None` if no other event can replace it.
    fn topic(&self) -> Option<Topic> {
        Some(match self {
            Entry::Dropped(drops) => (Some(drops.pid), Kind::Drops(drops.reason)),
            Entry::Event(event) => match event {
                Event::Added { pid }
                | Event::Up { pid, .. }
                | Event::Down { pid, .. }
                | Event::Restarted { pid, .. }
                | Event::Removed { pid } => (Some(*pid), Kind::State),
                Event::Refused { pid, .. } => (Some(*pid), Kind::Refusal),
                Event::Reset { pid } => (Some(*pid), Kind::Reset),
                Event::AcceptFailed { .. } | Event::AcceptResumed => (None, Kind::Accepting),
                Event::DialFailed { .. } | Event::DialResumed => (None, Kind::Dialing),
                Event::EngineFailed { .. } => (None, Kind::Engine),
                Event::EpollFallback { .. } => (None, Kind::Fallback),
                Event::CallbackPanicked { callback, .. } => (None, Kind::Panics(*callback)),
                Event::Dropped { .. } | Event::Missed { .. } => return None,
            },
        })
    }
}
