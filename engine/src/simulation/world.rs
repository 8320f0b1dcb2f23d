//! World of a simulation: machines with event loops, the servers on them, and what happens between them.

use std::cell::RefCell;
use std::fmt::Debug;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use fastrand::Rng;

use super::event_loop::EventLoop;
use super::history::{History, Life};
use super::network::flood;
use super::network::{Network, address_of};
use super::plan::{Configuration, Plan};
use super::server::Server;
use super::timetable::Happening;
use super::trace::{Action, Trace};
use super::watch::{Incarnations, pid_of};
use crate::driver::Listener;
use crate::engine::{QueueSizes, register_node};
use crate::link::Local;
use crate::mailbox::Command;
use crate::roster::LinkKey;
use crate::testing::{one_in, seeded};

/// Complete state of a simulation.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) random: Rng,
    pub(super) network: Rc<RefCell<Network>>,
    pub(super) loops: Vec<Option<EventLoop>>,
    pub(super) servers: Vec<Option<Server>>,
    pub(super) lives: Vec<u32>,
    pub(super) incarnations: Incarnations,
    pub(super) history: History,
    pub(super) calm: bool,
    /// Lives that were stopped, and have reported their undelivered envelopes.
    pub(super) stopped: Vec<Life>,
    /// Pairs of servers of which the first has removed the second.
    pub(super) parted: Vec<(usize, usize)>,
    /// Next node number. Numbers are never reused: a greeting may outlive the server that sent it.
    nodes: u32,
}

impl World {
    pub(super) fn new(seed: u64, readable: bool) -> World {
        let mut random = seeded(seed);
        let plan = Plan::new(&mut random)
            .with_reading(&mut seeded(seed.rotate_left(32)))
            .with_differences(&mut seeded(seed.rotate_left(16)))
            .with_restrictions(&mut seeded(seed.rotate_left(48)))
            .with_flood(&mut seeded(seed.rotate_left(8)))
            .with_replays(&mut seeded(seed.rotate_left(24)))
            .with_idle_readers(&mut seeded(seed.rotate_left(56)));
        World::with_plan(seed, plan, random, readable)
    }

    pub(super) fn with_plan(seed: u64, plan: Plan, random: Rng, readable: bool) -> World {
        let network = Network::new(plan.machines, seeded(!seed), plan.weather.clone(), Trace::new(readable));
        let network = Rc::new(RefCell::new(network));
        let mut world = World {
            loops: (0..plan.machines * plan.loops).map(|_| None).collect(),
            servers: (0..plan.servers).map(|_| None).collect(),
            lives: vec![0; plan.servers],
            plan,
            random,
            network,
            incarnations: Incarnations::new(),
            history: History::default(),
            calm: false,
            stopped: Vec::new(),
            parted: Vec::new(),
            nodes: 0,
        };
        world.record(&(seed, &world.plan));
        for server in 0..world.plan.servers {
            world.start(server);
        }
        if world.plan.flood {
            // Strangers come from a machine without servers, or from one that has some.
            let machine = (seed / 2) as usize % (world.plan.machines + 1);
            let server = seed as usize % world.plan.servers;
            let mut network = world.network.borrow_mut();
            network.descriptors = flood::DESCRIPTORS;
            network.flood(server, machine);
        }
        if world.plan.replay_pause_ms > 0 {
            let mut network = world.network.borrow_mut();
            network.record(seeded(seed.rotate_left(40)));
            network.begin_replays(world.plan.replay_pause_ms);
        }
        world
    }

    pub(super) fn record(&self, what: &(impl Debug + Hash)) {
        let mut network = self.network.borrow_mut();
        let now = network.now();
        network.trace.record(now, what);
    }

    pub(super) fn machine_of(&self, server: usize) -> usize {
        server % self.plan.machines
    }

    /// Returns the index of the event loop on which the server runs.
    pub(super) fn loop_of(&self, server: usize) -> usize {
        self.machine_of(server) * self.plan.loops + server / self.plan.machines % self.plan.loops
    }

    /// Returns the indices of a machine's event loops.
    pub(super) fn loops_of(&self, machine: usize) -> std::ops::Range<usize> {
        machine * self.plan.loops..(machine + 1) * self.plan.loops
    }

    pub(super) fn after(&self, pause: Duration, what: Happening) {
        let mut network = self.network.borrow_mut();
        let at = network.now() + pause;
        network.timetable.at(at, what);
    }

