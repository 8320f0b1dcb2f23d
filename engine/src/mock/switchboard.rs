//! Switchboard: the servers, their handles, and the packets between them.

mod delivering;
mod peers;
mod stats;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use slab::Slab;

use super::Parker;
use super::stream::Stream;
use crate::delivery::{self, InboxSender};
use crate::driver::Notifier;
use crate::engine::Events;
use crate::events::{EventQueue, UnreportedDrops};
use crate::inbox::Receiver;
use crate::link::{DropReason, Pid, RecvShared, Undelivered};
use crate::mailbox::{Alarm, Command, Mailbox, Ready};
use crate::outbox::{OutboxShared, Sender};
use crate::roster::{LinkId, LinkKey, Roster};
use crate::runtime::{LoopHandle, VirtualClock};
use crate::stats::StatsTable;
use crate::stream::{Counters, Dropped, Lane};
use crate::wire::WireIncarnation;
use crate::{clock::Clock, time::Time};

/// Limits of each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of each stream's ring, in bytes.
    pub ring_bytes: usize,
    /// Bytes of one stream that may be under way or unread, frame headers included. Further envelopes wait in the ring.
    pub window_bytes: u64,
    /// Payload bytes of the longest envelope.
    pub max_envelope_bytes: u64,
}

/// Handles of a server.
pub struct Ends {
    /// Receives envelopes.
    pub receiver: Receiver,
    /// Sends envelopes.
    pub sender: Sender,
    /// Reports events about the server's peers.
    pub events: Events,
}

/// Envelope on its way to a server.
///
/// It must be [delivered](Switchboard::deliver), [lost](Switchboard::lose) or [withheld](Switchboard::withhold).
#[derive(Debug)]
#[must_use = "a packet that is neither delivered nor lost takes up room for ever"]
pub struct Packet {
    /// Pid of the sender.
    pub from: Pid,
    /// Pid of the recipient.
    pub to: Pid,
    /// Lane of the stream.
    pub lane: Lane,
    /// Message id.
    pub id: i64,
    /// Payload.
    pub payload: Bytes,
    /// Incarnation of the recipient that alone the envelope is for. `None` if it is for any.
    pub only: Option<WireIncarnation>,
    stream: usize,
}

/// Servers that exchange packets without a network.
pub struct Switchboard {
    limits: Limits,
    clock: Clock,
    mailbox: Arc<Mailbox>,
    notifier: Arc<Notifier>,
    /// By slot. Each incarnation of each server has a slot of its own.
    servers: Vec<Option<Server>>,
    running: BTreeMap<Pid, u32>,
    streams: Slab<Stream>,
    /// Streams by the slot of the sending server and the pid of the peer.
    links: HashMap<(u32, Pid), Vec<usize>>,
    dirty: VecDeque<usize>,
    /// Links of the peers that were removed since the last `collect`, each with the slot of its server.
    removed: Vec<(u32, LinkId)>,
    /// Slots of the servers whose inboxes have received something since the last `wake`.
    touched: Vec<u32>,
    /// Alarms that applications have set since the last `take_alarms`.
    alarms: Vec<(Time, Alarm)>,
}

struct Server {
    pid: Pid,
    incarnation: WireIncarnation,
    inbox: InboxSender,
    events: Arc<EventQueue>,
    outboxes: Arc<OutboxShared>,
    /// Peers by link. A removed peer stays until all earlier signals of the outboxes were handled.
    links: HashMap<LinkId, Pid>,
    counts: BTreeMap<Pid, Counts>,
}

#[derive(Default)]
struct Counts {
    expired: u64,
    withdrawn: u64,
    removed: u64,
    other_incarnation: u64,
    lost: u64,
    duplicated: u64,
    unreported: UnreportedDrops,
    sending: Vec<Arc<Counters>>,
    receiving: Vec<Arc<RecvShared>>,
}

