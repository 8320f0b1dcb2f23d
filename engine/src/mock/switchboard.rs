//! The switchboard: servers' ends, and the packets between them.

mod stats;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use slab::Slab;

use super::Parker;
use super::stream::Stream;
use crate::delivery::{self, ArrivedBody};
use crate::delivery::{Arrived, InboxSender};
use crate::driver::Notifier;
use crate::engine::Events;
use crate::events::{Event, EventQueue, LinkState, PeerState, UntoldDrops};
use crate::inbox::Receiver;
use crate::link::{DropReason, Pid, RecvShared, Undelivered};
use crate::mailbox::{Command, Mailbox, Ready};
use crate::outbox::{OutboxShared, Sender};
use crate::roster::{LinkId, LinkKey, Roster};
use crate::runtime::{LoopHandle, VirtualClock};
use crate::stats::StatsTable;
use crate::stream::{Counters, Lane};
use crate::time::{Clock, Time};
use crate::wire::WireIncarnation;

/// What a server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of each stream's ring.
    pub ring_bytes: usize,
    /// What may be under way on one stream before the recipient has read it, in bytes.
    pub window_bytes: u64,
    /// The longest envelope, in bytes.
    pub max_envelope_bytes: u64,
}

/// A server's ends.
pub struct Ends {
    /// What arrives.
    pub receiver: Receiver,
    /// What is sent.
    pub sender: Sender,
    /// What happens to its peers.
    pub events: Events,
}

/// One envelope on its way to one server. Must be [delivered](Switchboard::deliver) or [lost](Switchboard::lose).
#[derive(Debug)]
#[must_use = "a packet that is neither delivered nor lost takes up room for ever"]
pub struct Packet {
    /// Who sent it.
    pub from: Pid,
    /// Who is to get it.
    pub to: Pid,
    /// On which lane.
    pub lane: Lane,
    /// The message id.
    pub id: i64,
    /// The payload.
    pub payload: Bytes,
    /// The incarnation of the recipient that it is for, if it is for one alone.
    pub only: Option<WireIncarnation>,
    stream: usize,
}

/// Servers without a network.
pub struct Switchboard {
    limits: Limits,
    clock: Clock,
    mailbox: Arc<Mailbox>,
    notifier: Arc<Notifier>,
    /// Each incarnation of each server has a place of its own.
    servers: Vec<Option<Server>>,
    running: BTreeMap<Pid, u32>,
    streams: Slab<Stream>,
    /// The streams from a server's place to a peer.
    links: HashMap<(u32, Pid), Vec<usize>>,
    dirty: VecDeque<usize>,
    /// Links of peers that were removed since the mail was last read, each with its server's place.
    removed: Vec<(u32, LinkId)>,
    /// Servers whose inbox was given something.
    touched: Vec<u32>,
}

struct Server {
    pid: Pid,
    incarnation: WireIncarnation,
    inbox: InboxSender,
    events: Arc<EventQueue>,
    outboxes: Arc<OutboxShared>,
    /// The peers, by their links: also those that were removed, until what their outboxes have said before is heard.
    links: HashMap<LinkId, Pid>,
    counts: BTreeMap<Pid, Counts>,
}

#[derive(Default)]
struct Counts {
    expired: u64,
    removed: u64,
    other_incarnation: u64,
    lost: u64,
    duplicated: u64,
    untold: UntoldDrops,
    sending: Vec<Arc<Counters>>,
    receiving: Vec<Arc<RecvShared>>,
}

