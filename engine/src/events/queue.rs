//! Events on their way from a shard to an application.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atomic_waker::AtomicWaker;

use super::{Event, LinkState, PeerState};
use crate::callback::{Callback, Callbacks, caught};
use crate::link::{DropReason, Pid};
use crate::time::Time;
use crate::wire::RefusalReason;

/// Number of unread events that are kept. When more come, the oldest give way: see [`Backlog`].
const KEPT: usize = 1024;

/// Events of a server, and the state of each of its peers.
///
/// Its lock is taken when a link goes up or down, and when an event is read. Drops, of which there may be many, are
/// added to a counter of their own: see [`UntoldDrops`].
#[derive(Debug)]
pub(crate) struct EventQueue {
    backlog: Mutex<Backlog>,
    /// There is something to read. Checked without the lock.
    is_unread: AtomicBool,
    waker: AtomicWaker,
}

/// Events that the application has not read, at most [`KEPT`] and a few for each peer.
///
/// An event that gives way is kept in `newest` as long as it is the newest of its kind; a count of drops is added to
/// the next one. So a reader that fell behind learns the present state of each peer, and how many envelopes were
/// dropped.
#[derive(Debug, Default)]
struct Backlog {
    entries: VecDeque<Entry>,
    most: usize,
    /// Number of entries that have left `entries`, read or not. Entries are numbered: this is the number of the first
    /// one.
    gone: u64,
    /// The newest event of each kind among those that had to give way. All of them are older than `entries`.
    newest: BTreeMap<Topic, Entry>,
    /// The present peers alone: a peer that was removed leaves nothing behind.
    peers: BTreeMap<Pid, Peer>,
    /// Number of events that had to give way to newer ones. `missed_told` is the part of it that the reader knows of.
    missed: u64,
    missed_told: u64,
}

#[derive(Debug)]
struct Peer {
    link: LinkState,
    since: Time,
    /// The last refusal, and the number of its entry; `None`: the link has been up or down since.
    refused: Option<(RefusalReason, u64)>,
}

#[derive(Debug)]
enum Entry {
    Event(Event),
    Dropped(Arc<Drops>),
}

/// Topic of an event: a newer event of the same topic takes its place. Topics without a peer come first.
type Topic = (Option<Pid>, Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Accepting,
    Dialing,
    Panics(Callback),
    Engine,
    State,
    Reset,
    Refusal,
    Drops(DropReason),
}

/// Envelopes to one peer that were given up for one reason, not yet reported to the application.
#[derive(Debug)]
struct Drops {
    pid: Pid,
    reason: DropReason,
    /// While this is not zero, the queue has an entry for it.
    count: AtomicU64,
}

/// Counters of the drops on one link since it last went up or down, by reason. The queue holds clones of them.
#[derive(Debug, Default)]
pub(crate) struct UntoldDrops(Vec<Arc<Drops>>);

impl UntoldDrops {
    /// Counts later drops in new events, because something else has happened to the peer.
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
        })
    }

    /// Adds an event, and updates the state that `peer_state` returns.
    pub(crate) fn push(&self, event: Event, now: Time) {
        let mut backlog = self.lock();
        if backlog.look_at(&event, now) {
            self.append(backlog, Entry::Event(event));
        }
    }

    /// Reports that envelopes to a peer were given up: in one event, until it is read or something else happens to the
    /// peer.
    ///
    /// Takes the lock only for the first of them.
    pub(crate) fn dropped(&self, untold: &mut UntoldDrops, pid: Pid, count: u64, reason: DropReason) {
        let index = untold.0.iter().position(|drops| drops.reason == reason).unwrap_or_else(|| {
            untold.0.push(Arc::new(Drops { pid, reason, count: AtomicU64::new(0) }));
            untold.0.len() - 1
        });
        let drops = &untold.0[index];
        if drops.count.fetch_add(count, Ordering::AcqRel) == 0 && count > 0 {
            self.append(self.lock(), Entry::Dropped(drops.clone()));
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

    /// Calls code of the application. Panics of it become events here.
    pub(crate) fn callbacks(self: &Arc<EventQueue>) -> Callbacks {
        let events = self.clone();
        Callbacks::new(move |callback, message| events.panicked(callback, message))
    }

    /// Reports a panic of application code that the engine has called: in one event, until it is read.
    #[cold]
    pub(super) fn panicked(&self, callback: Callback, message: String) {
        let mut backlog = self.lock();
        match backlog.panics(callback) {
            Some(count) => *count += 1,
            None => self.append(backlog, Entry::Event(Event::CallbackPanicked { callback, count: 1, message })),
        }
    }

    /// The next event, if there is one.
    pub(crate) fn pop(&self) -> Option<Event> {
        // A reader registers its waker, and then looks once more: the flag is set before the waker is woken.
        if !self.is_unread.load(Ordering::Acquire) {
            return None;
        }
        let mut backlog = self.lock();
        let event = backlog.pop();
        self.is_unread.store(!backlog.is_empty(), Ordering::Release);
        event
    }

    /// Events that were dropped because nobody read them.
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

    /// Notes that the peer is dialed for the first time.
    pub(crate) fn connects(&self, pid: Pid, now: Time) {
        if let Some(peer) = self.lock().peers.get_mut(&pid).filter(|peer| peer.link == LinkState::Idle) {
            (peer.link, peer.since) = (LinkState::Connecting, now);
        }
    }

    /// State of the link to a peer. `None` if the queue does not know the peer.
    pub(crate) fn peer_state(&self, pid: Pid, now: Time) -> Option<PeerState> {
        let backlog = self.lock();
        let peer = backlog.peers.get(&pid)?;
        Some(PeerState { link: peer.link.clone(), elapsed: now.since(peer.since) })
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the number of events that are kept.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn limit(&self, most: usize) {
        self.lock().most = most;
    }

    /// Numbers of entries, of entries that gave way and are kept, and of peers.
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

    /// Removes a peer, and the events of it that were kept.
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

    /// Count of the unread event that reports these panics.
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

    /// Keeps an entry that had to give way if it may be the newest of its topic.
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
    /// Topic of an entry. `None` if no other event can take its place.
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
                Event::CallbackPanicked { callback, .. } => (None, Kind::Panics(*callback)),
                Event::Dropped { .. } | Event::Missed { .. } => return None,
            },
        })
    }
}
