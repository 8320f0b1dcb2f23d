//! Completions of the driver other than received segments: dials, accepts, sends, ends.

use std::io;

use super::Shard;
use crate::batch::Batch;
use crate::driver::{Completion, Driver, SocketId};
use crate::time::Time;

impl<D: Driver> Shard<D> {
    /// Handles a completion that brought no segments.
    pub(super) fn happens(&mut self, completion: Completion, now: Time) {
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
