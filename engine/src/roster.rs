//! Who a server's peers are: changed by the application while outboxes look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::link::Pid;

/// A server's peers, each with the number of its link, and whether it still takes anything for them.
///
/// A number is never used again: a peer that was removed and is added again gets a new link.
#[derive(Debug)]
pub(crate) struct Roster {
    /// One word for all that can take a peer away, so that one comparison says that nothing has: it grows with every change
    /// of the peers, and has [`CLOSED`] once the server takes nothing more.
    version: AtomicU64,
    members: Mutex<Members>,
}

#[derive(Debug)]
struct Members {
    /// Sorted by pid.
    links: Vec<(Pid, u32)>,
    next_link: u32,
}

impl Roster {
    /// Peers whose links are numbered in this order, which is that of their pids.
    pub(crate) fn new(pids: impl Iterator<Item = Pid>) -> Roster {
        let links: Vec<(Pid, u32)> = pids.zip(0..).collect();
        debug_assert!(links.is_sorted());
        let next_link = links.len() as u32;
        Roster { version: AtomicU64::new(0), members: Mutex::new(Members { links, next_link }) }
    }

    /// Changes with every change of the peers, but not when the roster is closed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire) & !CLOSED
    }

    /// Whether nothing has changed since the peers were read with this version, and the roster is open.
    #[inline(always)]
    pub(crate) fn is_still(&self, version: u64) -> bool {
        self.version.load(Ordering::Acquire) == version
    }

    /// From now on [`is_still`](Roster::is_still) says no. `false`: that was so before.
    pub(crate) fn close(&self) -> bool {
        self.version.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.version.load(Ordering::Acquire) & CLOSED != 0
    }

    /// The peers by pid, and how many links there have been.
    pub(crate) fn read(&self) -> (Vec<(Pid, u32)>, usize) {
        let members = self.lock();
        (members.links.clone(), members.next_link as usize)
    }

    /// The number of a peer's link.
    pub(crate) fn link_of(&self, pid: Pid) -> Option<u32> {
        let members = self.lock();
        members.links.binary_search_by_key(&pid, |(pid, _)| *pid).ok().map(|place| members.links[place].1)
    }

    /// Whether a peer has this link.
    #[cold]
    pub(crate) fn has(&self, link: u32) -> bool {
        self.lock().links.iter().any(|(_, each)| *each == link)
    }

    /// Adds a peer, unless it is there. `announce` is told the number of its link before anybody else can use it.
    pub(crate) fn add(&self, pid: Pid, announce: impl FnOnce(u32)) -> bool {
        let mut members = self.lock();
        let Err(place) = members.links.binary_search_by_key(&pid, |(pid, _)| *pid) else { return false };
        let link = members.next_link;
        members.next_link += 1;
        members.links.insert(place, (pid, link));
        announce(link);
        self.version.fetch_add(1, Ordering::Release);
        true
    }

    /// Removes a peer. Returns the number of the link that it had.
    pub(crate) fn remove(&self, pid: Pid) -> Option<u32> {
        let mut members = self.lock();
        let place = members.links.binary_search_by_key(&pid, |(pid, _)| *pid).ok()?;
        let (_, link) = members.links.remove(place);
        self.version.fetch_add(1, Ordering::Release);
        Some(link)
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In a version: the server stops, or has stopped.
const CLOSED: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_keep_their_numbers_and_numbers_are_not_used_again() {
        let roster = Roster::new([10, 20].into_iter());
        assert!(!roster.add(20, |_| panic!("it is there")));
        assert!(roster.add(15, |link| assert_eq!(link, 2)));
        assert_eq!(roster.read(), (vec![(10, 0), (15, 2), (20, 1)], 3));
        assert_eq!((roster.remove(10), roster.remove(10)), (Some(0), None));
        assert!(roster.add(10, |link| assert_eq!(link, 3)));
        assert_eq!((roster.link_of(10), roster.link_of(11), roster.version()), (Some(3), None, 3));
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
