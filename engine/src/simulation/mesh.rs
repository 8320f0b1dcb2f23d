//! Full mesh of many servers on the event loops of one process. Its tests check that each broadcast arrives, that no
//! peer goes down meanwhile, and that queues stay within their bounds, however slow the event loops are.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;

use super::event_loop::EventLoop;
use super::network::{Network, Weather, address_of};
use super::plan::Plan;
use super::timetable::Happening;
use super::trace::Trace;
use super::watch::pid_of;
use crate::driver::Listener;
use crate::engine::{QueueSizes, RegisteredNode, register_node};
use crate::events::Event;
use crate::link::Local;
use crate::payload::Body;
use crate::stream::Lane;
use crate::testing::seeded;

/// Interval at which applications read their inboxes and events.
const LOOK: Duration = Duration::from_millis(1);

/// Servers of one process, each a peer of all others.
pub(super) struct Mesh {
    network: Rc<RefCell<Network>>,
    pub(super) loops: Vec<EventLoop>,
    members: Vec<Member>,
    /// Set while the applications do not read.
    pub(super) idle: bool,
    random: Rng,
}

struct Member {
    /// Index of the server's event loop.
    place: usize,
    ends: RegisteredNode,
    /// Next message number expected from each server.
    next: Vec<i64>,
    delivered: u64,
    ups: u64,
    downs: Vec<String>,
}

impl Mesh {
    /// Starts the servers. Each operation of an event loop takes the time `operation`.
    pub(super) fn start(seed: u64, servers: usize, loops: usize, operation: Duration, memory: bool) -> Mesh {
        let mut random = seeded(seed);
        let calm = Weather { delay_nanos: 100_000, buffer_bytes: 512 * 1024, short: false, calm: true };
        let plan = Plan {
            machines: 1,
            servers,
            loops,
            dials: 256,
            operation_nanos: operation.as_nanos() as u64,
            memory,
            ..Plan::new(&mut random)
        };
        let network = Network::new(1, seeded(!seed), calm, Trace::new(false));
        let network = Rc::new(RefCell::new(network));
        let loops = EventLoop::start(&network, 0, &plan);
        let mut mesh = Mesh { network, loops, members: Vec::new(), idle: false, random };
        (0..servers).for_each(|server| mesh.add(server, &plan));
        mesh
    }

    fn add(&mut self, server: usize, plan: &Plan) {
        let mut incarnation = [0; 16];
        self.random.fill(&mut incarnation[..8]);
        let local = Local {
            pid: pid_of(server),
            incarnation,
            secret: 7,
            cluster: "mesh".to_owned(),
            window_bytes: 4 << 20,
            max_envelope_bytes: 1 << 20,
            socket_bytes: 0,
            checksum_payload: true,
            heartbeat_interval: Duration::from_millis(400),
            peer_timeout: Duration::from_millis(1250),
            eager: false,
        };
        let peers = (0..plan.servers).filter(|peer| *peer != server);
        let peers = peers.map(|peer| (pid_of(peer), vec![address_of(0, peer)])).collect();
        let place = server % self.loops.len();
        let event_loop = &self.loops[place];
        let address = address_of(0, server);
        let local_addr = plan.memory.then(|| event_loop.registry.announce(address, place));
        let sizes = QueueSizes { ring_bytes: 1 << 16, arrivals: plan.arrivals };
        let ends = register_node(
            &event_loop.loop_handle,
            server as u32,
            local,
            Listener::At(address),
            peers,
            sizes,
            local_addr,
        );
        self.members.push(Member { place, ends, next: vec![0; plan.servers], delivered: 0, ups: 0, downs: Vec::new() });
    }

    /// Sends the message of this number from each server to all others.
    pub(super) fn broadcast(&mut self, number: i64) {
        for index in 0..self.members.len() {
            let sender = &mut self.members[index].ends.sender;
            for pid in sender.peers().to_vec() {
                let peer = sender.index_of(pid).expect("a peer");
                sender
                    .push(peer, Lane::Normal, number, &Body::from(&b"a broadcast"[..]), false)
                    .expect("there is room");
            }
        }
        self.look();
    }

