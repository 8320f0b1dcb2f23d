//! Work of the shard for a link and its connections: mirrors `shard/mod.rs` and `shard/wiring.rs`.

use std::time::Duration;

use super::super::super::{DownReason, Notice, State, Verdict, Want};
use super::super::network::{End, Role, Socket, read_batch};
use super::{Simulation, What};
use crate::batch::Batch;
use crate::wire::{Hello, Kind, Refusal, RefusalReason, SEGMENT_HEADER_BYTES, SegmentHeader, decode_skip};

const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_millis(20);
const OVERDUE: Duration = Duration::from_millis(10);
const DIRECT_BYTES: usize = 16 * 1024;
/// Bytes under way at which the kernel takes no more.
const SOCKET_BYTES: usize = 128 * 1024;

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
                    self.set_role(socket, Role::Ending);
                    self.close(socket);
                }
            }
            Want::Dial => {
                self.sides[side].link.dials(self.now);
                if !self.calm && self.random.one_in(10) {
                    return self.sides[side].link.dial_failed(self.now);
                }
                let connection = self.connections.len();
                self.connections.push([End::new(side, Role::Dialing, true), End::new(1 - side, Role::Unknown, false)]);
                let socket = Socket { connection, end: 0 };
                self.sides[side].socket = Some(socket);
                match self.random.below(if self.calm { 1 } else { 6 }) {
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

    pub(super) fn connection_expired(&mut self, socket: Socket) {
        if self.end(socket).deadline.is_some_and(|deadline| deadline <= self.now) {
            self.disconnected(socket);
        }
    }

    pub(super) fn accepted(&mut self, socket: Socket) {
        // A dialer that has died meanwhile is not accepted.
        if self.end(socket.other()).pipe.dead || self.end(socket.other()).pipe.closed {
            return;
        }
        self.end(socket).open = true;
        let deadline = self.now + GREETING_TIMEOUT;
        self.end(socket).deadline = Some(deadline);
        self.at(deadline, What::ConnectionTimer(socket));
    }

    pub(super) fn dialed(&mut self, socket: Socket, reached: bool) {
        if !self.end(socket).open || self.end(socket).role != Role::Dialing {
            return;
        }
        if !reached {
            return self.disconnected(socket);
        }
        let side = self.end(socket).side;
        let hello = self.sides[side].link.connected(self.now);
        self.set_role(socket, Role::Greeting);
        self.say(socket, Kind::Hello, hello.encode());
        self.schedule(side);
    }

    pub(super) fn arrives(&mut self, socket: Socket) {
        let now = self.now;
        let pipe = &mut self.end(socket).pipe;
        pipe.scheduled = false;
        let (stalled, length) = (pipe.stalled_until, pipe.bytes.len());
        if stalled > now || !self.end(socket).open && self.end(socket).role == Role::Unknown {
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
        let count = if self.random.one_in(3) { 1 + self.random.below(length as u64) as usize } else { length };
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
        let mut parsed = 0;
        while self.end(socket).open {
            let rest = &bytes[parsed..];
            let header = SegmentHeader::parse(rest).expect("a header that can be read");
            let Some(header) = header.filter(|header| rest.len() >= header.segment_bytes()) else { break };
            let (header, payload) = (*header, &rest[SEGMENT_HEADER_BYTES..header.segment_bytes()]);
            header.verify(payload).expect("a checksum that is right");
            parsed += header.segment_bytes();
            match self.end(socket).role {
                Role::Link => {
                    let side = self.end(socket).side;
                    self.hears(side, &header, payload);
                    if self.sides[side].link.state() != State::Up {
                        self.tell(side);
                        self.sides[side].dirty = true;
                        return self.flush_dirty(side);
                    }
                }
                Role::Greeting => self.answered(socket, &header, payload),
                Role::Unknown => self.greeted(socket, &header, payload),
                Role::Dialing | Role::Ending => {}
            }
        }
        bytes.drain(..parsed);
        let side = self.end(socket).side;
        self.end(socket).received = bytes;
        if self.end(socket).role == Role::Link {
            self.sides[side].dirty = true;
        }
    }

    pub(super) fn hears(&mut self, side: usize, header: &SegmentHeader, payload: &[u8]) {
        if header.kind() == Kind::Confirm {
            // The session of a dialer begins with its Confirm.
            let confirmed = self.sides[side].link.receive(header, payload, self.now);
            assert!(matches!(confirmed, Ok(None)), "an honest dialer is not believed: {header:?}");
            return;
        }
        let peer = self.sides[side].link.incarnation.expect("a link that is up has met its peer");
        let life = u32::from_le_bytes(peer[8..12].try_into().expect("four bytes"));
        let received = self.sides[side].link.receive(header, payload, self.now);
        let sender = &mut self.sides[1 - side];
        let streams = if sender.life == life { sender.link.outgoing() } else { &mut [] };
        let acked = streams.iter().find(|stream| stream.id() == header.stream.get()).map(|stream| stream.acked());
        let key = (1 - side, life, header.stream.get());
        let delivery = match received {
            Ok(Some(delivery)) => delivery,
            Ok(None) if header.kind() == Kind::Skip => {
                let gap = (header.position.get(), decode_skip(payload).expect("a position"));
                return self.sides[side].application.skipped(key, gap, acked, &mut self.records);
            }
            Ok(None) => return,
            Err(violation) => panic!("an honest peer is said to break the protocol: {violation}"),
        };
        self.sides[side].application.arrived(key, (header, payload), &delivery, acked, &mut self.records);
        self.write_and_read(side);
    }

    pub(super) fn greeted(&mut self, socket: Socket, header: &SegmentHeader, payload: &[u8]) {
        assert_eq!(header.kind(), Kind::Hello);
        let hello = Hello::decode(payload).expect("a greeting");
        let side = self.end(socket).side;
        match self.sides[side].link.greeted(&hello, self.now) {
            Verdict::Refuse(refusal) => {
                self.say(socket, Kind::Refuse, refusal.encode().to_vec());
                let deadline = self.now + LINGER;
                let end = self.end(socket);
                end.role = Role::Ending;
                end.deadline = Some(deadline);
                if end.sending.is_none() {
                    self.finish(socket);
                }
                self.at(deadline, What::ConnectionTimer(socket));
            }
            Verdict::Welcome(welcome) => {
                if let Some(older) = self.sides[side].socket.replace(socket) {
                    self.set_role(older, Role::Ending);
                    self.close(older);
                }
                self.set_role(socket, Role::Link);
                self.say(socket, Kind::Welcome, welcome.encode());
                self.tell(side);
                self.sides[side].dirty = true;
                self.schedule(side);
            }
        }
    }

    pub(super) fn answered(&mut self, socket: Socket, header: &SegmentHeader, payload: &[u8]) {
        let side = self.end(socket).side;
        let link = &mut self.sides[side].link;
        let welcomed = match header.kind() {
            Kind::Welcome => {
                let welcome = Hello::decode(payload).expect("a greeting");
                let sense = link.welcomed(&welcome, self.now);
                assert!(sense, "an honest welcome makes no sense: {welcome:?} {}", self.describe());
                sense
            }
            Kind::Refuse => {
                let refusal = Refusal::decode(payload).expect("a refusal");
                link.refused(refusal, self.now);
                let honest = matches!(
                    refusal.reason,
                    RefusalReason::Tie | RefusalReason::AlreadyConnected | RefusalReason::Stopping
                );
                assert!(honest, "an honest greeting is refused: {refusal:?}");
                false
            }
            kind => panic!("the answer is {kind:?}"),
        };
        if welcomed {
            self.set_role(socket, Role::Link);
            self.tell(side);
            self.sides[side].dirty = true;
            self.schedule(side);
        } else {
            self.disconnected(socket);
        }
    }

    pub(super) fn set_role(&mut self, socket: Socket, role: Role) {
        let end = self.end(socket);
        end.role = role;
        end.deadline = None;
    }

    pub(super) fn say(&mut self, socket: Socket, kind: Kind, payload: Vec<u8>) {
        let mut batch = Batch::default();
        batch.push_owned(SegmentHeader::new(kind), payload);
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
        if self.end(socket).role != Role::Link {
            return;
        }
        let mut batch = Batch::default();
        self.sides[side].link.transmit(self.now, &mut batch);
        if batch.is_empty() {
            return;
        }
        let full = self.end(socket.other()).pipe.bytes.len() > SOCKET_BYTES;
        if batch.bytes() > DIRECT_BYTES || full || self.random.one_in(4) {
            return self.send(socket, batch);
        }
        let mut bytes = Vec::new();
        read_batch(&batch, 0, batch.bytes(), &mut bytes);
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
        let more = if self.random.one_in(2) { rest } else { 1 + self.random.below(rest) } as usize;
        let mut bytes = Vec::new();
        read_batch(&batch, taken, taken + more, &mut bytes);
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
        match self.end(socket).role {
            Role::Link => self.sides[side].dirty = true,
            Role::Ending => self.finish(socket),
            Role::Unknown | Role::Dialing | Role::Greeting => {}
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
        let role = std::mem::replace(&mut self.end(socket).role, Role::Ending);
        self.close(socket);
        let side = self.end(socket).side;
        if matches!(role, Role::Dialing | Role::Greeting | Role::Link) {
            if self.sides[side].socket == Some(socket) {
                self.sides[side].socket = None;
                self.sides[side].link.lost(DownReason::Closed, self.now);
            }
            self.tell(side);
            self.schedule(side);
        }
    }

    pub(super) fn settle(&mut self, side: usize) {
        let state = self.sides[side].link.state();
        let proven = self.sides[side].link.is_proven();
        let mut written = false;
        for stream in self.sides[side].link.outgoing() {
            let asleep = stream.wait() || (state == State::Up && (stream.is_starved() || !proven));
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
        assert_eq!(state.up, state.link.state() == State::Up && state.link.announced, "what was told is not so");
    }
}
