//! Application of a server. It writes numbered envelopes and reads what arrives, at its own pace.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use super::event_loop::EventLoop;
use super::history::{History, LEAST_PAYLOAD, Life};
use super::network::Network;
use super::plan::Plan;
use super::trace::{Action, EventValues};
use super::watch::{Incarnations, Watch, life_with, pid_of, server_of};
use crate::engine::{Events, RegisteredNode};
use crate::events::{Event, LinkState};
use crate::inbox::Receiver;
use crate::link::Undelivered;
use crate::outbox::{OutboxShared, PushError, Sender};
use crate::payload::Body;
use crate::roster::LinkId;
use crate::stream::{DropPolicy, Lane, MAX_RING_PAYLOAD, Ticket, TicketState};
use crate::testing::one_in;
use crate::wire::WireIncarnation;

/// Payload of a panic of an application.
struct Panic;

/// Waker that records its call, and may panic.
struct Flag {
    set: AtomicBool,
    panics: bool,
}

impl Flag {
    fn new(set: bool, panics: bool) -> Arc<Flag> {
        Arc::new(Flag { set: AtomicBool::new(set), panics })
    }

    fn is_set(&self) -> bool {
        self.set.load(Ordering::SeqCst)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.set.store(true, Ordering::SeqCst);
        if self.panics {
            // Panics without a message on the terminal.
            resume_unwind(Box::new("a waker"));
        }
    }
}

/// Memory of a body. Its drop may panic.
struct Memory {
    bytes: Vec<u8>,
    panics: Arc<AtomicBool>,
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.panics.load(Ordering::SeqCst) {
            resume_unwind(Box::new("a body"));
        }
    }
}

/// Interval of panics: one in this many wakers and long bodies panics.
const PANICS: u32 = 8;

/// One life of a server, with its application.
pub(super) struct Server {
    pub(super) me: Life,
    /// Number of the server on its shard.
    pub(super) node: u32,
    pub(super) outboxes: Arc<OutboxShared>,
    pub(super) watch: Watch,
    /// Report of the stop that is under way.
    pub(super) stopping: Option<mpsc::Receiver<Vec<Undelivered>>>,
    /// Reports of the removals that are under way.
    pub(super) removing: Vec<(LinkId, mpsc::Receiver<Undelivered>)>,
    /// Most links that the server had at once.
    pub(super) most_links: usize,
    /// Number of links removed since the inbox was last found empty.
    pub(super) left_unread: usize,
    pub(super) writes_soon: bool,
    pub(super) reads_soon: bool,
    receiver: Receiver,
    events: Events,
    senders: Vec<Outbox>,
    next_outbox: u32,
    /// Set when something has arrived since the inbox was last found empty.
    arrived: Arc<Flag>,
    /// Number of wakers and bodies that were given to the engine.
    callbacks: u32,
    /// Tickets of envelopes that may be withdrawn.
    tickets: Vec<Ticket>,
    met: Met,
    network: Rc<RefCell<Network>>,
}

/// Latest life of each peer that an event or an envelope has mentioned, with its incarnation.
type Met = BTreeMap<usize, (u32, WireIncarnation)>;

struct Outbox {
    number: u32,
    sender: Sender,
    /// Number of envelopes still to be written.
    quota: u64,
    /// Envelope that had no room: its recipient, its lane, and its length in bytes.
    refused: Option<(usize, Lane, usize)>,
    /// Flag of the waker that waits for room.
    asleep: Option<Arc<Flag>>,
}

impl Outbox {
    fn sleeps(&self) -> bool {
        self.asleep.as_ref().is_some_and(|flag| !flag.is_set())
    }
}

impl Server {
    pub(super) fn new(
        me: Life,
        node: u32,
        registered: RegisteredNode,
        network: &Rc<RefCell<Network>>,
        quota: u64,
    ) -> Server {
        let RegisteredNode { receiver, sender, events, outboxes } = registered;
        let mut server = Server {
            me,
            node,
            outboxes,
            watch: Watch::default(),
            stopping: None,
            removing: Vec::new(),
            most_links: 0,
            left_unread: 0,
            writes_soon: false,
            reads_soon: false,
            receiver,
            events,
            senders: Vec::new(),
            next_outbox: 0,
            arrived: Flag::new(true, false),
            callbacks: 0,
            tickets: Vec::new(),
            met: Met::new(),
            network: network.clone(),
        };
        server.add_outbox(sender, quota);
        server
    }

    fn add_outbox(&mut self, sender: Sender, quota: u64) {
        let number = self.next_outbox;
        self.next_outbox += 1;
        self.senders.push(Outbox { number, sender, quota, refused: None, asleep: None });
    }

