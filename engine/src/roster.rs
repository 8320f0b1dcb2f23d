//! Who a server's peers are: changed by the application while outboxes look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::link::Pid;

/// A server's peers, each with the number of its link.
///
/// A number is never used again: a peer that was removed and is added again gets a new link.
#[derive(Debug)]
pub(crate) struct Roster {
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

    /// Changes with every change of the peers.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
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
}
