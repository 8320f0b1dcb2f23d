//! What happens to connections, and what that means to links and servers.

use std::io;
use std::ops::Range;
use std::time::Duration;

use super::Shard;
use super::connection::{Connection, Role};
use super::deadlines::OVERDUE;
use super::node::Node;
use super::timers::Timer;
use crate::batch::Batch;
use crate::driver::{Budget, Completion, Driver, ReceiveBuffer, Slice, SocketId, is_shortage};
use crate::link::{DownReason, Verdict, Want};
use crate::roster::LinkKey;
use crate::time::Time;
use crate::wire::{Hello, Kind, Refusal, RefusalReason, SegmentError, SegmentHeader};

/// So long a connection that was ended waits for the other side to close it too, so that its last words arrive.
const LINGER: Duration = Duration::from_millis(20);

impl<D: Driver> Shard<D> {
    /// Deals with what has completed. `false`: it was a mere heartbeat.
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
            Completion::Closed { socket } => {
                self.set_role(socket, Role::Ending);
                if let Some(connection) = self.connections.get_mut(socket.0 as usize).and_then(Option::take)
                    && let Some(node) = self.nodes.get_mut(&connection.node)
                {
                    node.open_sockets -= 1;
                    self.remove_stranger(connection.node, socket);
                    self.poll_shutdown(connection.node, now);
                }
            }
        }
    }

    pub(super) fn put(&mut self, socket: SocketId, connection: Connection) {
        if connection.role.is_dialing() {
            self.dials.begin();
        }
        let index = socket.0 as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        self.connections[index] = Some(connection);
    }

    /// Does what the link wants: dials, or hangs up.
    pub(super) fn follow_wants(&mut self, key: LinkKey, now: Time) -> bool {
        let many_dials = self.dials.are_many();
        let Some(slot) = self.slot(key) else { return false };
        match slot.link.wants(now, many_dials) {
            Want::Nothing => false,
            Want::Hangup => {
                if let Some(socket) = slot.socket.take() {
                    self.set_role(socket, Role::Ending);
                    self.driver.close(socket);
                }
                true
            }
            Want::Dial => self.dial(key, now),
        }
    }

    /// Dials the link's peer, or has the link wait until another dial has ended.
    fn dial(&mut self, key: LinkKey, now: Time) -> bool {
        let has_room = self.dials.has_room();
        let Some(node) = self.nodes.get_mut(&key.node) else { return false };
        let leaving = node.stopping.as_ref().is_some_and(|stopping| stopping.leaving);
        let Some(slot) = node.links.get_mut(key.link) else { return false };
        if !has_room {
            if !std::mem::replace(&mut slot.waits_to_dial, true) {
                self.dials.wait(key);
            }
            return false;
        }
        slot.link.dials(now);
        if !std::mem::replace(&mut slot.dialed, true) {
            node.events.connects(slot.link.peer(), now);
        }
        let dialed = match slot.next_address() {
            _ if leaving => Err(io::Error::from(io::ErrorKind::Interrupted)),
            _ if slot.blocked => Err(io::Error::from(io::ErrorKind::TimedOut)),
            Some(address) => self.driver.connect(address, node.way),
            None => Err(io::Error::from(io::ErrorKind::AddrNotAvailable)),
        };
        match dialed {
            Ok(socket) => {
                slot.socket = Some(socket);
                node.open_sockets += 1;
                node.set_starved(key.link, None, now);
                self.put(socket, Connection::new(Role::Dialing(key), key.node));
            }
            Err(error) => {
                slot.link.dial_failed(now);
                node.set_starved(key.link, Some(&error).filter(|error| is_shortage(error)), now);
                if is_shortage(&error) {
                    self.close_silent_strangers();
                }
            }
        }
        true
    }

    /// Lets as many links dial as there is room for, of those that wait.
    pub(super) fn let_dial(&mut self) {
        for key in self.dials.next() {
            if let Some(slot) = self.slot(key) {
                slot.waits_to_dial = false;
                self.mark(key);
            }
        }
    }

    fn dialed(&mut self, socket: SocketId, result: io::Result<()>, now: Time) {
        let Some(Role::Dialing(key)) = self.connection(socket).map(|connection| connection.role) else { return };
        if result.is_err() {
            return self.disconnected(socket, now);
        }
        // Without memory to receive the answer, the dial has failed. Another one follows later.
        let Ok(buffer) = self.pool.take() else { return self.disconnected(socket, now) };
        let Some(slot) = self.slot(key) else { return self.driver.close(socket) };
        let hello = slot.link.connected(now);
        self.set_role(socket, Role::Greeting(key));
        self.driver.receive(socket, buffer);
        self.say(socket, SegmentHeader::new(Kind::Hello), hello.encode());
        self.schedule(key, now);
    }

    /// Segments have come over TCP. `false`: mere heartbeats.
    fn received(&mut self, socket: SocketId, buffer: ReceiveBuffer, now: Time) -> bool {
        if let Some(Role::Link(key)) = self.connection(socket).map(|connection| connection.role)
            && self.is_blocked(key)
        {
            let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return true };
            match connection.discard(buffer, &self.pool) {
                Ok((buffer, pinned)) => self.receive_next(socket, buffer, pinned),
                Err(_) => self.lose(socket, DownReason::NoMemory, now),
            }
            return true;
        }
        if !self.parse_segments(socket, buffer.bytes(), |payload| buffer.share(payload), now) {
            return true;
        }
        let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return true };
        let buffer = match connection.is_counted {
            true => connection.make_room(buffer, &self.pool),
            false => self.make_first_room(socket, buffer),
        };
        let needs_look = self.has_heard(socket, now);
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

    /// Segments of a peer on the same engine have come, which stand where it has put them. `false`: mere heartbeats.
    fn handed(&mut self, socket: SocketId, bytes: &Slice, now: Time) -> bool {
        let Some(connection) = self.connection(socket) else { return true };
        connection.begin();
        if let Role::Link(key) = connection.role
            && self.is_blocked(key)
        {
            return true;
        }
        !self.parse_segments(socket, bytes, |payload| bytes.part(payload), now) || self.has_heard(socket, now)
    }

    /// Handles the segments that `bytes` holds from where the connection was taken apart; `share` makes a payload the
    /// inbox's. Returns whether the connection goes on.
    fn parse_segments(
        &mut self,
        socket: SocketId,
        bytes: &[u8],
        share: impl Fn(Range<usize>) -> Slice,
        now: Time,
    ) -> bool {
        loop {
            let Some(connection) = self.connection(socket) else { return false };
            let (role, segment) = (connection.role, connection.next_segment(bytes));
            let (header, payload) = match segment {
                Ok(Some(segment)) => segment,
                Ok(None) => {
                    let is_refused =
                        matches!(role, Role::Unknown(node) if self.refuse_long_greeting(socket, node, bytes, now));
                    return !is_refused;
                }
                Err(error) => {
                    self.on_malformed(socket, role, error, now);
                    return false;
                }
            };
            let bytes = &bytes[payload.clone()];
            match role {
                Role::Link(key) => {
                    if !self.heard(socket, key, &header, bytes, || share(payload), now) {
                        return false;
                    }
                }
                Role::Greeting(key) => self.answered(socket, key, &header, bytes, now),
                Role::Unknown(node) => self.greeted(socket, node, &header, bytes, now),
                Role::Dialing(_) | Role::Ending => {}
            }
        }
    }

    /// A link's segment has come. Returns whether the link still has its connection.
    fn heard(
        &mut self,
        socket: SocketId,
        key: LinkKey,
        header: &SegmentHeader,
        payload: &[u8],
        share: impl FnOnce() -> Slice,
        now: Time,
    ) -> bool {
        let Some(node) = self.nodes.get_mut(&key.node) else {
            self.driver.close(socket);
            return false;
        };
        let Some(slot) = node.links.get_mut(key.link) else {
            self.driver.close(socket);
            return false;
        };
        slot.shift_times(self.slept);
        let received = slot.link.receive(header, payload, now);
        // Before the delivery: whoever reads that the peer is up, or reads the envelope, may answer this incarnation
        // alone.
        if slot.link.has_notices() {
            node.tell(key.link, now);
        }
        match received {
            Ok(Some(delivery)) => {
                node.deliver(key, delivery, (payload, share), &self.pool);
                if self.touched.last() != Some(&key.node) {
                    self.touched.push(key.node);
                }
            }
            Ok(None) => {}
            Err(violation) => {
                self.violated(key, &violation.to_string(), now);
                return false;
            }
        }
        if slot_left(node, key) {
            self.flush_link(key, false, now, &mut Budget::default());
            return false;
        }
        true
    }

    /// Goes on with the link after what came was looked at. `false`: mere heartbeats.
    fn has_heard(&mut self, socket: SocketId, now: Time) -> bool {
        let Some(Role::Link(key)) = self.connection(socket).map(|connection| connection.role) else { return true };
        let needs_look = self.slot(key).is_some_and(|slot| slot.link.take_needs_look());
        if needs_look {
            self.mark(key);
            self.poll_shutdown(key.node, now);
        } else {
            self.send_heartbeat(key, now, true);
        }
        needs_look
    }

    /// A peer that dialed us has said something.
    fn greeted(&mut self, socket: SocketId, node: u32, header: &SegmentHeader, payload: &[u8], now: Time) {
        let Some(state) = self.nodes.get_mut(&node) else { return self.driver.close(socket) };
        let from = state.local.pid;
        let hello = match Hello::decode(payload) {
            Ok(hello) if header.kind() == Kind::Hello => hello,
            _ => return self.refuse(socket, Refusal { reason: RefusalReason::Malformed, from }, now),
        };
        let reason = match state.links.find(hello.from) {
            _ if state.stopping.is_some() => RefusalReason::Stopping,
            None if hello.cluster != state.local.cluster => RefusalReason::WrongCluster,
            None => RefusalReason::UnknownPeer,
            Some(link) => {
                let key = LinkKey { node, link };
                let Some(slot) = state.links.get_mut(link) else { return self.driver.close(socket) };
                slot.shift_times(self.slept);
                if slot.blocked {
                    return self.driver.close(socket);
                }
                match slot.link.greeted(&hello, now) {
                    Verdict::Refuse(refusal) => {
                        // It may have ended a session of which nothing was heard.
                        self.tell(key, now);
                        self.mark(key);
                        self.schedule(key, now);
                        return self.refuse(socket, refusal, now);
                    }
                    Verdict::Welcome(welcome) => {
                        // The link's older connection, or its own dial, is over.
                        if let Some(older) = slot.socket.replace(socket) {
                            self.set_role(older, Role::Ending);
                            self.driver.close(older);
                        }
                        self.set_role(socket, Role::Link(key));
                        self.remove_stranger(node, socket);
                        self.say(socket, SegmentHeader::new(Kind::Welcome), welcome.encode());
                        self.tell(key, now);
                        self.mark(key);
                        self.schedule(key, now);
                        return;
                    }
                }
            }
        };
        self.refuse(socket, Refusal { reason, from }, now);
    }

    /// The peer that we dialed has answered.
    fn answered(&mut self, socket: SocketId, key: LinkKey, header: &SegmentHeader, payload: &[u8], now: Time) {
        let Some(slot) = self.slot(key) else { return self.driver.close(socket) };
        let welcomed = match header.kind() {
            _ if slot.blocked => false,
            Kind::Welcome => Hello::decode(payload).is_ok_and(|welcome| slot.link.welcomed(&welcome, now)),
            Kind::Refuse => {
                if let Some(refusal) = Refusal::decode(payload) {
                    slot.link.refused(refusal, now);
                }
                false
            }
            _ => false,
        };
        if welcomed {
            self.set_role(socket, Role::Link(key));
            self.tell(key, now);
            if self.nodes.get(&key.node).is_some_and(|node| node.stopping.is_some()) {
                self.request_ack(key);
            }
            self.mark(key);
            self.schedule(key, now);
        } else {
            self.disconnected(socket, now);
        }
    }

    /// Makes the connection somebody else's. Returns whose it was.
    pub(super) fn set_role(&mut self, socket: SocketId, role: Role) -> Option<Role> {
        let connection = self.connections.get_mut(socket.0 as usize)?.as_mut()?;
        let before = std::mem::replace(&mut connection.role, role);
        self.timers.cancel(&mut connection.deadline);
        if before.is_dialing() && !role.is_dialing() {
            self.dials.end();
        }
        Some(before)
    }

    /// Closes the connection then, unless it is somebody else's before.
    pub(super) fn close_at(&mut self, socket: SocketId, at: Time) {
        if let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) {
            self.timers.set(Timer::Connection(socket), &mut connection.deadline, at);
        }
    }

    /// Sends a segment outside of a link's batches.
    fn say(&mut self, socket: SocketId, header: SegmentHeader, payload: Vec<u8>) {
        let mut batch = self.spare.pop().unwrap_or_default();
        batch.push_owned(header, payload);
        self.send_next(socket, batch);
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

    pub(super) fn refuse(&mut self, socket: SocketId, refusal: Refusal, now: Time) {
        self.say(socket, SegmentHeader::new(Kind::Refuse), refusal.encode().to_vec());
        self.end(socket, now);
    }

    /// Ends a connection once what is under way was sent.
    pub(super) fn end(&mut self, socket: SocketId, now: Time) {
        self.set_role(socket, Role::Ending);
        let Some(connection) = self.connection(socket) else { return };
        if !connection.sending {
            self.driver.finish(socket);
        }
        self.close_at(socket, now + LINGER);
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
        match connection.role {
            Role::Link(key) => self.mark(key),
            Role::Ending => self.driver.finish(socket),
            Role::Unknown(_) | Role::Dialing(_) | Role::Greeting(_) => {}
        }
    }

    /// The connection is over, from the other side or by an error.
    pub(super) fn disconnected(&mut self, socket: SocketId, now: Time) {
        self.lose(socket, DownReason::Closed, now);
    }

    /// Ends a connection for this reason.
    fn lose(&mut self, socket: SocketId, reason: DownReason, now: Time) {
        let Some(role) = self.set_role(socket, Role::Ending) else { return };
        self.driver.close(socket);
        if let Role::Dialing(key) | Role::Greeting(key) | Role::Link(key) = role
            && let Some(slot) = self.slot(key)
        {
            if slot.socket == Some(socket) {
                slot.socket = None;
                slot.link.lost(reason, now);
            }
            self.tell(key, now);
            self.schedule(key, now);
            self.poll_shutdown(key.node, now);
        }
    }

    /// What came is not this protocol.
    fn on_malformed(&mut self, socket: SocketId, role: Role, error: SegmentError, now: Time) {
        match role {
            Role::Link(key) => self.violated(key, &format!("{error}; {}", error.cure()), now),
            Role::Unknown(node) if matches!(error, SegmentError::Version(_)) => {
                let from = self.nodes.get(&node).map_or(0, |node| node.local.pid);
                self.refuse(socket, Refusal { reason: RefusalReason::Version, from }, now);
            }
            _ => self.disconnected(socket, now),
        }
    }

    /// The peer broke the protocol: its connection ends, and is made anew.
    pub(super) fn violated(&mut self, key: LinkKey, violation: &str, now: Time) {
        let Some(slot) = self.slot(key) else { return };
        slot.link.lost(DownReason::Violation(violation.to_owned()), now);
        if let Some(socket) = slot.socket.take() {
            self.set_role(socket, Role::Ending);
            self.driver.close(socket);
        }
        self.tell(key, now);
        self.schedule(key, now);
    }

    pub(super) fn connection_expired(&mut self, socket: SocketId, now: Time) {
        let caught_up = self.caught_up;
        let Some(connection) = self.connection(socket) else { return };
        let deadline = connection.deadline.take();
        if matches!(connection.role, Role::Unknown(_)) && deadline.is_some_and(|deadline| caught_up < deadline.at()) {
            // What it has said may wait to be read.
            return self.close_at(socket, now + OVERDUE);
        }
        self.disconnected(socket, now);
    }

    pub(super) fn tell(&mut self, key: LinkKey, now: Time) {
        if let Some(node) = self.nodes.get_mut(&key.node) {
            node.tell(key.link, now);
        }
    }
}

fn slot_left(node: &mut Node, key: LinkKey) -> bool {
    node.links.get_mut(key.link).is_some_and(|slot| slot.link.state() != crate::link::State::Up)
}
