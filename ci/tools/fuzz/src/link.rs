//! Target for sessions and their link: any bytes of a peer on several connections, the end of connections, and calls of
//! the application.

mod speech;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster_engine::batch::{Batch, Piece};
use cluster_engine::link::{Arrival, Delivery, DownReason, Local, Notice, OneLink, RecvShared, State, Want};
use cluster_engine::session::{Session, SessionEvent};
use cluster_engine::stream::{SendQueue, stream};
use cluster_engine::wire::{
    GoodbyeReason, Hello, Kind, NO_STREAM, Refusal, RefusalReason, SEGMENT_HEADER_BYTES, SegmentHeader,
    WireIncarnation, encode_challenge,
};
use cluster_engine::{Body, Pid, Time};
use zerocopy::IntoBytes;

use crate::allocations::within;
use crate::input::Input;

/// Memory limit of a link in bytes: one begun envelope on each of the four streams of [`STREAMS`], and what the link
/// writes itself.
const MEMORY: usize = 16 << 20;
const WINDOW: u64 = 128 * 1024;
const MAX_ENVELOPE: u64 = 64 << 20;
/// Streams that the peer names.
const STREAMS: [u32; 5] = [0, 1, 2, 7, NO_STREAM];
/// Most steps for one link.
const STEPS: usize = 400;
const PEER: u64 = 200;
/// Incarnation of this side.
const US: WireIncarnation = [1; 16];

/// Runs the steps of an input on one link, in whichever states they lead to.
pub fn link(bytes: &[u8]) {
    within(MEMORY, || {
        let mut scene = Scene::new(Input::new(bytes));
        for _ in 0..STEPS {
            if scene.input.is_empty() {
                break;
            }
            scene.step();
            scene.check();
        }
    });
}

struct Scene<'a> {
    input: Input<'a>,
    pid: Pid,
    links: OneLink,
    now: Time,
    /// Number of streams that this side has opened.
    opened: u32,
    writers: Vec<SendQueue>,
    batch: Batch,
    /// Connections, and which of them the link has.
    connections: Vec<Connection>,
    current: Option<usize>,
    /// Incarnation of the peer that was believed last.
    incarnation: Option<WireIncarnation>,
    /// Next position of each of the peer's streams of which something has arrived.
    next: BTreeMap<u32, u64>,
    inbox: Vec<Unread>,
}

/// Session, and what was said on it.
struct Connection {
    session: Session<()>,
    /// Hello or Welcome of the peer.
    heard: Option<Hello>,
    /// Challenge of this side's Welcome.
    challenge: u64,
}

/// Unread delivery on one stream.
struct Unread {
    stream: Arc<RecvShared>,
    /// Bytes of room that it takes up.
    room: u64,
    /// Bytes of whole frames in it.
    bytes: u64,
}

