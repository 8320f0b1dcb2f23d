//! A server's links, by place and by pid, and what is remembered of those that are gone.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::node::LinkSlot;
use crate::link::{EarlierLink, Link, Local, Pid};
use crate::roster::LinkId;
use crate::stats::LinkAccount;

/// The links of a server. Whoever names one of an earlier generation finds nobody.
pub(super) struct Links {
    /// By place. What is empty was left by a peer that was removed.
    slots: Vec<Option<Placed>>,
    by_pid: HashMap<Pid, LinkId>,
    /// What is remembered of peers that were removed.
    earlier: BTreeMap<Pid, EarlierLink>,
}

/// How much there is of what a server keeps for its links.
#[cfg(any(test, feature = "simulation"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkSizes {
    pub(crate) places: usize,
    /// Places with a link.
    pub(crate) links: usize,
    /// Peers that were removed and of whom something is kept.
    pub(crate) remembered: usize,
}

struct Placed {
    generation: u32,
    slot: LinkSlot,
}

impl Links {
    /// The first links of a server, in this order.
    pub(super) fn new(local: &Arc<Local>, peers: Vec<(Pid, Vec<SocketAddr>)>) -> Links {
        let (slots, by_pid) = (Vec::with_capacity(peers.len()), HashMap::with_capacity(peers.len()));
        let mut links = Links { slots, by_pid, earlier: BTreeMap::new() };
        for ((pid, addresses), link) in peers.into_iter().zip((0..).map(LinkId::first)) {
            links.add(local, link, pid, addresses);
        }
        links
    }

    #[inline]
    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut LinkSlot> {
        let placed = self.slots.get_mut(link.index as usize)?.as_mut()?;
        (placed.generation == link.generation).then_some(&mut placed.slot)
    }

    /// The link to a peer.
    pub(super) fn find(&self, pid: Pid) -> Option<LinkId> {
        self.by_pid.get(&pid).copied()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut LinkSlot> {
        self.slots.iter_mut().flatten().map(|placed| &mut placed.slot)
    }

    /// All links that are there.
    pub(super) fn ids(&self) -> Vec<LinkId> {
        let slots = self.slots.iter().zip(0..);
        slots.filter_map(|(placed, index)| Some(LinkId { index, generation: placed.as_ref()?.generation })).collect()
    }

    /// A peer gets this link. It goes on where the one before has stopped.
    pub(super) fn add(&mut self, local: &Arc<Local>, link: LinkId, pid: Pid, addresses: Vec<SocketAddr>) {
        let mut slot = LinkSlot::new(local, pid, addresses);
        if let Some(earlier) = self.earlier.remove(&pid) {
            slot.link.greet_after(earlier);
        }
        let index = link.index as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        debug_assert!(self.slots[index].is_none(), "a place is given away when it is empty");
        self.slots[index] = Some(Placed { generation: link.generation, slot });
        self.by_pid.insert(pid, link);
    }

    /// Takes a link out. What it has to leave behind is to be [remembered](Links::remember).
    pub(super) fn remove(&mut self, link: LinkId) -> Option<LinkSlot> {
        self.get_mut(link)?;
        let Placed { slot, .. } = self.slots[link.index as usize].take()?;
        self.by_pid.remove(&slot.link.peer());
        Some(slot)
    }

    /// Remembers a link that was taken out.
    pub(super) fn remember(&mut self, link: Link) {
        self.earlier.insert(link.peer(), link.into_earlier());
    }

    /// How the links to each peer stand, also to those that are remembered. Walks what is not acknowledged.
    pub(super) fn accounts(&mut self) -> Vec<LinkAccount> {
        let links = self.slots.iter_mut().flatten().map(|placed| placed.slot.link.account());
        links.chain(self.earlier.values().map(EarlierLink::account)).collect()
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn sizes(&self) -> LinkSizes {
        LinkSizes {
            places: self.slots.len(),
            links: self.slots.iter().flatten().count(),
            remembered: self.earlier.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::local;

    fn link(index: u32, generation: u32) -> LinkId {
        LinkId { index, generation }
    }

    fn links(pids: impl IntoIterator<Item = Pid>) -> (Arc<Local>, Links) {
        let local = Arc::new(local(1));
        let links = Links::new(&local, pids.into_iter().map(|pid| (pid, Vec::new())).collect());
        (local, links)
    }

    #[test]
    fn who_names_an_earlier_generation_finds_nobody() {
        let (local, mut links) = links([10, 20]);
        let removed = links.remove(link(0, 0)).unwrap();
        assert_eq!(removed.link.peer(), 10);
        assert!(links.get_mut(link(0, 0)).is_none() && links.find(10).is_none());
        links.add(&local, link(0, 1), 30, Vec::new());
        assert!(links.get_mut(link(0, 0)).is_none() && links.remove(link(0, 0)).is_none());
        assert_eq!(links.get_mut(link(0, 1)).unwrap().link.peer(), 30);
        assert_eq!((links.find(30), links.find(20)), (Some(link(0, 1)), Some(link(1, 0))));
        assert_eq!(links.ids(), [link(0, 1), link(1, 0)]);
        assert_eq!(links.sizes(), LinkSizes { places: 2, links: 2, remembered: 0 });
    }

    #[test]
    fn greetings_count_on_where_the_earlier_link_has_stopped() {
        let (local, mut links) = links([10]);
        let greet = |slot: &mut LinkSlot| slot.link.connected(crate::time::Time::default()).greeting;
        assert_eq!(greet(links.get_mut(link(0, 0)).unwrap()), 1);
        let removed = links.remove(link(0, 0)).unwrap();
        links.remember(removed.link);
        assert_eq!(links.sizes(), LinkSizes { places: 1, links: 0, remembered: 1 });
        links.add(&local, link(0, 1), 10, Vec::new());
        assert_eq!(greet(links.get_mut(link(0, 1)).unwrap()), 2);
        assert_eq!(links.sizes(), LinkSizes { places: 1, links: 1, remembered: 0 });
    }
}
