//! Peers of a server. The application changes them while outboxes read them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::link::Pid;
use crate::wire::WireIncarnation;

/// Id of a link of a server: its slot in the server's tables, and its generation, which counts the links in that slot.
///
/// Slots are reused. The id of an earlier link in a slot matches no link any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl LinkId {
    /// Makes the id of the first link in a slot.
    pub(crate) fn first(index: u32) -> LinkId {
        LinkId { index, generation: 0 }
    }
}

/// Id of a link in its shard: the server's number on the shard, and the link's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkKey {
    pub(crate) node: u32,
    pub(crate) link: LinkId,
}

/// Peers of a server with their links, and whether the server still accepts envelopes.
#[derive(Debug)]
pub(crate) struct Roster {
    /// One word that changes with everything that can stop an envelope, so that one comparison shows that nothing has.
    /// It grows by one with every change of the peers or their limits, and contains [`CLOSED`] once the server accepts
    /// nothing more.
    version: AtomicU64,
    members: Mutex<Members>,
}

#[derive(Debug)]
struct Members {
    links: BTreeMap<Pid, LinkId>,
    /// By slot: the generation of the link that has the slot, or that gets it next.
    generations: Vec<u32>,
    /// Slots whose last link the loop has released.
    free: Vec<u32>,
    /// Limits, in payload bytes, of the peers that are known to accept less than this server sends.
    limits: HashMap<LinkId, u64>,
    /// Incarnations of the peers whose links have been up.
    incarnations: HashMap<LinkId, WireIncarnation>,
    /// Lowest limit, in payload bytes, that any peer has ever had.
    least_limit: u64,
    /// Latest changes, the oldest first. The last one made the present version.
    changes: VecDeque<Change>,
}

/// One change of the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A peer was added, with this link.
    Added(Pid, LinkId),
    /// A peer was removed, with this link.
    Removed(Pid, LinkId),
    /// The limit of the peer with this link has changed.
    Limited(LinkId),
}

/// Sizes of a roster's tables.
#[cfg(any(test, feature = "simulation"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RosterSizes {
    pub(crate) peers: usize,
    /// Slots for links, taken or free.
    pub(crate) places: usize,
}

impl Roster {
    /// Makes a roster of these peers. Their links are numbered in the order of `pids`, which is ascending.
    pub(crate) fn new(pids: impl Iterator<Item = Pid>) -> Roster {
        let links: BTreeMap<Pid, LinkId> = pids.zip((0..).map(LinkId::first)).collect();
        let generations = vec![0; links.len()];
        let members = Members {
            links,
            generations,
            free: Vec::new(),
            limits: HashMap::new(),
            incarnations: HashMap::new(),
            least_limit: u64::MAX,
            changes: VecDeque::new(),
        };
        Roster { version: AtomicU64::new(0), members: Mutex::new(members) }
    }