impl Switchboard {
    /// Makes a switchboard without servers.
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
            alarms: Vec::new(),
        }
    }

    /// Takes the alarms that applications have set since the last call, with their times.
    pub fn take_alarms(&mut self) -> Vec<(Time, Alarm)> {
        std::mem::take(&mut self.alarms)
    }

    /// Returns the moment from which each [`Time`] given to the switchboard counts.
    pub fn start(&self) -> Instant {
        self.clock.start_instant()
    }

    /// Makes the handle with which servers wait. With a `clock`, a thread that waits drives that clock. Without one, a
    /// thread drives the switchboard.
    pub fn loop_handle(&self, clock: Option<Arc<dyn VirtualClock>>) -> LoopHandle {
        LoopHandle::without_loop(self.mailbox.clone(), self.clock, clock)
    }

    /// Returns the sleep of the thread that drives the switchboard.
    pub fn parker(&self) -> Parker {
        Parker { mailbox: self.mailbox.clone(), notifier: self.notifier.clone() }
    }

    /// Starts a server. `peers` are sorted, each pid once.
    ///
    /// # Panics
    /// Panics when a server with this pid is running.
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

    /// Replaces the peers of the server `pid`. `peers` are sorted, each pid once. Envelopes already sent stay sent.
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

    /// Gives up all undelivered envelopes from the server `pid` to a peer. Returns their number and payload bytes.
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

    /// Returns whether the server is running.
    pub fn is_running(&self, pid: Pid) -> bool {
        self.running.contains_key(&pid)
    }

    /// Returns the pids of the running servers, ascending.
    pub fn running(&self) -> impl Iterator<Item = Pid> {
        self.running.keys().copied()
    }

    /// Makes the server's outboxes refuse further envelopes.
    pub fn refuse(&mut self, pid: Pid) {
        if let Some(server) = self.server(pid) {
            server.outboxes.close();
        }
    }

    /// Returns the envelopes that the server's outboxes accepted and that were neither delivered nor lost, by peer.
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

    /// Ends a server. Its inbox closes, its outboxes refuse further envelopes, and envelopes not yet handed out are
    /// discarded.
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

    /// Takes the envelopes that outboxes have written since the last call, as packets. Envelopes that have expired at
    /// `now` are dropped.
    ///
    /// Returns whether there was any work.
    pub fn collect(&mut self, now: Time, packets: &mut Vec<Packet>) -> bool {
        let mut worked = !self.dirty.is_empty();
        while let Some(command) = self.mailbox.next_command() {
            worked = true;
            match command {
                Command::Open { link, stream } => self.open(link, *stream),
                Command::WakeAt { at, alarm } => self.alarms.push((at, alarm)),
                // No other command is sent to a switchboard.
                _ => {}
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
                        // Late signal of an outbox that had written before the removal. The peer is not known any more,
                        // so all streams of the server are checked.
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
                // All written envelopes are handed out here, so a request for acknowledgements needs no work.
                Ready::RequestAck(_) | Ready::Nothing => {}
            }
        }
        self.let_go_of_removed();
        while let Some(index) = self.dirty.pop_front() {
            let Some(stream) = self.streams.get_mut(index) else { continue };
            stream.is_dirty = false;
            let Some(server) = &self.servers[stream.from as usize] else { continue };
            let (from, to, lane) = (server.pid, stream.to, stream.lane);
            let (before, after) = stream.take(now, &mut |id, payload, only| {
                packets.push(Packet { from, to, lane, id, payload, only, stream: index });
            });
            if before != after {
                let place = stream.from;
                self.dropped(place, to, (&before, &after));
            }
            self.forget(index);
        }
        worked
    }

    /// Releases the slots of removed links. All envelopes written to them are in known streams by now.
    fn let_go_of_removed(&mut self) {
        for (place, link) in self.removed.drain(..) {
            if let Some(server) = &mut self.servers[place as usize] {
                server.links.remove(&link);
                server.outboxes.roster.release(link);
            }
        }
    }

    /// Counts the envelopes that a stream has dropped between two counts, and reports them.
    #[cold]
    fn dropped(&mut self, place: u32, to: Pid, (before, after): (&Dropped, &Dropped)) {
        if let Some(server) = &mut self.servers[place as usize] {
            let counts = server.counts.entry(to).or_default();
            counts.expired += after.expired - before.expired;
            counts.withdrawn += after.withdrawn - before.withdrawn;
            for (reason, count) in DropReason::counts(before, after) {
                server.events.dropped(&mut counts.unreported, to, count, reason);
            }
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

    fn server(&mut self, pid: Pid) -> Option<&mut Server> {
        let place = *self.running.get(&pid)?;
        self.servers[place as usize].as_mut()
    }

    fn mark(&mut self, index: usize) {
        mark(&mut self.streams, &mut self.dirty, index);
    }

    /// Looks again at a stream whose packet has ended: there may be room for others.
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
