//! Sessions of a shard: what happens to connections, and what that means to links and servers.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Shard;
use super::connection::Connection;
use super::deadlines::OVERDUE;
use super::node::Node;
use super::timers::Timer;
use crate::batch::Batch;
use crate::driver::{Completion, Driver, ReceiveBuffer, Slice, SocketId};
use crate::link::{DownReason, Link, Links, Local, Pid};
use crate::roster::LinkKey;
use crate::session::{Event, Session};
use crate::time::Time;

/// Time that a connection which was ended waits for the other side to close it too, so that its last segments arrive.
const LINGER: Duration = Duration::from_millis(20);

/// Links of a server, for its sessions.
pub(super) struct NodeLinks<'a> {
    node: &'a mut Node,
    id: u32,
    /// Shard's [stopped time](Shard::slept).
    slept: Duration,
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
    /// Handles a completion. Returns `false` if it brought only heartbeats.
    pub(super) fn complete(&mut self, completion: Completion, now: Time) -> bool {
        match completion {
            Completion::Received { socket, result: Ok(1..), buffer } => return self.received(socket, buffer, now),
            Completion::Handed { socket, bytes } => return self.handed(socket, &bytes, now),
            other => self.happens(other, now),
        }
        true
    }

    fn happens(&mut self, completion: Completion, now: Time) {
        match completion {
            Completion::Accepted { listener, socket, source } => self.accepted(listener, socket, source, now),
            Completion::AcceptFailed { listener, error } => {
                if let Some(node) = self.connection(listener).map(|connection| connection.node) {
                    self.accept_failed(node, &error, now);
                }
            }
            Completion::Connected { socket, result } => self.dialed(socket, result, now),
            Completion::Received { socket, .. } => self.disconnected(socket, now),
            Completion::Handed { .. } => {}
            Completion::Ended { socket } => self.disconnected(socket, now),
            Completion::Sent { socket, result, batch } => self.sent(socket, result, batch, now),
            Completion::Closed { socket } => self.closed(socket, now),
        }
    }

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

    fn dialed(&mut self, socket: SocketId, result: io::Result<()>, now: Time) {
        if !self.connection(socket).is_some_and(|connection| connection.session.is_dialing()) {
            return;
        }
        if result.is_err() {
            return self.disconnected(socket, now);
        }
        // Without memory to receive the answer, the dial has failed. Another one follows later.
        let Ok(buffer) = self.pool.take() else { return self.disconnected(socket, now) };
        if self.with_session(socket, |session, links| session.connected(links, now)) != Some(true) {
            return self.driver.close(socket);
        }
        self.driver.receive(socket, buffer);
        self.send_handshake(socket);
        if let Some(key) = self.connection(socket).and_then(|connection| connection.session.key()) {
            self.schedule(key, now);
        }
    }

    /// Handles bytes that were received over TCP. Returns `false` if they were only heartbeats.
    fn received(&mut self, socket: SocketId, buffer: ReceiveBuffer, now: Time) -> bool {
        let Some(connection) = self.connection(socket) else { return true };
        let (key, is_ended) = (connection.session.key(), connection.session.is_ended());
        if is_ended || key.is_some_and(|key| self.is_blocked(key)) {
            let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return true };
            match connection.discard(buffer, &self.pool) {
                Ok((buffer, pinned)) => self.receive_next(socket, buffer, pinned),
                Err(_) => self.lose(socket, DownReason::NoMemory, now),
            }
            return true;
        }
        if !self.receive_segments(socket, buffer.bytes(), |payload| buffer.share(payload), now) {
            return true;
        }
        let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return true };
        let buffer = match connection.is_counted {
            true => connection.make_room(buffer, &self.pool),
            false => self.make_first_room(socket, buffer),
        };
        let needs_look = self.look_at_link(socket, now);
        match buffer {
            Ok((buffer, pinned)) if self.connection(socket).is_some() => self.receive_next(socket, buffer, pinned),
            Ok(_) => {}
            Err(error) => {
                let accepted = self.connection(socket).filter(|connection| connection.has_small_buffer);
                let accepted_by = accepted.map(|connection| connection.node);
                self.lose(socket, DownReason::NoMemory, now);
                if let Some(node) = accepted_by {
                    self.accept_failed(node, &error, now);
                }
            }
        }
        needs_look
    }

    /// Handles segments of a peer on the same engine, which are in the peer's memory. Returns `false` if they were only
    /// heartbeats.
    fn handed(&mut self, socket: SocketId, bytes: &Slice, now: Time) -> bool {
        let Some(connection) = self.connection(socket) else { return true };
        connection.session.rebase();
        if let Some(key) = connection.session.key()
            && self.is_blocked(key)
        {
            return true;
        }
        !self.receive_segments(socket, bytes, |payload| bytes.part(payload), now) || self.look_at_link(socket, now)
    }

    /// Handles the segments in `bytes` that the session has not parsed. `share` makes a payload the inbox's. Returns
    /// whether the session goes on.
    fn receive_segments(
        &mut self,
        socket: SocketId,
        bytes: &[u8],
        share: impl Fn(Range<usize>) -> Slice,
        now: Time,
    ) -> bool {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return false };
            let id = connection.node;
            let Some(node) = self.nodes.get_mut(&id) else {
                self.driver.close(socket);
                return false;
            };
            let mut links = NodeLinks { node, id, slept: self.slept };
            match connection.session.receive(bytes, &mut links, now) {
                None => return true,
                Some(Event::Delivery { key, delivery, payload }) => {
                    links.node.deliver(key, delivery, (&bytes[payload.clone()], || share(payload)), &self.pool);
                    if self.touched.last() != Some(&id) {
                        self.touched.push(id);
                    }
                }
                Some(Event::Control) => {}
                Some(event) => {
                    if !self.handle_event(socket, event, now) {
                        return false;
                    }
                }
            }
        }
    }

    /// Handles a change of phase. Returns whether the session goes on.
    fn handle_event(&mut self, socket: SocketId, event: Event<LinkKey>, now: Time) -> bool {
        self.follow_phase(socket);
        match event {
            Event::Delivery { .. } | Event::Control => return true,
            Event::Welcomed(key) => {
                self.greeted(key.node, socket, key.link, now);
                self.send_handshake(socket);
                self.follow_wants(key, now);
                self.serve(key, now);
            }
            Event::Established(key) => {
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
            Event::Refused => {
                self.send_handshake(socket);
                self.end(socket, now);
                return false;
            }
            Event::Closed(key) => {
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

    /// Looks at the link after received segments were handled. Returns `false` if they were only heartbeats.
    fn look_at_link(&mut self, socket: SocketId, now: Time) -> bool {
        let Some(key) = self.connection(socket).and_then(|connection| connection.session.up()) else { return true };
        let needs_look = self.slot(key).is_some_and(|slot| slot.link.take_needs_look());
        if needs_look {
            self.mark(key);
            self.poll_shutdown(key.node, now);
        } else {
            self.send_heartbeat(key, now, true);
        }
        needs_look
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
    fn send_handshake(&mut self, socket: SocketId) {
        let mut batch = self.spare.pop().unwrap_or_default();
        if let Some(connection) = self.connection(socket) {
            connection.session.transmit_handshake(&mut batch);
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

    fn sent(&mut self, socket: SocketId, result: io::Result<()>, mut batch: Box<Batch>, now: Time) {
        batch.clear();
        if self.spare.len() < 16 {
            self.spare.push(batch);
        }
        let Some(connection) = self.connection(socket) else { return };
        connection.sending = false;
        if result.is_err() {
            return self.disconnected(socket, now);
        }
        if let Some(next) = connection.next.take() {
            connection.sending = true;
            return self.driver.send(socket, next, 0);
        }
        if connection.session.is_ended() {
            self.driver.finish(socket);
        } else if let Some(key) = connection.session.up() {
            self.mark(key);
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
    fn closed(&mut self, socket: SocketId, now: Time) {
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
        let caught_up = self.caught_up;
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
