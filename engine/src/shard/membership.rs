//! Peers that come, move and go while the server runs, and partitions that are made for tests.

use std::net::SocketAddr;

use super::connection::Role;
use super::mail::Undelivered;
use super::node::LinkSlot;
use super::{LinkKey, Shard};
use crate::driver::Driver;
use crate::events::Event;
use crate::link::{DownReason, Pid, State};
use crate::time::Time;
use crate::wire::GoodbyeReason;

impl<D: Driver> Shard<D> {
    pub(super) fn add_peer(&mut self, key: LinkKey, pid: Pid, addresses: Vec<SocketAddr>) {
        let Some(node) = self.nodes.get_mut(&key.node) else { return };
        debug_assert_eq!(node.links.len(), key.link as usize, "links are numbered as they come");
        let mut slot = LinkSlot::new(&node.local, pid, addresses, self.slept);
        for earlier in node.links.iter().filter(|earlier| earlier.link.peer() == pid) {
            slot.link.greet_after(&earlier.link);
        }
        node.links.push(slot);
        node.by_pid.insert(pid, key.link);
        node.events.push(Event::Added { pid });
        self.mark(key);
    }

    pub(super) fn move_peer(&mut self, key: LinkKey, addresses: Vec<SocketAddr>) {
        if let Some(slot) = self.slot(key) {
            slot.move_to(addresses);
        }
    }

    /// Says goodbye to the peer, and gives up what it has not acknowledged.
    pub(super) fn remove_peer(&mut self, key: LinkKey, now: Time) -> Option<Undelivered> {
        let mut batch = self.spare.pop().unwrap_or_default();
        let node = self.nodes.get_mut(&key.node)?;
        let slot = node.links.get_mut(key.link as usize)?;
        let undelivered = slot.undelivered();
        slot.link.close(GoodbyeReason::Removed, &mut batch);
        slot.link.give_up();
        let (socket, blocked) = (slot.socket.take(), slot.blocked);
        node.removed(key.link, &undelivered);
        if let Some(socket) = socket {
            if batch.is_empty() || blocked {
                self.disconnected(socket, now);
            } else {
                self.send_next(socket, batch);
                self.end(socket, now);
            }
        }
        self.look_at_stop(key.node, now);
        Some(undelivered)
    }

    /// Cuts the traffic with a peer as a partition of the network would: both sides find out by the silence.
    pub(super) fn set_blocked(&mut self, key: LinkKey, blocked: bool, now: Time) {
        let Some(slot) = self.slot(key) else { return };
        let healed = std::mem::replace(&mut slot.blocked, blocked) && !blocked;
        if healed && slot.link.state() == State::Up {
            // What was lost meanwhile is sent again on a new connection.
            slot.link.lost(DownReason::Closed, now);
            if let Some(socket) = slot.socket.take() {
                self.set_role(socket, Role::Ending);
                self.driver.close(socket);
            }
            self.tell(key);
        }
        self.mark(key);
    }

    pub(super) fn is_blocked(&mut self, key: LinkKey) -> bool {
        self.slot(key).is_some_and(|slot| slot.blocked)
    }
}