    /// Starts a server, on a machine that may have been down.
    pub(super) fn start(&mut self, server: usize) {
        if self.servers[server].is_some() {
            return;
        }
        let machine = self.machine_of(server);
        self.lives[server] += 1;
        let me = (server, self.lives[server]);
        self.record(&Action::Start { server: me });
        self.network.borrow_mut().set_running(machine, true);
        let network = self.network.clone();
        if self.loops[self.loop_of(server)].is_none() {
            let loops = EventLoop::start(&network, machine, &self.plan);
            for (place, event_loop) in self.loops_of(machine).zip(loops) {
                self.loops[place] = Some(event_loop);
            }
        }
        let place = self.loop_of(server);
        let Some(event_loop) = &mut self.loops[place] else { return };
        let mut incarnation = [0; 16];
        self.random.fill(&mut incarnation[..8]);
        incarnation[8..].copy_from_slice(&(u64::from(me.1) << 32 | me.0 as u64).to_le_bytes());
        self.incarnations.insert(incarnation, me);
        let Configuration { max_envelope_bytes, heartbeat_interval, peer_timeout } =
            self.plan.configuration(&mut self.random);
        self.history.accepts(me, max_envelope_bytes);
        let local = Local {
            pid: pid_of(server),
            incarnation,
            secret: 7,
            cluster: "simulated".to_owned(),
            window_bytes: self.plan.window_bytes,
            max_envelope_bytes,
            socket_bytes: 0,
            checksum_payload: self.plan.checksum_payload,
            heartbeat_interval,
            peer_timeout,
            eager: self.plan.eager,
        };
        let peers = (0..self.plan.servers).filter(|peer| *peer != server);
        let peers = peers.map(|peer| (pid_of(peer), vec![address_of(peer % self.plan.machines, peer)])).collect();
        let listener = Listener::At(address_of(machine, server));
        let node = self.nodes;
        self.nodes += 1;
        let local_addr =
            self.plan.memory.then(|| event_loop.registry.announce(address_of(machine, server), event_loop.shard_index));
        let sizes = QueueSizes { ring_bytes: self.plan.ring_bytes, arrivals: self.plan.arrivals };
        let registered = register_node(&event_loop.loop_handle, node, local, listener, peers, sizes, local_addr);
        registered.events.queue().limit(self.plan.events_kept);
        let quota = self.random.u64(1..=self.plan.quota);
        let mut started = Server::new(me, node, registered, &network, if self.calm { 1 } else { quota });
        if !self.calm && self.random.bool() {
            started.change_outboxes(&mut self.random, quota);
        }
        self.servers[server] = Some(started);
    }

    /// Ends the process of a machine, with all its servers. If `silently`, the machine goes down too.
    pub(super) fn crash(&mut self, machine: usize, silently: bool) {
        let loops: Vec<EventLoop> = self.loops_of(machine).filter_map(|place| self.loops[place].take()).collect();
        if loops.is_empty() {
            return;
        }
        self.record(&Action::Crash { machine, silently });
        for server in 0..self.plan.servers {
            if self.machine_of(server) == machine
                && let Some(mut ended) = self.servers[server].take()
            {
                ended.end(&self.incarnations, &mut self.history);
            }
        }
        let mut network = self.network.borrow_mut();
        for event_loop in loops {
            network.end_process(event_loop.process, silently);
        }
        network.set_running(machine, !silently);
    }

    /// Stops a server as its application would.
    pub(super) fn stop(&mut self, server: usize, patience: Duration) {
        let place = self.loop_of(server);
        let (Some(running), Some(event_loop)) = (&mut self.servers[server], &self.loops[place]) else { return };
        if running.stopping.is_some() || !running.outboxes.close() {
            return;
        }
        let (report, reported) = mpsc::channel();
        event_loop.mailbox().command(Command::Stop { node: running.node, patience, report });
        running.stopping = Some(reported);
        let me = running.me;
        self.record(&Action::StopWithin { server: me, patience });
    }

    /// Removes a peer of a server, and plans to add it again after a pause.
    pub(super) fn remove_peer(&mut self, server: usize, peer: usize) {
        let place = self.loop_of(server);
        let (Some(running), Some(event_loop)) = (&mut self.servers[server], &self.loops[place]) else { return };
        // Envelopes given up with a removed peer are reported once. An account that misses events cannot be checked.
        if self.plan.misses_events() {
            return;
        }
        let Some(link) = running.outboxes.remove_peer(pid_of(peer)) else { return };
        let (report, reported) = mpsc::channel();
        event_loop.mailbox().command(Command::Remove { link: LinkKey { node: running.node, link }, report });
        running.removing.push((link, reported));
        running.left_unread += 1;
        let (me, pause) = (running.me, Duration::from_millis(self.random.u64(..2000)));
        self.parted.push((server, peer));
        self.record(&Action::RemovePeer { server: me, peer });
        self.after(pause, Happening::Adds { server, life: me.1, peer });
    }