impl<'a> Scene<'a> {
    fn new(mut input: Input<'a>) -> Scene<'a> {
        // Of two links that dial at once, the dial of the lower pid is kept: this side may be either.
        let pid = if input.chance() { 100 } else { 300 };
        let local = Local {
            pid,
            incarnation: US,
            secret: 7,
            cluster: "fuzz".to_owned(),
            window_bytes: WINDOW,
            max_envelope_bytes: MAX_ENVELOPE,
            socket_bytes: 0,
            checksum_payload: false,
            heartbeat_interval: Duration::from_millis(250),
            peer_timeout: Duration::from_millis(1250),
            eager: input.chance(),
        };
        let mut scene = Scene {
            input,
            pid,
            links: OneLink::new(local, PEER),
            now: Time::default(),
            opened: 0,
            writers: Vec::new(),
            batch: Batch::default(),
            connections: Vec::new(),
            current: None,
            incarnation: None,
            next: BTreeMap::new(),
            inbox: Vec::new(),
        };
        scene.open();
        scene
    }

    fn step(&mut self) {
        match self.input.below(32) {
            0 => self.wait(),
            1 => self.accept(),
            2 => self.dial(),
            3 => self.answer(),
            4 => self.confirm(),
            5 => self.end(),
            6 => self.open(),
            7 => drop(self.writers.pop()),
            8 => self.links.link.request_ack(),
            9 if self.input.below(16) == 0 => self.stop(),
            10..13 => self.transmit(),
            13..16 => self.write(),
            16..19 => self.read(),
            19 => self.hear_bytes(),
            _ => self.hear(),
        }
    }

    fn check(&mut self) {
        for stream in self.links.link.outgoing() {
            let (acked, sent, written) = (stream.acked(), stream.sent(), stream.written());
            assert!(acked <= sent && sent <= written, "{acked} {sent} {written}");
        }
        let _ = (self.links.link.deadline(), self.links.link.take_notices());
    }

    fn wait(&mut self) {
        self.now += Duration::from_millis([1, 25, 50, 250, 500, 1250, 2000, 60_000][self.input.below(8)]);
        self.links.link.timeout(self.now, self.now);
        for index in 0..self.connections.len() {
            let session = &mut self.connections[index].session;
            if session.deadline().is_some_and(|deadline| deadline <= self.now) {
                let event = session.timeout(&mut self.links, self.now, self.now);
                self.handle(index, event);
            }
        }
        self.follow();
    }

    /// Does what the link wants.
    fn follow(&mut self) {
        match self.links.link.wants(self.now, false) {
            Want::Nothing => {}
            Want::Hangup => {
                if let Some(current) = self.current.take() {
                    self.connections[current].session.abandon();
                }
            }
            Want::Dial => {
                self.links.link.dials(self.now);
                if self.input.chance() {
                    return self.links.link.dial_failed(self.now);
                }
                self.current = Some(self.connect(Session::dialing(())));
            }
        }
    }

    /// Adds a connection in the place of one that has ended, or of the oldest.
    fn connect(&mut self, session: Session<()>) -> usize {
        let connection = Connection { session, heard: None, challenge: 0 };
        let ended = self.connections.iter().position(|connection| connection.session.is_ended());
        let full = self.connections.len() >= 4;
        let other = (0..self.connections.len()).find(|index| Some(*index) != self.current).filter(|_| full);
        let Some(index) = ended.or(other) else {
            self.connections.push(connection);
            return self.connections.len() - 1;
        };
        self.lose(index);
        self.connections[index] = connection;
        index
    }

    fn lose(&mut self, index: usize) {
        let reason = if self.input.chance() { DownReason::Closed } else { DownReason::NoMemory };
        self.connections[index].session.lost(reason, &mut self.links, self.now);
        if self.current == Some(index) {
            self.current = None;
        }
    }

    /// Returns a connection that has not ended.
    fn some_connection(&mut self) -> Option<usize> {
        let live = (0..self.connections.len()).filter(|index| !self.connections[*index].session.is_ended());
        let live: Vec<usize> = live.collect();
        if live.is_empty() { None } else { Some(live[self.input.below(live.len())]) }
    }

    fn end(&mut self) {
        if let Some(index) = self.some_connection() {
            self.lose(index);
        }
    }

    fn stop(&mut self) {
        for connection in &mut self.connections {
            connection.session.close(GoodbyeReason::Stopped, &mut self.links, self.now, &mut self.batch);
        }
        self.links.link.close(GoodbyeReason::Stopped, &mut self.batch);
        self.current = None;
    }

    fn dial(&mut self) {
        self.follow();
        if let Some(current) = self.current.filter(|_| self.links.link.state() == State::Dialing) {
            assert!(self.connections[current].session.connected(&mut self.links, self.now));
            let hello = self.handshake(current).expect("a Hello");
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }
    }

    /// Takes the greeting that the session is to send.
    fn handshake(&mut self, index: usize) -> Option<Hello> {
        self.batch.clear();
        self.connections[index].session.transmit_handshake(&mut self.batch);
        let said = self.batch.pieces().iter().find_map(|piece| match piece {
            Piece::Owned(payload) => Hello::decode(payload).ok(),
            _ => None,
        });
        self.batch.clear();
        said
    }

    /// Accepts a connection, on which the peer greets.
    fn accept(&mut self) {
        let index = self.connect(Session::accepted(self.now));
        let hello = self.hello();
        self.connections[index].heard = Some(hello.clone());
        self.say(index, Kind::Hello, &hello.encode());
        if let Some(welcome) = self.handshake(index) {
            self.connections[index].challenge = welcome.challenge;
        }
        self.follow();
        if self.input.below(16) != 15 {
            self.confirm_on(index);
        }
    }

    /// Answers the Hello of this side.
    fn answer(&mut self) {
        let Some(current) = self.current else { return };
        if self.input.below(8) == 7 {
            let reason = [RefusalReason::Tie, RefusalReason::UnknownPeer][self.input.below(2)];
            return self.say(current, Kind::Refuse, &Refusal { reason, from: PEER }.encode());
        }
        let welcome = self.hello();
        if self.links.link.state() == State::Greeting {
            self.connections[current].heard = Some(welcome.clone());
        }
        self.say(current, Kind::Welcome, &welcome.encode());
    }

    /// Confirms on a connection that was accepted.
    fn confirm(&mut self) {
        if let Some(index) = self.some_connection() {
            self.confirm_on(index);
        }
    }

    fn confirm_on(&mut self, index: usize) {
        let challenge = self.connections[index].challenge;
        self.say(index, Kind::Confirm, &encode_challenge(challenge));
    }

    /// Hands a whole segment to a session.
    fn say(&mut self, index: usize, kind: Kind, payload: &[u8]) {
        let mut header = SegmentHeader::new(kind);
        header.seal(&[payload]);
        let bytes = [header.as_bytes(), payload].concat();
        let event = self.receive(index, &bytes);
        self.handle(index, event);
    }

    fn receive(&mut self, index: usize, bytes: &[u8]) -> Option<SessionEvent<()>> {
        let session = &mut self.connections[index].session;
        session.rebase();
        let event = session.receive(bytes, &mut self.links, self.now);
        assert!(session.parsed() <= bytes.len());
        event
    }

    /// Does what the owner of sessions does.
    fn handle(&mut self, index: usize, event: Option<SessionEvent<()>>) {
        match event {
            None | Some(SessionEvent::Delivery { .. } | SessionEvent::Control) => {}
            Some(SessionEvent::Welcomed(())) => assert!(self.connections[index].session.is_greeted()),
            Some(SessionEvent::Established(())) => {
                if let Some(older) = self.current.replace(index).filter(|older| *older != index) {
                    self.connections[older].session.abandon();
                }
                let heard = self.connections[index].heard.clone().expect("the peer has greeted");
                self.met(&heard);
            }
            Some(SessionEvent::Refused | SessionEvent::Closed(_)) => {
                assert!(self.connections[index].session.is_ended());
                if self.current == Some(index) {
                    self.current = None;
                    assert_ne!(self.links.link.state(), State::Up);
                }
            }
        }
    }

    /// Hands any bytes to a session.
    fn hear_bytes(&mut self) {
        let Some(index) = self.some_connection() else { return };
        let length = self.input.below(128);
        let bytes = self.input.take(length).to_vec();
        let event = self.receive(index, &bytes);
        self.handle(index, event);
    }

    /// Forgets the streams that do not go on in the session that has begun. A stream of which something has arrived
    /// goes on behind it, unless the greeting does not list it, the incarnation is another one, or the link has told of
    /// a reset.
    fn met(&mut self, hello: &Hello) {
        assert_eq!(self.links.link.state(), State::Up);
        let is_reset = self.links.link.take_notices().contains(&Notice::Reset);
        if self.incarnation.replace(hello.incarnation) != Some(hello.incarnation) || is_reset {
            self.next.clear();
        }
        self.next.retain(|stream, _| hello.sending.iter().any(|entry| entry.stream.get() == *stream));
    }

    /// Hands a segment to the session of the link, or to another one. A violation of the protocol ends the connection.
    fn hear(&mut self) {
        const KINDS: [Kind; 10] = [
            Kind::Data,
            Kind::Skip,
            Kind::Ack,
            Kind::End,
            Kind::Heartbeat,
            Kind::Goodbye,
            Kind::Hello,
            Kind::Welcome,
            Kind::Refuse,
            Kind::Confirm,
        ];
        let choice = self.input.below(16);
        let kind = KINDS[if choice < 10 { choice } else { 0 }];
        let stream = STREAMS[self.input.below(5)];
        let next = self.next.get(&stream).copied();
        let mut header = SegmentHeader::new(kind);
        header.stream = stream.into();
        header.position = self.input.number(next.unwrap_or(0)).into();
        header.flags = u16::from(self.input.byte() & 0x1F).into();
        if self.input.chance() {
            let (stream, position, credit) = self.grant();
            (header.ack_stream, header.ack_position, header.ack_credit) =
                (stream.into(), position.into(), credit.into());
        }
        let payload = self.payload(kind, header.position.get());
        header.seal(&[&payload]);
        let position = header.position.get();
        let Some(index) = self.current.or_else(|| self.some_connection()) else { return };
        let was_up = self.connections[index].session.up().is_some();
        let bytes = [header.as_bytes(), &payload].concat();
        let event = self.receive(index, &bytes);
        match event {
            Some(SessionEvent::Delivery { delivery, .. }) => {
                assert!(was_up && kind == Kind::Data);
                assert!(next.is_none_or(|next| position == next), "{position} taken, expected {next:?}");
                self.next.insert(stream, position + payload.len() as u64);
                self.delivered(delivery, payload.len() as u64);
            }
            Some(SessionEvent::Control) => match kind {
                Kind::Skip => {
                    let to = payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                    self.next.insert(stream, to);
                }
                Kind::End => drop(self.next.remove(&stream)),
                Kind::Ack | Kind::Heartbeat => {}
                kind => panic!("{kind:?} has no place in a session"),
            },
            event => self.handle(index, event),
        }
    }

    fn delivered(&mut self, delivery: Delivery, length: u64) {
        let bytes = match &delivery.arrival {
            Arrival::Frames => length,
            // Only the beginning of a whole envelope needs credit, whatever the window.
            Arrival::Whole { payload, .. } => {
                assert!(payload.len() as u64 <= MAX_ENVELOPE);
                0
            }
            Arrival::Part => return,
        };
        self.inbox.push(Unread { stream: delivery.stream, room: delivery.room, bytes });
        let unread: u64 = self.inbox.iter().map(|unread| unread.bytes).sum();
        assert!(unread <= WINDOW, "{unread} unread bytes came, {WINDOW} had credit");
    }

    fn open(&mut self) {
        if self.writers.len() < 4 && self.opened < 8 {
            let (writer, reader) = stream(self.opened, 64 * 1024, 1 << 20).unwrap();
            self.opened += 1;
            self.writers.push(writer);
            self.links.link.open(reader);
        }
    }

    fn write(&mut self) {
        let (length, outbox) = ([0, 8, 33, 1_000, 30_000, 100_000][self.input.below(6)], self.input.below(4));
        if let Some(writer) = self.writers.get_mut(outbox) {
            let _ = writer.push(1, &Body::from(vec![7; length]));
        }
    }

    fn read(&mut self) {
        if self.inbox.is_empty() {
            return;
        }
        let Unread { stream, room, bytes } = self.inbox.remove(0);
        if stream.consume(room, 1, bytes) {
            self.links.link.consumed();
        }
    }

    fn transmit(&mut self) {
        self.batch.clear();
        self.follow();
        if let Some(current) = self.current.filter(|current| self.connections[*current].session.up().is_some()) {
            self.connections[current].session.transmit(&mut self.links.link, self.now, &mut self.batch);
        }
        assert!(self.batch.bytes() >= self.batch.segments() * SEGMENT_HEADER_BYTES);
        let _ = self.links.link.take_opened();
    }
}
