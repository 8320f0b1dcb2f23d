//! Stop of a server: it drains, says goodbye, closes its connections, and reports.

use super::Shard;
use super::node::Node;
use crate::batch::Batch;
use crate::driver::{Driver, SocketId};
use crate::link::{LinkAccount, Undelivered};
use crate::time::Time;
use crate::wire::GoodbyeReason;

impl<D: Driver> Shard<D> {
    pub(super) fn stop_expired(&mut self, node: u32, now: Time) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.stop_timer = None;
        }
        self.poll_shutdown(node, now);
    }

    /// Takes a stop to its next step: drain, say goodbye, close, report.
    pub(super) fn poll_shutdown(&mut self, id: u32, now: Time) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(stopping) = &mut node.stopping else { return };
        if !stopping.leaving {
            if now < stopping.deadline && node.links.iter_mut().any(|slot| slot.link.is_draining()) {
                return;
            }
            stopping.leaving = true;
            self.leave(id, now);
        }
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.open_sockets > 0 {
            return;
        }
        if let Some(mut node) = self.nodes.remove(&id)
            && let Some(mut stopping) = node.stopping.take()
            && let Some(report) = stopping.report.take()
        {
            // Counted last: a send that had begun before the stop has written its envelope by now.
            let undelivered = node.undelivered();
            node.account_for(&undelivered);
            self.forget_waits(id, &mut node);
            // The requester of the stop may have gone away without waiting.
            let _ = report.send(undelivered);
        }
    }

    /// Returns the envelopes that a server has not delivered so far, by peer. `None` if the server is gone.
    pub(crate) fn undelivered(&mut self, id: u32) -> Option<Vec<Undelivered>> {
        self.nodes.get_mut(&id).map(Node::undelivered)
    }

    /// Removes a server that is gone from all queues and timers.
    fn forget_waits(&mut self, id: u32, node: &mut Node) {
        self.dials.forget(|key| key.node == id);
        self.dirty.retain(|key| key.node != id);
        self.polled.retain(|key| key.node != id);
        self.timers.cancel(&mut node.stop_timer);
        self.timers.cancel(&mut node.listener_timer);
        self.timers.cancel(&mut node.strangers.timer);
        for link in node.links.ids() {
            if let Some(slot) = node.links.get_mut(link) {
                self.timers.cancel(&mut slot.timer);
            }
        }
    }

    /// Returns the totals of the links to each peer. Empty once the server says goodbye.
    pub(crate) fn account(&mut self, id: u32) -> Vec<LinkAccount> {
        match self.nodes.get_mut(&id) {
            Some(node) if !node.stopping.as_ref().is_some_and(|stopping| stopping.leaving) => node.links.accounts(),
            _ => Vec::new(),
        }
    }

    /// Says goodbye on every connection of the server, and ends it.
    fn leave(&mut self, id: u32, now: Time) {
        for index in 0..self.connections.len() {
            let of_node = self.connections[index].as_ref().filter(|connection| connection.node == id);
            if of_node.is_some_and(|connection| !connection.session.is_ended()) {
                self.say_goodbye(SocketId(index as u32), GoodbyeReason::Stopped, now);
            }
        }
        // Links without a connection.
        let Some(node) = self.nodes.get_mut(&id) else { return };
        for slot in node.links.iter_mut() {
            slot.link.close(GoodbyeReason::Stopped, &mut Batch::default());
        }
    }

    /// Ends the session of a connection for good, and the connection once the peer, if there is one, was told.
    pub(super) fn say_goodbye(&mut self, socket: SocketId, reason: GoodbyeReason, now: Time) {
        let key = self.connection(socket).and_then(|connection| connection.session.key());
        let mut batch = self.spare.pop().unwrap_or_default();
        self.with_session(socket, |session, links| session.close(reason, links, now, &mut batch));
        if let Some(slot) = key.and_then(|key| self.slot(key))
            && slot.socket == Some(socket)
        {
            slot.socket = None;
        }
        if batch.is_empty() || key.is_some_and(|key| self.is_blocked(key)) {
            batch.clear();
            self.spare.push(batch);
            self.disconnected(socket, now);
        } else {
            self.send_next(socket, batch);
            self.end(socket, now);
        }
    }
}