    pub(super) fn add_peer(&mut self, server: usize, peer: usize) {
        let place = self.loop_of(server);
        let addresses = vec![address_of(self.machine_of(peer), peer)];
        let (Some(running), Some(event_loop)) = (&mut self.servers[server], &self.loops[place]) else { return };
        let (node, pid) = (running.node, pid_of(peer));
        running.outboxes.roster.add(pid, |link| {
            running.outboxes.stats.add(link, pid);
            event_loop.mailbox().command(Command::Add { link: LinkKey { node, link }, pid, addresses });
        });
        running.count_links();
    }

    /// Runs the next happening, if it is due before `end`, and checks the world. Returns `false` if there is none.
    pub(super) fn step(&mut self, end: crate::time::Time) -> bool {
        let mut network = self.network.borrow_mut();
        let Some(what) = network.timetable.next(end) else { return false };
        let now = network.now();
        network.trace.record(now, &what);
        network.happens(what);
        drop(network);
        self.happens(what);
        self.look_around();
        self.check_links();
        self.check_buffers();
        true
    }

    fn happens(&mut self, what: Happening) {
        match what {
            Happening::Turns { process } => {
                if let Some(event_loop) = self.loops.iter_mut().flatten().find(|each| each.process == process) {
                    event_loop.turn(&mut self.random);
                }
            }
            Happening::Alarm { process, wait } => {
                if let Some(event_loop) = self.loops.iter_mut().flatten().find(|each| each.process == process) {
                    event_loop.alarm(wait);
                }
            }
            Happening::Writes { server, life } if self.lives[server] == life => self.application(server, true),
            Happening::Reads { server, life } if self.lives[server] == life => self.application(server, false),
            Happening::Starts { server, life } if self.lives[server] == life => self.start(server),
            Happening::Adds { server, life, peer } if self.lives[server] == life => self.add_peer(server, peer),
            Happening::Fault => self.fault(),
            _ => {}
        }
    }

    fn application(&mut self, server: usize, writes: bool) {
        let place = self.loop_of(server);
        let (Some(running), Some(event_loop)) = (&mut self.servers[server], &mut self.loops[place]) else { return };
        // A pause stops the whole process, with its applications.
        let now = self.network.borrow().now();
        if event_loop.paused_until > now {
            let (life, until) = (running.me.1, event_loop.paused_until);
            let what = if writes { Happening::Writes { server, life } } else { Happening::Reads { server, life } };
            return self.network.borrow_mut().timetable.at(until, what);
        }
        if writes {
            running.writes_soon = false;
            running.write(&mut self.random, &self.plan, &mut self.history, event_loop);
        } else {
            running.reads_soon = false;
            running.read(&mut self.random, &self.plan, &self.incarnations, &mut self.history);
        }
    }

    /// Wakes the event loops and plans actions of the applications that have work to do.
    pub(super) fn look_around(&mut self) {
        self.loops.iter_mut().flatten().for_each(EventLoop::look);
        for server in 0..self.servers.len() {
            let Some(running) = &mut self.servers[server] else { continue };
            if !self.plan.misses_events() || self.calm || one_in(&mut self.random, 100) {
                running.look_at_events(&self.incarnations, &mut self.history);
            }
            let life = running.me.1;
            let mut soon = Vec::new();
            if running.wants_to_write() && !std::mem::replace(&mut running.writes_soon, true) {
                soon.push(Happening::Writes { server, life });
            }
            let is_idle = self.plan.idle_readers && !self.calm;
            if running.wants_to_read() && !is_idle && !std::mem::replace(&mut running.reads_soon, true) {
                soon.push(Happening::Reads { server, life });
            }
            let roster = &running.outboxes.roster;
            running.removing.retain(|(link, report)| match report.try_recv() {
                Ok(_) => {
                    roster.release(*link);
                    false
                }
                Err(error) => error == mpsc::TryRecvError::Empty,
            });
            let stopped = running.stopping.as_ref().and_then(|report| report.try_recv().ok());
            if let Some(undelivered) = stopped {
                self.has_stopped(server, &undelivered);
            }
            for what in soon {
                let pause = Duration::from_nanos(self.random.u64(..self.plan.pace_nanos));
                self.after(pause, what);
            }
        }
    }

    fn has_stopped(&mut self, server: usize, undelivered: &[crate::link::Undelivered]) {
        let Some(mut running) = self.servers[server].take() else { return };
        let me = running.me;
        self.record(&Action::Stopped { server: me, undelivered });
        running.end(&self.incarnations, &mut self.history);
        running.check_end();
        for sender in self.servers.iter_mut().flatten() {
            sender.check_acknowledged(me, &self.history);
        }
        for each in undelivered {
            self.history.gave_up(me, super::watch::server_of(each.pid), each.messages);
        }
        self.stopped.push(me);
        let pause = Duration::from_millis(self.random.u64(..if self.calm { 50 } else { 1500 }));
        self.after(pause, Happening::Starts { server, life: me.1 });
    }
}
