//! Completions of the driver: what they mean to sessions.

use std::io;
use std::ops::Range;

use super::Shard;
use super::sessions::NodeLinks;
use crate::batch::Batch;
use crate::driver::{Completion, Driver, ReceiveBuffer, Slice, SocketId};
use crate::link::DownReason;
use crate::session::Event;
use crate::time::Time;

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
}
