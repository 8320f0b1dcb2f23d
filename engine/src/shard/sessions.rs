//! Sessions of a shard: their phases, and what these mean to links and servers.

use std::sync::Arc;
use std::time::Duration;

use super::Shard;
use super::connection::Connection;
use super::deadlines::OVERDUE;
use super::node::Node;
use super::timers::Timer;
use crate::batch::Batch;
use crate::driver::{Driver, SocketId};
use crate::link::{DownReason, Link, Links, Local, Pid};
use crate::roster::LinkKey;
use crate::session::{Session, SessionEvent};
use crate::time::Time;

/// Time that a connection which was ended waits for the other side to close it too, so that its last segments arrive.
const LINGER: Duration = Duration::from_millis(20);

/// Links of a server, for its sessions.
pub(super) struct NodeLinks<'a> {
    pub(super) node: &'a mut Node,
    pub(super) id: u32,
    /// Shard's [stopped time](Shard::slept).
    pub(super) slept: Duration,
}

impl Links for NodeLinks<'_> {
    type Key = LinkKey;

    fn find(&self, pid: Pid) -> Option<LinkKey> {
        self.node.links.find(pid).map(|link| LinkKey { node: self.id, link })
    }

    #[inline]
    fn get(&mut self, key: LinkKey) -> Option<&mut Link> {
        let slot = self.node.links.get_mut(key.link)?;
        slot.shift_times(self.slept);
        Some(&mut slot.link)
    }

    fn is_reachable(&mut self, key: LinkKey) -> bool {
        self.node.links.get_mut(key.link).is_some_and(|slot| !slot.blocked)
    }

    fn local(&self) -> &Arc<Local> {
        &self.node.local
    }

    fn is_stopping(&self) -> bool {
        self.node.stopping.is_some()
    }
}

impl<D: Driver> Shard<D> {
    /// Adds a connection.
    pub(super) fn put(&mut self, socket: SocketId, connection: Connection) {
        if connection.counts_as_dial {
            self.dials.begin();
        }
        let index = socket.0 as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        self.connections[index] = Some(connection);
        self.follow_phase(socket);
    }

    /// Lets `change` change the session of a connection. `None` if there is no such connection, or its server is gone.
    pub(super) fn with_session<T>(
        &mut self,
        socket: SocketId,
        change: impl FnOnce(&mut Session<LinkKey>, &mut NodeLinks<'_>) -> T,
    ) -> Option<T> {
        let connection = self.connections.get_mut(socket.0 as usize)?.as_mut()?;
        let id = connection.node;
        let node = self.nodes.get_mut(&id)?;
        let changed = change(&mut connection.session, &mut NodeLinks { node, id, slept: self.slept });
        self.follow_phase(socket);
        Some(changed)
    }

    /// Sets the timer of a connection for the deadline of its session, and ends its dial when the handshake has ended.
    fn follow_phase(&mut self, socket: SocketId) {
        let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return };
        if connection.counts_as_dial && !connection.session.is_dialing() {
            connection.counts_as_dial = false;
            self.dials.end();
        }
        match connection.session.deadline() {
            Some(at) if connection.deadline.map(|entry| entry.at()) != Some(at) => {
                self.timers.set(Timer::Connection(socket), &mut connection.deadline, at);
            }
            Some(_) => {}
            None => self.timers.cancel(&mut connection.deadline),
        }
    }

    /// Handles a change of phase. Returns whether the session goes on.
    pub(super) fn handle_event(&mut self, socket: SocketId, event: SessionEvent<LinkKey>, now: Time) -> bool {
        self.follow_phase(socket);
        match event {
            SessionEvent::Delivery { .. } | SessionEvent::Control => return true,
            SessionEvent::Welcomed(key) => {
                self.greeted(key.node, socket, key.link, now);
                self.send_handshake(socket);
                self.follow_wants(key, now);
                self.serve(key, now);
            }
            SessionEvent::Established(key) => {
                self.remove_stranger(key.node, socket);
                if let Some(older) = self.slot(key).and_then(|slot| slot.socket.replace(socket))
                    && older != socket
                {
                    self.abandon(older);
                }
                if self.nodes.get(&key.node).is_some_and(|node| node.stopping.is_some()) {
                    self.request_ack(key);
                }
                self.serve(key, now);
            }
            SessionEvent::Refused => {
                self.send_handshake(socket);
                self.end(socket, now);
                return false;
            }
            SessionEvent::Closed(key) => {
                self.driver.close(socket);
                self.detach(socket, key, now);
                return false;
            }
        }
        true
    }

    /// Tells the application of a link's notices, marks the link, and sets its timer.
    fn serve(&mut self, key: LinkKey, now: Time) {
        self.tell(key, now);
        self.mark(key);
        self.schedule(key, now);
    }

