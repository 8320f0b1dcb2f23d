//! Work of an owner of sessions: connections, timers, and what the link wants.

use std::sync::Arc;
use std::time::Duration;

use super::super::super::{DownReason, Link, Links, Local, Notice, Pid, State, Want};
use super::super::network::{End, Socket};
use super::{Simulation, What};
use crate::batch::Batch;
use crate::session::{Session, SessionEvent};
use crate::testing::batch_bytes;
use crate::testing::one_in;
use crate::wire::{Kind, Refusal, RefusalReason, SEGMENT_HEADER_BYTES, SegmentHeader, decode_skip};

const LINGER: Duration = Duration::from_millis(20);
const OVERDUE: Duration = Duration::from_millis(10);
const DIRECT_BYTES: usize = 16 * 1024;
/// Bytes under way at which the kernel takes no more.
const SOCKET_BYTES: usize = 128 * 1024;

/// Link of a side, for its sessions. The key is the life of the server: sessions of an earlier life find no link.
pub(super) struct OneLink<'a> {
    life: u32,
    local: &'a Arc<Local>,
    link: &'a mut Link,
}

impl Links for OneLink<'_> {
    type Key = u32;

    fn find(&self, pid: Pid) -> Option<u32> {
        (pid == self.link.peer()).then_some(self.life)
    }

    fn get(&mut self, life: u32) -> Option<&mut Link> {
        (life == self.life).then_some(&mut *self.link)
    }

    fn local(&self) -> &Arc<Local> {
        self.local
    }

    fn is_stopping(&self) -> bool {
        false
    }
}

impl Simulation {
    pub(super) fn end(&mut self, socket: Socket) -> &mut End {
        &mut self.connections[socket.connection][socket.end]
    }

    pub(super) fn flush_dirty(&mut self, side: usize) {
        let mut turns = 0;
        while std::mem::take(&mut self.sides[side].dirty) {
            self.flush(side);
            turns += 1;
            assert!(turns < 20, "it turns and turns: {}", self.describe());
        }
    }

    pub(super) fn flush(&mut self, side: usize) {
        self.follow_wants(side);
        if self.is_sending(side) {
            return;
        }
        self.transmit(side);
        self.settle(side);
        if self.sides[side].link.has_notices() {
            self.tell(side);
        }
        self.schedule(side);
    }

    pub(super) fn follow_wants(&mut self, side: usize) {
        match self.sides[side].link.wants(self.now, false) {
            Want::Nothing => {}
            Want::Hangup => {
                if let Some(socket) = self.sides[side].socket.take() {
                    self.end(socket).session.abandon();
                    self.close(socket);
                }
            }
            Want::Dial => {
                self.sides[side].link.dials(self.now);
                if !self.calm && one_in(&mut self.random, 10) {
                    return self.sides[side].link.dial_failed(self.now);
                }
                let connection = self.connections.len();
                let dialing = Session::dialing(self.sides[side].life);
                self.connections.push([End::new(side, dialing, true), End::new(1 - side, Session::ended(), false)]);
                let socket = Socket { connection, end: 0 };
                self.sides[side].socket = Some(socket);
                match if self.calm { 0 } else { self.random.u64(..6) } {
                    4 => self.after_delay(What::Dialed(socket, false)),
                    5 => {}
                    _ => {
                        self.after_delay(What::Dialed(socket, true));
                        self.after_delay(What::Accepted(socket.other()));
                    }
                }
            }
        }
    }