    /// Adds an outbox. At random, drops outboxes that have nothing more to write.
    pub(super) fn change_outboxes(&mut self, random: &mut Rng, quota: u64) {
        let sender = self.senders[0].sender.clone();
        self.add_outbox(sender, quota);
        // The first outbox stays, to be cloned.
        let mut index = 0;
        self.senders.retain(|outbox| {
            index += 1;
            index == 1 || outbox.quota > 0 || random.bool()
        });
        if random.bool() {
            self.senders[0].sender.end_spares();
        }
    }

    /// Adds `quota` envelopes to those that the server has to write.
    pub(super) fn owe(&mut self, quota: u64) {
        self.senders[0].quota += quota;
    }

    pub(super) fn wants_to_write(&self) -> bool {
        self.senders.iter().any(|outbox| outbox.quota > 0 && !outbox.sleeps())
    }

    pub(super) fn wants_to_read(&self) -> bool {
        self.arrived.is_set()
    }

    /// Returns whether the inbox is empty.
    pub(super) fn has_read_all(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Returns whether all envelopes of the quotas were written.
    pub(super) fn has_written_all(&self) -> bool {
        self.senders.iter().all(|outbox| outbox.quota == 0)
    }

    /// Returns the number of links, including those that the loop has yet to release.
    pub(super) fn count_links(&mut self) -> usize {
        let links = self.outboxes.roster.sizes().peers + self.removing.len();
        self.most_links = self.most_links.max(links);
        links
    }

    /// Returns the number of links for which an outbox has room: that of the largest outbox.
    pub(super) fn outbox_places(&self) -> usize {
        self.senders.iter().map(|outbox| outbox.sender.places()).max().unwrap_or(0)
    }

    /// Returns whether the peers have acknowledged everything.
    pub(super) fn is_flushed(&mut self) -> bool {
        self.senders.iter_mut().all(|outbox| outbox.sender.unflushed_peers().is_empty())
    }

    pub(super) fn request_ack(&mut self) {
        self.senders.iter_mut().for_each(|outbox| outbox.sender.request_ack());
    }

    /// Writes up to six envelopes.
    pub(super) fn write(&mut self, random: &mut Rng, plan: &Plan, history: &mut History, event_loop: &mut EventLoop) {
        for _ in 0..=random.u64(..6) {
            let index = random.usize(..self.senders.len());
            let outbox = &mut self.senders[index];
            if outbox.quota == 0 || outbox.sleeps() {
                continue;
            }
            outbox.asleep = None;
            let (to, lane, length) = outbox.refused.take().unwrap_or_else(|| {
                let to = random.usize(..plan.servers - 1);
                let to = if to >= self.me.0 { to + 1 } else { to };
                let lane = if one_in(random, 3) { Lane::Urgent } else { Lane::Normal };
                (to, lane, envelope_length(random, plan.largest))
            });
            self.write_one(index, (to, lane, length), random, plan, history, event_loop);
        }
        if one_in(random, 20) {
            self.request_ack();
        }
        if one_in(random, 4) && !self.tickets.is_empty() {
            let ticket = self.tickets.swap_remove(random.usize(..self.tickets.len()));
            let (before, is_unsent) = (ticket.state(), ticket.withdraw());
            assert_eq!(is_unsent, before != TicketState::Sent, "no link has a turn in between");
        }
    }

    fn write_one(
        &mut self,
        index: usize,
        (to, lane, length): (usize, Lane, usize),
        random: &mut Rng,
        plan: &Plan,
        history: &mut History,
        event_loop: &mut EventLoop,
    ) {
        let now = self.network.borrow().now();
        let outbox = &mut self.senders[index];
        // A removed peer gets no envelopes until it is added again.
        let Ok(index) = outbox.sender.index_of(pid_of(to)) else { return };
        let Some(link) = self.outboxes.roster.link_of(pid_of(to)) else { return };
        let number = history.stream((self.me, to, outbox.number, lane, link));
        let (id, payload) = history.next(number, length);
        let soon = now + Duration::from_micros(random.u64(..300_000));
        let policy = match random.u64(..3) {
            _ if plan.droppable == 0 || !one_in(random, plan.droppable + 1) => DropPolicy::default(),
            0 => DropPolicy { best_effort: true, ..DropPolicy::default() },
            1 => DropPolicy { expires: Some(soon), ..DropPolicy::default() },
            _ => DropPolicy { expires: Some(soon), best_effort: true, only: None },
        };
        let ticket = (plan.droppable > 0 && one_in(random, plan.droppable + 1)).then(Ticket::default);
        let may_be_dropped = policy.is_droppable() || ticket.is_some();
        let is_restricted = plan.restricted > 0 && one_in(random, plan.restricted);
        let (life, only) = self.met.get(&to).filter(|_| is_restricted).copied().unzip();
        let policy = DropPolicy { only, ..policy };
        let (asleep, alone) = (event_loop.is_asleep(), random.bool());
        let pushed = match random.u64(..3) {
            _ if may_be_dropped || policy.is_droppable() => {
                outbox.sender.push_with_ticket(index, lane, id, &Body::from(&payload), policy, ticket.clone())
            }
            0 => {
                let written = outbox.sender.push_with(index, lane, id, length, |room| room.copy_from_slice(&payload));
                written.map_err(|(error, _)| error)
            }
            1 => outbox.sender.push(index, lane, id, &Body::from(&payload), alone),
            _ => {
                self.callbacks += 1;
                let panics = Arc::new(AtomicBool::new(false));
                let body = Bytes::from_owner(Memory { bytes: payload, panics: panics.clone() });
                let pushed = outbox.sender.push(index, lane, id, &Body::Owned(body.clone()), alone);
                // The body may panic only if the engine drops it last. A short body was copied.
                let is_kept = pushed.is_ok() && length > MAX_RING_PAYLOAD;
                panics.store(is_kept && self.callbacks.is_multiple_of(PANICS), Ordering::SeqCst);
                pushed
            }
        };
        match pushed {
            Ok(()) => {
                self.tickets.extend(ticket.clone());
                history.wrote(number, length, may_be_dropped, life, ticket);
                outbox.quota -= 1;
                let me = self.me;
                let quota = outbox.quota;
                let write = Action::Write { server: me, number, id, bytes: length, to, lane, quota };
                self.network.borrow_mut().trace.record(now, &write);
                if asleep && alone {
                    event_loop.try_from_outside();
                }
            }
            Err(PushError::Full) if one_in(random, 3) => {}
            Err(PushError::Full) => {
                outbox.refused = Some((to, lane, length));
                self.callbacks += 1;
                let flag = Flag::new(false, self.callbacks.is_multiple_of(PANICS));
                if outbox.sender.wait_for_room(index, lane, length, &Waker::from(flag.clone())) == Ok(true) {
                    outbox.asleep = Some(flag);
                }
            }
            Err(PushError::Stopped) => outbox.quota = 0,
            Err(PushError::Restarted) => history.restarted(self.me, to, life.unwrap_or(u32::MAX)),
            Err(PushError::TooLarge { limit }) => history.refused(self.me, to, length, limit),
            Err(error) => panic!("{:?} to {to}: {error:?}", self.me),
        }
    }

    /// Reads some envelopes. If the inbox is empty then, waits for the next one.
    pub(super) fn read(&mut self, random: &mut Rng, plan: &Plan, incarnations: &Incarnations, history: &mut History) {
        let mut reading = Reading { network: &self.network, me: self.me, met: &mut self.met, incarnations, history };
        match random.u64(..3) {
            0 if plan.panics > 0 && one_in(random, plan.panics) => {
                take_and_panic(&mut self.receiver, random.u64(1..=6), &mut reading);
            }
            0 => drop(take(&mut self.receiver, random.usize(1..=3), &mut reading)),
            _ => {
                for _ in 0..=random.u64(..20) {
                    let Some(message) = self.receiver.pop() else { break };
                    reading.got(message.pid, &message.incarnation, message.id, &message.payload);
                }
            }
        }
        if self.receiver.is_empty() {
            if self.removing.is_empty() {
                self.left_unread = 0;
            }
            self.callbacks += 1;
            self.arrived = Flag::new(false, self.callbacks.is_multiple_of(PANICS));
            self.receiver.register(&Waker::from(self.arrived.clone()));
            if !self.receiver.is_empty() {
                self.arrived = Flag::new(true, false);
            }
        }
    }

    /// Reads and checks all events, and compares them with the states of the links.
    pub(super) fn look_at_events(&mut self, incarnations: &Incarnations, history: &mut History) {
        while let Some(event) = self.events.pop() {
            let mut network = self.network.borrow_mut();
            let now = network.now();
            network.trace.record(now, &Action::Told { server: self.me, event: EventValues(&event) });
            drop(network);
            if let Event::Up { pid, incarnation } = event {
                self.met.insert(server_of(pid), (life_with(pid, &incarnation, incarnations), incarnation));
            }
            self.watch.told(self.me, &event, incarnations, history);
        }
        // Even if events were missed, the last ones tell the present state.
        let (queue, now) = (self.events.queue(), self.network.borrow().now());
        let (_, peers) = self.outboxes.roster.read();
        for (pid, _) in &peers {
            let Some(state) = queue.peer_state(*pid, now) else { continue };
            let is_up = matches!(state.link, LinkState::Up { .. });
            assert_eq!(self.watch.is_up(server_of(*pid)), is_up, "{:?}: {pid} is {state:?}", self.me);
        }
        self.watch.has_read_all();
        let (entries, newest, known) = queue.sizes();
        assert!(entries == 0 && newest == 0, "{:?}: {entries} and {newest} events are left", self.me);
        assert!(
            known <= self.most_links.max(peers.len() + self.removing.len()),
            "{:?}: the events know {known} peers",
            self.me
        );
    }

    /// Reads all remaining events and envelopes, at the end of this life.
    pub(super) fn end(&mut self, incarnations: &Incarnations, history: &mut History) {
        self.look_at_events(incarnations, history);
        let mut reading = Reading { network: &self.network, me: self.me, met: &mut self.met, incarnations, history };
        while take(&mut self.receiver, usize::MAX, &mut reading) > 0 {}
    }

    /// Asserts that after a stop the inbox is closed, once everything was read.
    pub(super) fn check_end(&self) {
        assert!(self.receiver.is_closed() && self.receiver.is_empty(), "{:?} has stopped, and reads on", self.me);
    }

    /// Asserts that this life of a peer, which has stopped and read to the end, has read every envelope that it
    /// acknowledged to this server.
    pub(super) fn check_acknowledged(&mut self, (peer, life): Life, history: &History) {
        let Some(link) = self.outboxes.roster.link_of(pid_of(peer)) else { return };
        for outbox in &mut self.senders {
            for lane in Lane::ALL {
                let Some(acknowledged) = outbox.sender.acknowledged(link, lane) else { continue };
                history.check_acknowledged((self.me, peer, outbox.number, lane, link), life, acknowledged);
            }
        }
    }

    /// Describes what the server waits for, as part of a failure's message.
    pub(super) fn describe(&mut self) -> String {
        let mut text = format!("\n{:?}: something to read: {};", self.me, self.arrived.is_set());
        for outbox in &mut self.senders {
            let unflushed = outbox.sender.unflushed_peers();
            text += &format!(
                " outbox {} has {} to write, refused {:?}, sleeps: {}, unflushed {unflushed:?};",
                outbox.number,
                outbox.quota,
                outbox.refused,
                outbox.sleeps()
            );
        }
        text
    }
}

/// Context in which a server reads what has arrived.
struct Reading<'a> {
    network: &'a RefCell<Network>,
    me: Life,
    met: &'a mut Met,
    incarnations: &'a Incarnations,
    history: &'a mut History,
}