    /// Runs until each server has received `delivered` envelopes. Returns the virtual time that this took.
    ///
    /// # Panics
    /// Panics when it takes longer than `patience`.
    pub(super) fn run_until(&mut self, delivered: u64, patience: Duration) -> Duration {
        let begin = self.network.borrow().now();
        while self.members.iter().any(|member| member.delivered < delivered) {
            let now = self.network.borrow().now();
            let all: u64 = self.members.iter().map(|member| member.delivered).sum();
            assert!(now.since(begin) < patience, "{all} delivered, {}", self.describe());
            self.run_for(LOOK);
        }
        let now = self.network.borrow().now();
        now.since(begin)
    }

    /// Runs for this much virtual time.
    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.network.borrow().now() + time;
        loop {
            let mut network = self.network.borrow_mut();
            let Some(what) = network.timetable.next(end) else { break };
            network.happens(what);
            drop(network);
            match what {
                Happening::Turns { process } => {
                    let event_loop = self.loops.iter_mut().find(|each| each.process == process);
                    event_loop.expect("a loop").turn(&mut self.random);
                    self.check_messages();
                }
                Happening::Alarm { process, wait } => {
                    let event_loop = self.loops.iter_mut().find(|each| each.process == process);
                    event_loop.expect("a loop").alarm(wait);
                }
                _ => {}
            }
            self.loops.iter_mut().for_each(EventLoop::look);
        }
        self.look();
    }

    /// Makes kernels claim that there is more to read when there is not.
    pub(super) fn claim_more(&mut self) {
        self.network.borrow_mut().claims_more = true;
    }

    /// Cuts all connections over TCP.
    pub(super) fn cut(&mut self) {
        let mut network = self.network.borrow_mut();
        for connection in network.open_connections() {
            network.cut(connection);
        }
    }

    /// Asserts that no loop's transport queue is longer than its connections in memory explain. Each direction of each
    /// connection may have the messages of its window, and those that open and close the connection.
    fn check_messages(&self) {
        let connections = self.members.len() * self.members.len();
        for event_loop in &self.loops {
            let messages = event_loop.registry.messages(event_loop.shard_index as u32);
            assert!(messages <= 4 * connections + 1024, "{messages} messages for {connections} links");
        }
    }

    /// Lets the applications read their inboxes and events.
    fn look(&mut self) {
        for member in &mut self.members {
            let Member { ends, next, delivered, .. } = member;
            let limit = if self.idle { 0 } else { usize::MAX };
            ends.receiver.drain(limit, |envelope| {
                let expected = &mut next[super::watch::server_of(envelope.pid)];
                assert_eq!(envelope.id, *expected, "out of order");
                *expected += 1;
                *delivered += 1;
            });
            while let Some(event) = ends.events.pop() {
                match event {
                    Event::Up { .. } => member.ups += 1,
                    Event::Down { pid, reason } => member.downs.push(format!("{pid}: {reason}")),
                    other => panic!("nothing goes wrong here: {other:?}"),
                }
            }
        }
        self.loops.iter_mut().for_each(EventLoop::look);
    }

    /// Returns the number of links that came up, and a description of each link that went down.
    pub(super) fn told(&self) -> (u64, Vec<&String>) {
        let ups = self.members.iter().map(|member| member.ups).sum();
        (ups, self.members.iter().flat_map(|member| &member.downs).collect())
    }

    fn describe(&mut self) -> String {
        let incomplete = self.members.iter().enumerate().max_by_key(|(_, member)| u64::MAX - member.delivered);
        let (index, place) = incomplete.map_or((0, 0), |(index, member)| (index, member.place));
        let (ups, downs) = self.told();
        let told = format!("{ups} up, {downs:?}; server {index}");
        told + &self.loops[place].shard.describe(index as u32)
    }

    /// Runs for this much virtual time. Returns the number of turns of all event loops in it.
    pub(super) fn turns_in(&mut self, time: Duration) -> u64 {
        let turns = |mesh: &Mesh| -> u64 { mesh.loops.iter().map(|event_loop| event_loop.turns).sum() };
        let before = turns(self);
        self.run_for(time);
        turns(self) - before
    }
}