    /// Returns the version. It changes with every change of the peers or their limits, but not when the roster is
    /// closed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire) & !CLOSED
    }

    /// Returns whether the peers and limits are those of this version, and the roster is open.
    #[inline(always)]
    pub(crate) fn is_still(&self, version: u64) -> bool {
        self.version.load(Ordering::Acquire) == version
    }

    /// Closes the roster, so that [`is_still`](Roster::is_still) returns `false` from now on. Returns `false` if it was
    /// closed before.
    pub(crate) fn close(&self) -> bool {
        self.version.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0
    }

    /// Returns whether the roster was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.version.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Returns the version, and the peers of this version by pid.
    pub(crate) fn read(&self) -> (u64, Vec<(Pid, LinkId)>) {
        let members = self.lock();
        (self.version(), members.links.iter().map(|(pid, link)| (*pid, *link)).collect())
    }

    /// Returns the present version and the changes that led to it from `version`, the oldest first. `None` if there
    /// were more changes than are kept: the caller has to read all peers.
    pub(crate) fn changes_since(&self, version: u64) -> Option<(u64, Vec<Change>)> {
        let members = self.lock();
        let now = self.version();
        let first = members.changes.len().checked_sub(usize::try_from(now - version).ok()?)?;
        Some((now, members.changes.range(first..).copied().collect()))
    }

    /// Returns the link of a peer.
    pub(crate) fn link_of(&self, pid: Pid) -> Option<LinkId> {
        self.lock().links.get(&pid).copied()
    }

    /// Returns whether a peer has this link.
    #[cold]
    pub(crate) fn has(&self, link: LinkId) -> bool {
        self.lock().generations.get(link.index as usize) == Some(&link.generation)
    }

    /// Adds a peer. Returns `false` if it was there already. `announce` gets its link before any other code can use it.
    pub(crate) fn add(&self, pid: Pid, announce: impl FnOnce(LinkId)) -> bool {
        let mut members = self.lock();
        if members.links.contains_key(&pid) {
            return false;
        }
        let index = members.free.pop().unwrap_or_else(|| {
            members.generations.push(0);
            members.generations.len() as u32 - 1
        });
        let link = LinkId { index, generation: members.generations[index as usize] };
        members.links.insert(pid, link);
        announce(link);
        self.changed(&mut members, Change::Added(pid, link));
        true
    }

    /// Removes a peer. Returns its link, whose slot is not reused before it is [released](Roster::release).
    pub(crate) fn remove(&self, pid: Pid) -> Option<LinkId> {
        let mut members = self.lock();
        let link = members.links.remove(&pid)?;
        members.generations[link.index as usize] = link.generation.wrapping_add(1);
        members.limits.remove(&link);
        members.incarnations.remove(&link);
        self.changed(&mut members, Change::Removed(pid, link));
        Some(link)
    }

    /// Sets the payload bytes that the peer with this link accepts. `None` if it accepts as many as this server sends.
    pub(crate) fn set_limit(&self, link: LinkId, limit: Option<u64>) {
        let mut members = self.lock();
        if members.generations.get(link.index as usize) != Some(&link.generation) {
            return;
        }
        let before = match limit {
            Some(limit) => members.limits.insert(link, limit),
            None => members.limits.remove(&link),
        };
        if before != limit {
            members.least_limit = members.least_limit.min(limit.unwrap_or(u64::MAX));
            self.changed(&mut members, Change::Limited(link));
        }
    }

    /// Returns the payload bytes that the peer with this link accepts, if they are known to be less than this server
    /// sends.
    #[cold]
    pub(crate) fn limit_of(&self, link: LinkId) -> Option<u64> {
        self.lock().limits.get(&link).copied()
    }

    /// Sets the incarnation of the peer with this link. It makes no new version: outboxes ask for the incarnation when
    /// they need it.
    pub(crate) fn set_incarnation(&self, link: LinkId, incarnation: WireIncarnation) {
        let mut members = self.lock();
        if members.generations.get(link.index as usize) == Some(&link.generation) {
            members.incarnations.insert(link, incarnation);
        }
    }

    /// Returns the incarnation that the peer with this link had when the link was last up.
    pub(crate) fn incarnation_of(&self, link: LinkId) -> Option<WireIncarnation> {
        self.lock().incarnations.get(&link).copied()
    }

    /// Returns the payload bytes that every peer accepts, as far as is known.
    pub(crate) fn least_limit(&self) -> u64 {
        self.lock().least_limit
    }

    /// Releases the slot of a removed peer's link, once the loop has dropped the link. Another link may get the slot.
    pub(crate) fn release(&self, link: LinkId) {
        // After the last generation, the slot stays unused for ever.
        if link.generation != u32::MAX {
            self.lock().free.push(link.index);
        }
    }

    /// Returns the sizes of the roster's tables.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn sizes(&self) -> RosterSizes {
        let members = self.lock();
        RosterSizes { peers: members.links.len(), places: members.generations.len() }
    }

    /// Records a change, and makes the next version.
    fn changed(&self, members: &mut Members, change: Change) {
        if members.changes.len() == KEPT_CHANGES {
            members.changes.pop_front();
        }
        members.changes.push_back(change);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bit of a version: the server is stopping, or has stopped.
const CLOSED: u64 = 1 << 63;

/// Number of changes that are kept, in at most 8 KiB. An outbox that missed more than these reads all peers.
const KEPT_CHANGES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, generation: u32) -> LinkId {
        LinkId { index, generation }
    }

    #[test]
    fn a_place_is_used_again_by_the_next_generation_once_it_is_released() {
        let roster = Roster::new([10, 20].into_iter());
        assert!(!roster.add(20, |_| panic!("it is there")));
        assert!(roster.add(15, |added| assert_eq!(added, link(2, 0))));
        assert_eq!(roster.read(), (1, vec![(10, link(0, 0)), (15, link(2, 0)), (20, link(1, 0))]));
        assert_eq!((roster.remove(10), roster.remove(10)), (Some(link(0, 0)), None));
        assert!(!roster.has(link(0, 0)) && roster.has(link(1, 0)) && !roster.has(link(3, 0)));
        assert!(roster.add(10, |added| assert_eq!(added, link(3, 0), "the loop has not let go of the other")));
        roster.release(link(0, 0));
        assert!(roster.add(30, |added| assert_eq!(added, link(0, 1))));
        assert!(roster.has(link(0, 1)) && !roster.has(link(0, 0)));
        assert_eq!((roster.link_of(30), roster.link_of(11), roster.version()), (Some(link(0, 1)), None, 4));
    }

    #[test]
    fn changes_are_known_to_a_reader_that_is_not_too_far_behind() {
        let roster = Roster::new([10, 20].into_iter());
        assert_eq!(roster.changes_since(0), Some((0, Vec::new())));
        roster.remove(10);
        roster.add(15, |_| ());
        let removed = Change::Removed(10, link(0, 0));
        let added = Change::Added(15, link(2, 0));
        assert_eq!(roster.changes_since(0), Some((2, vec![removed, added])));
        assert_eq!(roster.changes_since(1), Some((2, vec![added])));
        roster.close();
        assert_eq!(roster.changes_since(2), Some((2, Vec::new())), "its peers are the same");
        for pid in 1..KEPT_CHANGES as Pid {
            roster.add(1000 + pid, |_| ());
        }
        assert_eq!(roster.changes_since(0), None);
        assert_eq!(roster.changes_since(1).unwrap().1.len(), KEPT_CHANGES);
    }

    #[test]
    fn ten_thousand_changes_take_no_more_places_than_there_are_links_at_once() {
        let roster = Roster::new(1..=3);
        for pid in 4..10_000 {
            roster.add(pid, |_| ());
            let removed = roster.remove(pid - 3).unwrap();
            roster.release(removed);
        }
        assert_eq!(roster.sizes(), RosterSizes { peers: 3, places: 4 });
    }

    #[test]
    fn what_has_changed_or_is_closed_is_not_still() {
        let roster = Roster::new([10, 20].into_iter());
        let before = roster.version();
        assert!(roster.is_still(before));
        roster.remove(10);
        assert!(!roster.is_still(before) && roster.is_still(roster.version()));
        assert_eq!(
            (roster.is_closed(), roster.close(), roster.close(), roster.is_closed()),
            (false, true, false, true)
        );
        assert!(!roster.is_still(roster.version()), "nothing more is taken");
        assert_eq!(roster.version(), before + 1, "its peers are the same");
    }
}
