//! Changes of membership while a server runs: peers are added, moved and removed. Partitions for tests.

use std::net::SocketAddr;

use super::Shard;
use crate::driver::{Driver, SocketId};
use crate::events::Event;
use crate::link::{Pid, State, Undelivered};
use crate::roster::LinkKey;
use crate::time::Time;
use crate::wire::GoodbyeReason;

impl<D: Driver> Shard<D> {
    pub(super) fn add_peer(&mut self, key: LinkKey, pid: Pid, addresses: Vec<SocketAddr>, now: Time) {
        let Some(node) = self.nodes.get_mut(&key.node) else { return };
        node.links.add(&node.local, key.link, pid, addresses, self.slept);
        node.events.push(Event::Added { pid }, now);
        self.mark(key);
    }

    pub(super) fn move_peer(&mut self, key: LinkKey, addresses: Vec<SocketAddr>) {
        if let Some(slot) = self.slot(key) {
            slot.move_to(addresses);
        }
    }

    /// Says goodbye to the peer, gives up its unacknowledged envelopes, and removes the link.
    pub(super) fn remove_peer(&mut self, key: LinkKey, now: Time) -> Option<Undelivered> {
        // The notices of the link cannot be taken later.
        self.tell(key, now);
        let node = self.nodes.get_mut(&key.node)?;
        node.set_starved(key.link, None, now);
        let slot = node.links.get_mut(key.link)?;
        let undelivered = slot.undelivered();
        let connections: Vec<SocketId> = slot.socket.take().into_iter().chain(node.strangers.of(key.link)).collect();
        for socket in connections {
            self.say_goodbye(socket, GoodbyeReason::Removed, now);
        }
        let node = self.nodes.get_mut(&key.node)?;
        let mut slot = node.links.remove(key.link)?;
        node.removed(key.link, slot.link, &undelivered, now);
        self.timers.cancel(&mut slot.timer);
        if slot.polled {
            self.polled.retain(|polled| *polled != key);
        }
        if slot.dirty {
            self.dirty.retain(|dirty| *dirty != key);
        }
        if slot.waits_to_dial {
            self.dials.forget(|waiting| waiting == key);
        }
        self.poll_shutdown(key.node, now);
        Some(undelivered)
    }

    /// Begins or ends a simulated partition from a peer. Both sides notice it by the silence.
    pub(super) fn set_blocked(&mut self, key: LinkKey, blocked: bool, now: Time) {
        let Some(slot) = self.slot(key) else { return };
        let healed = std::mem::replace(&mut slot.blocked, blocked) && !blocked;
        if healed && slot.link.state() == State::Up {
            // Bytes that were lost meanwhile are sent again on a new connection.
            if let Some(socket) = slot.socket {
                self.disconnected(socket, now);
            }
        }
        self.mark(key);
    }

    /// Returns the sizes of a server's tables of links. `None` if it has not started, or has stopped.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn link_sizes(&self, node: u32) -> Option<super::links::LinkSizes> {
        self.nodes.get(&node).map(|node| node.links.sizes())
    }

    pub(super) fn is_blocked(&mut self, key: LinkKey) -> bool {
        self.slot(key).is_some_and(|slot| slot.blocked)
    }
}
