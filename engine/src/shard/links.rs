//! Table of a server's links, by index and by pid, and the memory of removed peers.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::slot::LinkSlot;
use crate::link::{EarlierLink, Link, LinkAccount, Local, Pid};
use crate::roster::LinkId;

/// Links of a server. A lookup with an earlier generation of an index finds none.
pub(super) struct Links {
    /// Links by index. An empty slot was left by a peer that was removed.
    slots: Vec<Option<Placed>>,
    by_pid: HashMap<Pid, LinkId>,
    earlier: EarlierLinks,
}

/// Sizes of a server's tables of links.
#[cfg(any(test, feature = "simulation"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkSizes {
    pub(crate) places: usize,
    /// Number of slots with a link.
    pub(crate) links: usize,
    /// Number of removed peers of which state is kept.
    pub(crate) remembered: usize,
}

/// Link with its generation. It is aligned to a cache line, so that the fields that are read of an idle link occupy as
/// few lines as possible.
#[repr(C, align(64))]
struct Placed {
    generation: u32,
    slot: LinkSlot,
}

/// Memory of the peers that were removed last.
#[derive(Default)]
struct EarlierLinks {
    /// Links by pid, each with the ordinal of its peer's removal, as in [`by_age`](EarlierLinks::by_age).
    by_pid: BTreeMap<Pid, (u64, EarlierLink)>,
    by_age: BTreeMap<u64, Pid>,
    removals: u64,
    /// Largest number of greetings made for any forgotten peer.
    most_greetings: u32,
}

impl Links {
    /// Makes the first links of a server, in this order.
    pub(super) fn new(local: &Arc<Local>, peers: Vec<(Pid, Vec<SocketAddr>)>, slept: Duration) -> Links {
        let (slots, by_pid) = (Vec::with_capacity(peers.len()), HashMap::with_capacity(peers.len()));
        let mut links = Links { slots, by_pid, earlier: EarlierLinks::default() };
        for ((pid, addresses), link) in peers.into_iter().zip((0..).map(LinkId::first)) {
            links.add(local, link, pid, addresses, slept);
        }
        links
    }

    #[inline]
    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut LinkSlot> {
        let placed = self.slots.get_mut(link.index as usize)?.as_mut()?;
        (placed.generation == link.generation).then_some(&mut placed.slot)
    }

    /// Returns the link to a peer.
    pub(super) fn find(&self, pid: Pid) -> Option<LinkId> {
        self.by_pid.get(&pid).copied()
    }

    /// Returns whether a peer is configured at this address.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.slots.iter().flatten().any(|placed| placed.slot.is_at(address))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut LinkSlot> {
        self.slots.iter_mut().flatten().map(|placed| &mut placed.slot)
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = &LinkSlot> {
        self.slots.iter().flatten().map(|placed| &placed.slot)
    }

    /// Returns the ids of all links.
    pub(super) fn ids(&self) -> Vec<LinkId> {
        let slots = self.slots.iter().zip(0..);
        slots.filter_map(|(placed, index)| Some(LinkId { index, generation: placed.as_ref()?.generation })).collect()
    }

    /// Adds the link of a peer. It continues the earlier link to the same peer, if that is still remembered. `slept`:
    /// see [`LinkSlot::new`].
    pub(super) fn add(
        &mut self,
        local: &Arc<Local>,
        link: LinkId,
        pid: Pid,
        addresses: Vec<SocketAddr>,
        slept: Duration,
    ) {
        let mut slot = LinkSlot::new(local, pid, addresses, slept);
        self.earlier.prepare(&mut slot.link);
        let index = link.index as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        debug_assert!(self.slots[index].is_none(), "a place is given away when it is empty");
        self.slots[index] = Some(Placed { generation: link.generation, slot });
        self.by_pid.insert(pid, link);
    }

    /// Removes a link. The caller is to [remember](Links::remember) it.
    pub(super) fn remove(&mut self, link: LinkId) -> Option<LinkSlot> {
        self.get_mut(link)?;
        let Placed { slot, .. } = self.slots[link.index as usize].take()?;
        self.by_pid.remove(&slot.link.peer());
        Some(slot)
    }

    /// Remembers a removed link. Returns the totals of another peer, which is forgotten in its place.
    pub(super) fn remember(&mut self, link: Link) -> Option<LinkAccount> {
        self.earlier.keep(link.into_earlier()).map(|forgotten| forgotten.account())
    }