    /// Lets `change` change the session of an end.
    pub(super) fn with_session<T>(
        &mut self,
        socket: Socket,
        change: impl FnOnce(&mut Session<u32>, &mut OneLink<'_>) -> T,
    ) -> T {
        let end = &mut self.connections[socket.connection][socket.end];
        let side = &mut self.sides[end.side];
        let changed =
            change(&mut end.session, &mut OneLink { life: side.life, local: &side.local, link: &mut side.link });
        self.set_timer(socket);
        changed
    }

    fn set_timer(&mut self, socket: Socket) {
        let (now, end) = (self.now, self.end(socket));
        if let Some(deadline) = end.session.deadline()
            && end.deadline != Some(deadline)
        {
            end.deadline = Some(deadline);
            self.at(deadline.max(now), What::ConnectionTimer(socket));
        }
    }

    pub(super) fn connection_expired(&mut self, socket: Socket) {
        let now = self.now;
        if !self.end(socket).open || self.end(socket).deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        if self.end(socket).session.is_ended() {
            return self.disconnected(socket);
        }
        self.end(socket).deadline = None;
        match self.with_session(socket, |session, links| session.timeout(links, now, now)) {
            Some(event) => self.handle_event(socket, event),
            None => self.send_handshake(socket),
        }
    }

    pub(super) fn accepted(&mut self, socket: Socket) {
        // A dialer that has died meanwhile is not accepted.
        if self.end(socket.other()).pipe.dead || self.end(socket.other()).pipe.closed {
            return;
        }
        self.end(socket).open = true;
        self.end(socket).session = Session::accepted(self.now);
        self.set_timer(socket);
    }

    pub(super) fn dialed(&mut self, socket: Socket, reached: bool) {
        let now = self.now;
        if !self.end(socket).open || !self.end(socket).session.is_dialing() {
            return;
        }
        if !reached {
            return self.disconnected(socket);
        }
        if self.with_session(socket, |session, links| session.connected(links, now)) {
            let side = self.end(socket).side;
            self.send_handshake(socket);
            self.schedule(side);
        }
    }

    pub(super) fn arrives(&mut self, socket: Socket) {
        let now = self.now;
        let pipe = &mut self.end(socket).pipe;
        pipe.scheduled = false;
        let (stalled, length) = (pipe.stalled_until, pipe.bytes.len());
        if stalled > now || !self.end(socket).open && socket.end == 1 {
            // The connection is not accepted yet, if it ever is.
            self.end(socket).pipe.scheduled = true;
            let at = stalled.max(now) + Duration::from_millis(1);
            if stalled > now
                || self.end(socket).open
                || !self.end(socket.other()).pipe.closed && !self.end(socket).pipe.dead
            {
                self.at(at, What::Arrives(socket));
            }
            return;
        }
        if length == 0 {
            if self.end(socket).pipe.closed && !self.end(socket).pipe.dead {
                self.disconnected(socket);
            }
            return;
        }
        let count = if one_in(&mut self.random, 3) { self.random.usize(1..=length) } else { length };
        let end = self.end(socket);
        let chunk: Vec<u8> = end.pipe.bytes.drain(..count).collect();
        if end.open {
            end.received.extend_from_slice(&chunk);
            self.received(socket);
        }
        self.arrive_later(socket);
    }

    pub(super) fn arrive_later(&mut self, socket: Socket) {
        let pipe = &mut self.end(socket).pipe;
        if !pipe.scheduled && (!pipe.bytes.is_empty() || pipe.closed && !pipe.dead) {
            pipe.scheduled = true;
            self.after_delay(What::Arrives(socket));
        }
    }

    pub(super) fn received(&mut self, socket: Socket) {
        let mut bytes = std::mem::take(&mut self.end(socket).received);
        let now = self.now;
        while self.end(socket).open && !self.end(socket).session.is_ended() {
            let begin = self.end(socket).session.parsed();
            let Some(event) = self.with_session(socket, |session, links| session.receive(&bytes, links, now)) else {
                break;
            };
            self.check_honest(&bytes[begin..], &event);
            match event {
                SessionEvent::Delivery { .. } | SessionEvent::Control => {
                    let side = self.end(socket).side;
                    self.heard(side, &bytes[begin..], event);
                }
                event => self.handle_event(socket, event),
            }
        }
        let end = self.end(socket);
        bytes.drain(..end.session.parsed());
        end.session.rebase();
        end.received = bytes;
        if end.session.up().is_some() {
            let side = end.side;
            self.sides[side].dirty = true;
        }
    }

    /// Asserts that an honest peer is not refused for what it says, and its segments are taken.
    fn check_honest(&mut self, segment: &[u8], event: &SessionEvent<u32>) {
        let header = SegmentHeader::parse(segment).expect("a header that can be read").expect("a whole header");
        let payload = &segment[SEGMENT_HEADER_BYTES..header.segment_bytes()];
        match header.kind() {
            Kind::Welcome => {
                assert!(
                    matches!(event, SessionEvent::Established(_)),
                    "an honest welcome makes no sense: {}",
                    self.describe()
                );
            }
            Kind::Refuse => {
                let refusal = Refusal::decode(payload).expect("a refusal");
                let honest = matches!(
                    refusal.reason,
                    RefusalReason::Tie | RefusalReason::AlreadyConnected | RefusalReason::Stopping
                );
                assert!(honest, "an honest greeting is refused: {refusal:?}");
            }
            _ => {}
        }
    }

    /// Handles an event in which the session goes on as it was. `segment` begins with the segment that was received.
    fn heard(&mut self, side: usize, segment: &[u8], event: SessionEvent<u32>) {
        let header = *SegmentHeader::parse(segment).expect("a header that can be read").expect("a whole header");
        let payload = &segment[SEGMENT_HEADER_BYTES..header.segment_bytes()];
        let peer = self.sides[side].link.incarnation.expect("a link that is up has met its peer");
        let life = u32::from_le_bytes(peer[8..12].try_into().expect("four bytes"));
        let sender = &mut self.sides[1 - side];
        let streams = if sender.life == life { sender.link.outgoing() } else { &mut [] };
        let acked = streams.iter().find(|stream| stream.id() == header.stream.get()).map(|stream| stream.acked());
        let key = (1 - side, life, header.stream.get());
        match event {
            SessionEvent::Delivery { delivery, .. } => {
                self.sides[side].application.arrived(key, (&header, payload), &delivery, acked, &mut self.records);
                self.write_and_read(side);
            }
            _ if header.kind() == Kind::Skip => {
                let gap = (header.position.get(), decode_skip(payload).expect("a position"));
                self.sides[side].application.skipped(key, gap, acked, &mut self.records);
            }
            _ => {}
        }
    }

    fn handle_event(&mut self, socket: Socket, event: SessionEvent<u32>) {
        let side = self.end(socket).side;
        match event {
            SessionEvent::Delivery { .. } | SessionEvent::Control => {}
            SessionEvent::Welcomed(_) => {
                self.send_handshake(socket);
                self.follow_wants(side);
            }
            SessionEvent::Established(_) => {
                if let Some(older) = self.sides[side].socket.replace(socket)
                    && older != socket
                {
                    self.end(older).session.abandon();
                    self.close(older);
                }
            }
            SessionEvent::Refused => {
                self.send_handshake(socket);
                let deadline = self.now + LINGER;
                let end = self.end(socket);
                end.deadline = Some(deadline);
                if end.sending.is_none() {
                    self.finish(socket);
                }
                self.at(deadline, What::ConnectionTimer(socket));
            }
            SessionEvent::Closed(_) => {
                if self.sides[side].socket == Some(socket) {
                    self.sides[side].socket = None;
                }
                self.close(socket);
            }
        }
        self.tell(side);
        self.sides[side].dirty = true;
        self.schedule(side);
    }

    fn send_handshake(&mut self, socket: Socket) {
        let mut batch = Batch::default();
        self.end(socket).session.transmit_handshake(&mut batch);
        if batch.is_empty() {
            return;
        }
        if self.end(socket).sending.is_some() {
            self.end(socket).next = Some(batch);
        } else {
            self.send(socket, batch);
        }
    }

    pub(super) fn is_sending(&mut self, side: usize) -> bool {
        self.sides[side].socket.is_some_and(|socket| self.end(socket).sending.is_some())
    }

    pub(super) fn transmit(&mut self, side: usize) {
        let Some(socket) = self.sides[side].socket else { return };
        let end = &mut self.connections[socket.connection][socket.end];
        if end.session.up().is_none() {
            return;
        }
        let mut batch = Batch::default();
        end.session.transmit(&mut self.sides[side].link, self.now, &mut batch);
        if batch.is_empty() {
            return;
        }
        let full = self.end(socket.other()).pipe.bytes.len() > SOCKET_BYTES;
        if batch.bytes() > DIRECT_BYTES || full || one_in(&mut self.random, 4) {
            return self.send(socket, batch);
        }
        let bytes = batch_bytes(&batch, 0, batch.bytes());
        self.write_pipe(socket, &bytes);
    }

    pub(super) fn send(&mut self, socket: Socket, batch: Batch) {
        self.end(socket).sending = Some((batch, 0));
        self.after_delay(What::Takes(socket));
    }

    pub(super) fn takes(&mut self, socket: Socket) {
        if !self.end(socket).open || self.end(socket.other()).pipe.bytes.len() > SOCKET_BYTES {
            if self.end(socket).open {
                self.after_delay(What::Takes(socket));
            }
            return;
        }
        let Some((batch, taken)) = self.end(socket).sending.take() else { return };
        let rest = (batch.bytes() - taken) as u64;
        let more = if self.random.bool() { rest } else { self.random.u64(1..=rest) } as usize;
        let bytes = batch_bytes(&batch, taken, taken + more);
        let done = taken + more == batch.bytes();
        if !done {
            self.end(socket).sending = Some((batch, taken + more));
            self.after_delay(What::Takes(socket));
        }
        self.write_pipe(socket, &bytes);
        if !done {
            return;
        }
        if let Some(next) = self.end(socket).next.take() {
            return self.send(socket, next);
        }
        let side = self.end(socket).side;
        if self.end(socket).session.is_ended() {
            self.finish(socket);
        } else if self.end(socket).session.up().is_some() {
            self.sides[side].dirty = true;
        }
    }

    pub(super) fn write_pipe(&mut self, socket: Socket, bytes: &[u8]) {
        let pipe = &mut self.end(socket.other()).pipe;
        if !pipe.dead && !pipe.closed {
            pipe.bytes.extend_from_slice(bytes);
            self.arrive_later(socket.other());
        }
    }

    /// Ends the direction of a connection: no more bytes will come.
    pub(super) fn finish(&mut self, socket: Socket) {
        self.end(socket.other()).pipe.closed = true;
        self.arrive_later(socket.other());
    }

    pub(super) fn close(&mut self, socket: Socket) {
        if std::mem::take(&mut self.end(socket).open) {
            let end = self.end(socket);
            (end.sending, end.next) = (None, None);
        }
        self.finish(socket);
    }

    pub(super) fn disconnected(&mut self, socket: Socket) {
        if !self.end(socket).open {
            return;
        }
        let now = self.now;
        let key = self.with_session(socket, |session, links| session.lost(DownReason::Closed, links, now));
        if key.is_some() {
            self.handle_event(socket, SessionEvent::Closed(key));
        } else {
            self.close(socket);
        }
    }

    pub(super) fn settle(&mut self, side: usize) {
        let state = self.sides[side].link.state();
        let mut written = false;
        for stream in self.sides[side].link.outgoing() {
            let asleep = stream.wait() || (state == State::Up && stream.is_starved());
            written |= !asleep;
        }
        if written && !self.is_sending(side) && !self.sides[side].link.waits_for_dial() {
            self.sides[side].dirty = true;
        }
    }

    pub(super) fn schedule(&mut self, side: usize) {
        let (now, state) = (self.now, &mut self.sides[side]);
        if let Some(deadline) = state.link.deadline() {
            let at = if deadline > now { deadline } else { now + OVERDUE };
            if state.timer.is_none_or(|timer| at < timer) {
                state.timer = Some(at);
                let life = state.life;
                self.at(at, What::LinkTimer(side, life));
            }
        }
    }

    pub(super) fn tell(&mut self, side: usize) {
        let state = &mut self.sides[side];
        for notice in state.link.take_notices() {
            match notice {
                Notice::Up { .. } => {
                    assert!(!state.up, "up twice");
                    (state.up, state.changes) = (true, state.changes + 1);
                }
                Notice::Down { reason } => {
                    assert!(state.up, "down twice");
                    assert!(!matches!(reason, DownReason::Violation(_)), "{reason:?}");
                    (state.up, state.changes) = (false, state.changes + 1);
                }
                Notice::Dropped { count, .. } => state.dropped += count,
                Notice::Reset => panic!("honest peers contradict each other"),
                Notice::Restarted { .. } | Notice::Refused { .. } => {}
            }
        }
        assert_eq!(state.up, state.link.state() == State::Up, "what was told is not so");
    }
}