impl Reading<'_> {
    fn got(&mut self, pid: u64, incarnation: &WireIncarnation, id: i64, payload: &[u8]) {
        let mut network = self.network.borrow_mut();
        let now = network.now();
        network.trace.record(now, &Action::Read { server: self.me, id, bytes: payload.len(), from: pid });
        drop(network);
        let from = (server_of(pid), life_with(pid, incarnation, self.incarnations));
        self.met.insert(from.0, (from.1, *incarnation));
        self.history.got(self.me, from, id, payload);
    }
}

fn take(receiver: &mut Receiver, limit: usize, reading: &mut Reading<'_>) -> usize {
    receiver.drain(limit, |each| reading.got(each.pid, each.incarnation, each.id, each.payload))
}

/// Takes envelopes, and panics at envelope number `last`, counted from 1.
fn take_and_panic(receiver: &mut Receiver, last: u64, reading: &mut Reading<'_>) {
    let mut taken = 0;
    let drained = catch_unwind(AssertUnwindSafe(|| {
        receiver.drain(usize::MAX, |each| {
            reading.got(each.pid, each.incarnation, each.id, each.payload);
            taken += 1;
            if taken == last {
                resume_unwind(Box::new(Panic));
            }
        })
    }));
    match drained {
        // The panic of a failed check goes on.
        Err(panic) if !panic.is::<Panic>() => resume_unwind(panic),
        _ => {}
    }
}

fn envelope_length(random: &mut Rng, largest: usize) -> usize {
    let limit = match random.u64(..16) {
        0 => largest,
        1..4 => largest.min(20 * 1024),
        4..8 => 2048,
        _ => 96,
    };
    random.usize(LEAST_PAYLOAD..limit)
}