    /// Takes a connection whose session has ended from its link.
    fn detach(&mut self, socket: SocketId, key: Option<LinkKey>, now: Time) {
        let Some(key) = key else { return };
        if let Some(slot) = self.slot(key)
            && slot.socket == Some(socket)
        {
            slot.socket = None;
        }
        self.serve(key, now);
        self.poll_shutdown(key.node, now);
    }

    /// Closes a connection that its link has replaced or hung up.
    pub(super) fn abandon(&mut self, socket: SocketId) {
        if let Some(connection) = self.connection(socket) {
            connection.session.abandon();
        }
        self.follow_phase(socket);
        self.driver.close(socket);
    }

    /// Sends the segment of a session's handshake.
    pub(super) fn send_handshake(&mut self, socket: SocketId) {
        let mut batch = self.spare.pop().unwrap_or_default();
        let mut key = None;
        if let Some(connection) = self.connection(socket) {
            key = connection.session.key();
            connection.session.transmit_handshake(&mut batch);
        }
        if key.is_some_and(|key| self.is_blocked(key)) {
            // The simulated partition loses the segment.
            batch.clear();
        }
        if batch.is_empty() {
            self.spare.push(batch);
        } else {
            self.send_next(socket, batch);
        }
    }

    /// Sends a batch as soon as the send under way, if there is one, is over.
    pub(super) fn send_next(&mut self, socket: SocketId, batch: Box<Batch>) {
        let Some(connection) = self.connection(socket) else { return };
        if connection.sending {
            connection.next = Some(batch);
        } else {
            connection.sending = true;
            self.driver.send(socket, batch, 0);
        }
    }

    /// Ends a connection whose session has ended, once the send under way is over.
    pub(super) fn end(&mut self, socket: SocketId, now: Time) {
        self.follow_phase(socket);
        let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return };
        self.timers.set(Timer::Connection(socket), &mut connection.deadline, now + LINGER);
        if !connection.sending {
            self.driver.finish(socket);
        }
    }

    /// Handles the end of a connection by the other side or by an error.
    pub(super) fn disconnected(&mut self, socket: SocketId, now: Time) {
        self.lose(socket, DownReason::Closed, now);
    }

    /// Ends a session for this reason, and closes its connection.
    pub(super) fn lose(&mut self, socket: SocketId, reason: DownReason, now: Time) {
        if self.connection(socket).is_none() {
            return;
        }
        let key = self.with_session(socket, |session, links| session.lost(reason, links, now)).flatten();
        self.driver.close(socket);
        self.detach(socket, key, now);
    }

    /// Handles the completed close of a connection.
    pub(super) fn closed(&mut self, socket: SocketId, now: Time) {
        let key = self.with_session(socket, |session, links| session.lost(DownReason::Closed, links, now)).flatten();
        self.detach(socket, key, now);
        if let Some(mut connection) = self.connections.get_mut(socket.0 as usize).and_then(Option::take) {
            self.timers.cancel(&mut connection.deadline);
            if connection.counts_as_dial {
                self.dials.end();
            }
            if let Some(node) = self.nodes.get_mut(&connection.node) {
                node.open_sockets -= 1;
                self.remove_stranger(connection.node, socket);
                self.poll_shutdown(connection.node, now);
            }
        }
    }

    /// Ends the session of a link whose peer has violated the protocol. The peer is connected again.
    pub(super) fn violated(&mut self, key: LinkKey, violation: &str, now: Time) {
        if let Some(socket) = self.slot(key).and_then(|slot| slot.socket) {
            self.lose(socket, DownReason::Violation(violation.to_owned()), now);
        }
    }

    pub(super) fn connection_expired(&mut self, socket: SocketId, now: Time) {
        // A dialer in the same process may have confirmed in memory that its loop has not handed over.
        let caught_up = self.caught_up.min(self.driver.peer_sent_until(socket, now));
        let Some(connection) = self.connection(socket) else { return };
        connection.deadline = None;
        if connection.session.is_ended() {
            return self.disconnected(socket, now);
        }
        let event = self.with_session(socket, |session, links| session.timeout(links, now, caught_up));
        match event.flatten() {
            Some(event) => drop(self.handle_event(socket, event, now)),
            None => {
                self.send_handshake(socket);
                let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return };
                if connection.deadline.is_some_and(|entry| entry.at() <= now) {
                    // What it has sent may wait to be read.
                    self.timers.set(Timer::Connection(socket), &mut connection.deadline, now + OVERDUE);
                }
            }
        }
    }

    pub(super) fn tell(&mut self, key: LinkKey, now: Time) {
        if let Some(node) = self.nodes.get_mut(&key.node) {
            node.tell(key.link, now);
        }
    }
}