impl Switchboard {
    /// A switchboard without servers.
    pub fn new(limits: Limits) -> Switchboard {
        let notifier = Arc::new(Notifier::for_thread());
        Switchboard {
            limits,
            mailbox: Arc::new(Mailbox::new(notifier.clone())),
            notifier,
            servers: Vec::new(),
            running: BTreeMap::new(),
            clock: Clock::start(),
            streams: Slab::new(),
            links: HashMap::new(),
            dirty: VecDeque::new(),
            removed: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// The moment from which the times are counted that the switchboard is given.
    pub fn start(&self) -> Instant {
        self.clock.start_instant()
    }

    /// What servers wait with. With a `clock` whoever waits turns that; else a thread turns the switchboard.
    pub fn loop_handle(&self, clock: Option<Arc<dyn VirtualClock>>) -> LoopHandle {
        LoopHandle::without_loop(self.mailbox.clone(), self.clock, clock)
    }

    /// The sleep of the thread that turns the switchboard.
    pub fn parker(&self) -> Parker {
        Parker { mailbox: self.mailbox.clone(), notifier: self.notifier.clone() }
    }

    /// A server starts. `peers` are sorted, each once.
    ///
    /// # Panics
    /// When a server with this pid runs.
    pub fn join(
        &mut self,
        pid: Pid,
        incarnation: WireIncarnation,
        peers: Vec<Pid>,
        loop_handle: &LoopHandle,
        now: Time,
    ) -> Ends {
        assert!(!self.running.contains_key(&pid), "server {pid} runs already");
        let place = self.servers.len() as u32;
        let events = EventQueue::new(peers.iter().copied(), now);
        let callbacks = events.callbacks();
        let (inbox, arrivals) = delivery::arrivals(delivery::ARRIVALS, callbacks.clone());
        let receiver = Receiver::new(arrivals, self.mailbox.clone());
        debug_assert!(peers.is_sorted_by(|a, b| a < b));
        let outboxes = Arc::new(OutboxShared {
            node: place,
            roster: Arc::new(Roster::new(peers.iter().copied())),
            stats: StatsTable::new(),
            ring_bytes: self.limits.ring_bytes,
            max_envelope_bytes: self.limits.max_envelope_bytes,
            numbers: AtomicU32::new(0),
            outboxes: AtomicU32::new(0),
            grace: Arc::default(),
            spares: Mutex::default(),
            callbacks,
        });
        self.servers.push(Some(Server {
            pid,
            incarnation,
            inbox,
            events: events.clone(),
            outboxes: outboxes.clone(),
            links: (0..).map(LinkId::first).zip(peers).collect(),
            counts: BTreeMap::new(),
        }));
        self.running.insert(pid, place);
        Ends {
            receiver,
            sender: Sender::new(outboxes, loop_handle.clone()),
            events: Events::new(events, loop_handle.clone()),
        }
    }

    /// Gives the server `pid` another list of peers, sorted, each once. What it has sent stays sent.
    pub fn regroup(&mut self, pid: Pid, peers: &[Pid]) {
        let Some(&place) = self.running.get(&pid) else { return };
        let Some(server) = &mut self.servers[place as usize] else { return };
        let (_, present) = server.outboxes.roster.read();
        for (gone, _) in present.iter().filter(|(peer, _)| peers.binary_search(peer).is_err()) {
            self.removed.extend(server.outboxes.remove_peer(*gone).map(|link| (place, link)));
        }
        for peer in peers {
            server.outboxes.roster.add(*peer, |link| {
                server.links.insert(link, *peer);
            });
        }
    }

    /// What the server has sent to a peer and nobody has received or lost is gone. Returns what that was.
    pub fn give_up(&mut self, pid: Pid, peer: Pid) -> Undelivered {
        let gone = self.undelivered(pid).into_iter().find(|each| each.pid == peer);
        let gone = gone.unwrap_or(Undelivered { pid: peer, messages: 0, bytes: 0 });
        let Some(&place) = self.running.get(&pid) else { return gone };
        for index in self.links.get(&(place, peer)).cloned().unwrap_or_default() {
            self.streams[index].close();
            self.forget(index);
        }
        if let Some(server) = self.server(pid) {
            server.counts.entry(peer).or_default().removed += gone.messages;
        }
        gone
    }

    /// Whether the server runs.
    pub fn is_running(&self, pid: Pid) -> bool {
        self.running.contains_key(&pid)
    }

    /// The servers that run, ascending.
    pub fn running(&self) -> impl Iterator<Item = Pid> {
        self.running.keys().copied()
    }

    /// The outboxes of the server take nothing more.
    pub fn refuse(&mut self, pid: Pid) {
        if let Some(server) = self.server(pid) {
            server.outboxes.close();
        }
    }

    /// What the outboxes of the server took and nobody has received or lost, by peer.
    pub fn undelivered(&mut self, pid: Pid) -> Vec<Undelivered> {
        let Some(&place) = self.running.get(&pid) else { return Vec::new() };
        let mut peers: BTreeMap<Pid, Undelivered> = BTreeMap::new();
        for (_, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.from == place) {
            let (messages, bytes) = stream.undelivered();
            let peer = peers.entry(stream.to).or_insert(Undelivered { pid: stream.to, messages: 0, bytes: 0 });
            peer.messages += messages;
            peer.bytes += bytes;
        }
        peers.into_values().filter(|undelivered| undelivered.messages > 0).collect()
    }

    /// The server ends: its inbox closes, its outboxes take nothing more, and what they had not handed out is gone.
    pub fn leave(&mut self, pid: Pid) {
        self.refuse(pid);
        let Some(place) = self.running.remove(&pid) else { return };
        self.servers[place as usize] = None;
        for index in self.streams.iter().map(|(index, _)| index).collect::<Vec<_>>() {
            let stream = &mut self.streams[index];
            if stream.to == pid {
                stream.begin_anew();
                stream.is_blocked = false;
                self.mark(index);
            } else if stream.from == place {
                stream.close();
                self.forget(index);
            }
        }
    }

    /// Takes what the outboxes have written since the last call; what has expired `now` is dropped.
    ///
    /// Returns whether there was anything to look at.
    pub fn collect(&mut self, now: Time, packets: &mut Vec<Packet>) -> bool {
        let mut worked = !self.dirty.is_empty();
        while let Some(command) = self.mailbox.next_command() {
            worked = true;
            // Nothing else is said to a switchboard.
            if let Command::Open { link, stream } = command {
                self.open(link, *stream);
            }
        }
        while let Some(ready) = self.mailbox.next_ready() {
            worked = true;
            match ready {
                Ready::Link(key) => {
                    let Some(Some(server)) = self.servers.get(key.node as usize) else { continue };
                    match server.links.get(&key.link) {
                        Some(&peer) => {
                            for stream in self.links.get(&(key.node, peer)).into_iter().flatten() {
                                mark(&mut self.streams, &mut self.dirty, *stream);
                            }
                        }
                        // Said late, by somebody who had written before the removal: to whom is not known any more.
                        None => {
                            for (index, stream) in &mut self.streams {
                                if stream.from == key.node && !std::mem::replace(&mut stream.is_dirty, true) {
                                    self.dirty.push_back(index);
                                }
                            }
                        }
                    }
                }
                Ready::Consumed(key) => self.mark(key.link.index as usize),
                // What was written is handed out at once.
                Ready::RequestAck(_) | Ready::Nothing => {}
            }
        }
        self.let_go_of_removed();
        while let Some(index) = self.dirty.pop_front() {
            let Some(stream) = self.streams.get_mut(index) else { continue };
            stream.is_dirty = false;
            let Some(server) = &self.servers[stream.from as usize] else { continue };
            let (from, to, lane) = (server.pid, stream.to, stream.lane);
            let dropped = stream.take(now, &mut |id, payload, only| {
                packets.push(Packet { from, to, lane, id, payload, only, stream: index });
            });
            if dropped > 0 {
                let place = stream.from;
                self.dropped(place, to, dropped);
            }
            self.forget(index);
        }
        worked
    }

    /// Whatever was written to peers that were removed is in a stream that is known here: their links' places may be
    /// used again.
    fn let_go_of_removed(&mut self) {
        for (place, link) in self.removed.drain(..) {
            if let Some(server) = &mut self.servers[place as usize] {
                server.links.remove(&link);
                server.outboxes.roster.release(link);
            }
        }
    }

    fn dropped(&mut self, place: u32, to: Pid, count: u64) {
        if let Some(server) = &mut self.servers[place as usize] {
            let counts = server.counts.entry(to).or_default();
            counts.expired += count;
            server.events.dropped(&mut counts.untold, to, count, DropReason::Expired);
        }
    }

    fn open(&mut self, link: LinkKey, reader: crate::stream::SendWindow) {
        let place = link.node;
        let Some(Some(server)) = self.servers.get_mut(place as usize) else { return };
        let Some(&to) = server.links.get(&link.link) else { return };
        server.counts.entry(to).or_default().sending.push(reader.counters().clone());
        let stream = Stream::new(place, server.incarnation, to, self.limits.window_bytes, reader);
        let index = self.streams.insert(stream);
        self.links.entry((place, to)).or_default().push(index);
        self.mark(index);
    }

    /// Returns whether a packet may be given to the recipient that runs now: it is not for another incarnation alone.
    pub fn is_for_present(&self, packet: &Packet) -> bool {
        let place = self.running.get(&packet.to);
        let server = place.and_then(|place| self.servers[*place as usize].as_ref());
        packet.only.is_none_or(|only| server.is_none_or(|server| server.incarnation == only))
    }

    /// Puts a packet into the inbox that it is for. `false`: its server does not run, and the packet is lost.
    pub fn deliver(&mut self, packet: Packet) -> bool {
        let Some(&place) = self.running.get(&packet.to) else {
            self.lose(packet);
            return false;
        };
        let (stream, length) = (&mut self.streams[packet.stream], packet.payload.len());
        stream.end(length);
        let is_first = stream.arrive(length);
        let (shared, incarnation) = (stream.shared().clone(), stream.incarnation);
        let is_present = self.running.get(&packet.from) == Some(&stream.from);
        if let Some(server) = &mut self.servers[place as usize] {
            let receiving = &mut server.counts.entry(packet.from).or_default().receiving;
            if is_first {
                receiving.push(shared.clone());
                // The sender may be heard before a link with it is up: where one direction is cut.
                if is_present && let Some(link) = server.outboxes.roster.link_of(packet.from) {
                    server.outboxes.roster.set_incarnation(link, incarnation);
                }
            }
            // The key comes back when the application has read: see `collect`.
            let link = LinkKey { node: 0, link: LinkId::first(packet.stream as u32) };
            let body = ArrivedBody::Whole { id: packet.id, payload: packet.payload };
            server.inbox.push(Arrived {
                pid: packet.from,
                link,
                session: 0,
                incarnation,
                stream: shared,
                room: crate::wire::frame_bytes(length) as u64,
                body,
            });
            if self.touched.last() != Some(&place) {
                self.touched.push(place);
            }
        }
        self.ended(packet.stream);
        true
    }

    /// A packet that arrives nowhere.
    pub fn lose(&mut self, packet: Packet) {
        if let Some(server) = self.end(&packet) {
            server.counts.entry(packet.to).or_default().lost += 1;
        }
        self.ended(packet.stream);
    }

    /// A packet that is not given to its recipient, which is another incarnation: see
    /// [`is_for_present`](Switchboard::is_for_present). Its sender is told.
    pub fn withhold(&mut self, packet: Packet) {
        if let Some(server) = self.end(&packet) {
            let counts = server.counts.entry(packet.to).or_default();
            counts.other_incarnation += 1;
            server.events.dropped(&mut counts.untold, packet.to, 1, DropReason::OtherIncarnation);
        }
        self.ended(packet.stream);
    }

    /// Returns the sender of a packet that is not under way any more.
    fn end(&mut self, packet: &Packet) -> Option<&mut Server> {
        let stream = &mut self.streams[packet.stream];
        stream.end(packet.payload.len());
        self.servers[stream.from as usize].as_mut()
    }

    /// A second packet of the same kind.
    pub fn duplicate(&mut self, packet: &Packet) -> Packet {
        let Packet { from, to, lane, id, ref payload, only, stream } = *packet;
        self.streams[stream].begin(payload.len());
        if let Some(server) = &mut self.servers[self.streams[stream].from as usize] {
            server.counts.entry(to).or_default().duplicated += 1;
        }
        Packet { from, to, lane, id, payload: payload.clone(), only, stream }
    }

    /// Wakes the applications that were given something since the last call.
    pub fn wake(&mut self) {
        for place in self.touched.drain(..) {
            if let Some(Some(server)) = self.servers.get_mut(place as usize) {
                server.inbox.wake();
            }
        }
    }

    /// Tells a server what has happened.
    pub fn tell(&mut self, pid: Pid, event: Event, now: Time) {
        let Some(server) = self.server(pid) else { return };
        if let Event::Up { pid, .. } | Event::Down { pid, .. } | Event::Restarted { pid, .. } = &event {
            server.counts.entry(*pid).or_default().untold.begin_anew();
        }
        if let Event::Up { pid, incarnation } = &event
            && let Some(link) = server.outboxes.roster.link_of(*pid)
        {
            server.outboxes.roster.set_incarnation(link, *incarnation);
        }
        server.events.push(event, now);
    }

    /// Adds a peer to a server that runs.
    pub fn meet(&mut self, pid: Pid, peer: Pid, now: Time) {
        if let Some(server) = self.server(pid) {
            server.events.meet(peer, now);
        }
    }

    /// Removes a peer from a server that runs.
    pub fn part(&mut self, pid: Pid, peer: Pid) {
        if let Some(server) = self.server(pid) {
            server.events.part(peer);
        }
    }

    /// State of the link from a server to one of its peers. `None` if the server does not run.
    pub fn peer_state(&mut self, pid: Pid, peer: Pid, now: Time) -> Option<PeerState> {
        let events = &self.server(pid)?.events;
        events.meet(peer, now);
        let mut state = events.peer_state(peer, now)?;
        if state.link == LinkState::Idle {
            // An idle peer is one that cannot be reached: the mock links all others at once, see `Event::Up`.
            state.link = LinkState::Connecting;
        }
        Some(state)
    }

    fn server(&mut self, pid: Pid) -> Option<&mut Server> {
        let place = *self.running.get(&pid)?;
        self.servers[place as usize].as_mut()
    }

    fn mark(&mut self, index: usize) {
        mark(&mut self.streams, &mut self.dirty, index);
    }

    /// A packet of the stream is not under way any more: there may be room for others.
    fn ended(&mut self, index: usize) {
        if self.streams[index].is_blocked {
            self.mark(index);
        }
        self.forget(index);
    }

    fn forget(&mut self, index: usize) {
        if self.streams[index].is_over() {
            let Stream { from, to, .. } = self.streams.remove(index);
            if let Some(streams) = self.links.get_mut(&(from, to)) {
                streams.retain(|stream| *stream != index);
            }
        }
    }
}

fn mark(streams: &mut Slab<Stream>, dirty: &mut VecDeque<usize>, index: usize) {
    if let Some(stream) = streams.get_mut(index)
        && !stream.is_dirty
    {
        stream.is_dirty = true;
        dirty.push_back(index);
    }
}