    /// Returns the totals of the links to each peer, remembered peers included. Walks the unacknowledged envelopes.
    pub(super) fn accounts(&mut self) -> Vec<LinkAccount> {
        let links = self.slots.iter_mut().flatten().map(|placed| placed.slot.link.account());
        links.chain(self.earlier.by_pid.values().map(|(_, earlier)| earlier.account())).collect()
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn sizes(&self) -> LinkSizes {
        let EarlierLinks { by_pid, by_age, .. } = &self.earlier;
        debug_assert_eq!(by_pid.len(), by_age.len());
        LinkSizes { places: self.slots.len(), links: self.slots.iter().flatten().count(), remembered: by_pid.len() }
    }
}

impl EarlierLinks {
    fn keep(&mut self, link: EarlierLink) -> Option<EarlierLink> {
        let pid = link.peer();
        self.removals += 1;
        self.by_age.insert(self.removals, pid);
        self.by_pid.insert(pid, (self.removals, link));
        if self.by_age.len() <= REMEMBERED {
            return None;
        }
        let (_, oldest) = self.by_age.pop_first()?;
        let (_, forgotten) = self.by_pid.remove(&oldest)?;
        self.most_greetings = self.most_greetings.max(forgotten.greetings());
        Some(forgotten)
    }

    fn prepare(&mut self, link: &mut Link) {
        match self.by_pid.remove(&link.peer()) {
            Some((age, earlier)) => {
                self.by_age.remove(&age);
                link.greet_after(earlier);
            }
            None => link.greet_from(self.most_greetings),
        }
    }
}

/// Number of removed peers that are remembered: those that were removed last.
///
/// A peer that is forgotten and added again is unknown. A late greeting from before its removal is believed until its
/// next greeting, no restart is reported for it, and its row in the statistics begins anew.
const REMEMBERED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::link::{DownReason, OneLink};
    use crate::session::Session;
    use crate::testing::{batch_bytes, local};
    use crate::time::Time;
    use crate::wire::{Hello, SEGMENT_HEADER_BYTES};

    fn link(index: u32, generation: u32) -> LinkId {
        LinkId { index, generation }
    }

    fn links(pids: impl IntoIterator<Item = Pid>) -> (Arc<Local>, Links) {
        let local = Arc::new(local(1));
        let links = Links::new(&local, pids.into_iter().map(|pid| (pid, Vec::new())).collect(), Duration::ZERO);
        (local, links)
    }

    /// Returns the number of the Hello with which a link greets its peer next.
    fn greet(links: &mut Links, link: LinkId) -> u32 {
        let slot = links.get_mut(link).unwrap();
        let other = Link::new(Arc::new(local(1)), slot.link.peer());
        let mut one = OneLink { link: std::mem::replace(&mut slot.link, other) };
        let (mut session, mut batch) = (Session::dialing(()), Batch::default());
        one.link.dials(Time::default());
        assert!(session.connected(&mut one, Time::default()));
        session.transmit_handshake(&mut batch);
        session.lost(DownReason::Closed, &mut one, Time::default());
        slot.link = one.link;
        let hello = batch_bytes(&batch, SEGMENT_HEADER_BYTES, batch.bytes());
        Hello::decode(&hello).unwrap().greeting
    }

    #[test]
    fn a_lookup_with_an_earlier_generation_finds_no_link() {
        let (local, mut links) = links([10, 20]);
        let removed = links.remove(link(0, 0)).unwrap();
        assert_eq!(removed.link.peer(), 10);
        assert!(links.get_mut(link(0, 0)).is_none() && links.find(10).is_none());
        links.add(&local, link(0, 1), 30, Vec::new(), Duration::ZERO);
        assert!(links.get_mut(link(0, 0)).is_none() && links.remove(link(0, 0)).is_none());
        assert_eq!(links.get_mut(link(0, 1)).unwrap().link.peer(), 30);
        assert_eq!((links.find(30), links.find(20)), (Some(link(0, 1)), Some(link(1, 0))));
        assert_eq!(links.ids(), [link(0, 1), link(1, 0)]);
        assert_eq!(links.sizes(), LinkSizes { places: 2, links: 2, remembered: 0 });
    }

    #[test]
    fn what_is_remembered_is_bounded_and_greetings_count_on() {
        let (local, mut links) = links([10]);
        assert_eq!([greet(&mut links, link(0, 0)), greet(&mut links, link(0, 0))], [1, 2]);
        let removed = links.remove(link(0, 0)).unwrap();
        assert!(links.remember(removed.link).is_none());
        let mut forgotten = Vec::new();
        for (pid, generation) in (100..5000).zip(1..) {
            links.add(&local, link(0, generation), pid, Vec::new(), Duration::ZERO);
            let removed = links.remove(link(0, generation)).unwrap();
            forgotten.extend(links.remember(removed.link).map(|account| account.pid));
        }
        assert_eq!(links.sizes(), LinkSizes { places: 1, links: 0, remembered: REMEMBERED });
        assert_eq!((forgotten[..3].to_vec(), forgotten.len()), (vec![10, 100, 101], 4901 - REMEMBERED));
        // A forgotten peer, and one that is remembered.
        for pid in [10, 4999] {
            links.add(&local, link(0, 9999), pid, Vec::new(), Duration::ZERO);
            let greeting = greet(&mut links, link(0, 9999));
            assert!(greeting > if pid == 10 { 2 } else { 0 });
            links.remove(link(0, 9999));
        }
    }
}
