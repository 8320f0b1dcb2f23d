//! Simulated network: machines, the bytes between them with their delays, and faults on the way.

pub(crate) mod flood;
pub(crate) mod kernel;
pub(crate) mod replays;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use fastrand::Rng;

use super::pipe::{Connection, Owner, Side};
use super::timetable::{Happening, Timetable};
use super::trace::Trace;
use crate::driver::SocketId;
use crate::testing::one_in;
use crate::time::Time;
use kernel::{Done, Process};
use replays::Replays;

/// Retries of a kernel whose dial a machine does not answer, after the first attempt.
const DIAL_ATTEMPTS: u32 = 6;

/// Behaviour of the network.
#[derive(Clone, Debug, Hash)]
pub(super) struct Weather {
    /// Longest usual delay, in nanoseconds.
    pub(super) delay_nanos: u64,
    /// Bytes that the kernels of a connection buffer in one direction.
    pub(super) buffer_bytes: usize,
    /// Reads and writes often move fewer bytes than they could.
    pub(super) short: bool,
    /// No faults occur any more.
    pub(super) calm: bool,
}

/// Machines, the processes on them, and the connections between processes.
pub(super) struct Network {
    pub(super) timetable: Timetable,
    pub(super) random: Rng,
    pub(super) weather: Weather,
    pub(super) trace: Trace,
    pub(super) processes: Vec<Process>,
    pub(super) connections: Vec<Connection>,
    pub(super) listeners: BTreeMap<SocketAddr, (usize, SocketId)>,
    /// Strangers dial again when their connections have ended.
    pub(super) floods: bool,
    /// Replays. `None` if connections are not recorded.
    pub(super) replays: Option<Replays>,
    /// Kernels claim that there is more to read when there is not.
    pub(super) claims_more: bool,
    /// Most sockets of a process.
    pub(super) descriptors: usize,
    /// By machine: whether it runs. It goes on running when its process ends.
    running: Vec<bool>,
    /// End of the time in which nothing crosses from the first machine to the second.
    cut_until: BTreeMap<(usize, usize), Time>,
}

/// Returns the address of a server.
pub(super) fn address_of(machine: usize, server: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, machine as u8)), 7000 + server as u16)
}

fn machine_at(address: SocketAddr) -> usize {
    match address.ip() {
        IpAddr::V4(address) => usize::from(address.octets()[3]),
        IpAddr::V6(_) => 0,
    }
}

impl Network {
    pub(super) fn new(machines: usize, random: Rng, weather: Weather, trace: Trace) -> Network {
        Network {
            timetable: Timetable::new(Time::default() + Duration::from_secs(1)),
            random,
            weather,
            trace,
            processes: Vec::new(),
            connections: Vec::new(),
            listeners: BTreeMap::new(),
            floods: false,
            replays: None,
            claims_more: false,
            descriptors: usize::MAX,
            // One more, for strangers.
            running: vec![true; machines + 1],
            cut_until: BTreeMap::new(),
        }
    }

    /// Returns the number of machines with servers. The machine of that number has none.
    pub(super) fn machines(&self) -> usize {
        self.running.len() - 1
    }

    pub(super) fn now(&self) -> Time {
        self.timetable.now()
    }

    pub(super) fn after_delay(&mut self, what: Happening) {
        let at = self.now() + self.some_delay();
        self.timetable.at(at, what);
    }

    fn some_delay(&mut self) -> Duration {
        let longer = if !self.weather.calm && one_in(&mut self.random, 40) { 20 } else { 1 };
        Duration::from_nanos(self.random.u64(1..=self.weather.delay_nanos * longer))
    }

    pub(super) fn end(&mut self, side: Side) -> &mut super::pipe::End {
        &mut self.connections[side.connection].ends[side.end]
    }

    /// Sends bytes to this end, behind all that was sent before. `None` is the end of what is sent.
    pub(super) fn put_under_way(&mut self, side: Side, what: Option<Vec<u8>>) {
        let at = self.now() + self.some_delay();
        let pipe = &mut self.end(side).pipe;
        if pipe.cut {
            return;
        }
        let at = at.max(pipe.last_arrival);
        pipe.last_arrival = at;
        if let Some(bytes) = &what {
            self.trace.record_bytes(bytes);
        }
        self.end(side).pipe.under_way.push_back(what);
        self.timetable.at(at, Happening::Arrives(side));
    }

    /// Returns the time until which nothing arrives at this end, if that is not over.
    fn held_until(&mut self, side: Side) -> Option<Time> {
        let now = self.now();
        let (from, to) = (self.end(side.other()).machine, self.end(side).machine);
        let cut = self.cut_until.get(&(from, to)).copied().unwrap_or_default();
        let until = cut.max(self.end(side).pipe.held_until);
        (until > now).then_some(until)
    }

    /// Handles a happening that concerns the network.
    pub(super) fn happens(&mut self, what: Happening) {
        match what {
            Happening::DialReaches { connection, attempt } => self.dial_reaches(connection, attempt),
            Happening::DialAnswered { connection, reached } => self.dial_answered(connection, reached),
            Happening::Acceptable { connection } => self.acceptable(connection),
            Happening::Arrives(side) => match self.held_until(side) {
                Some(until) => self.timetable.at(until, what),
                None => self.arrives(side),
            },
            Happening::HasRoom(side) => match self.held_until(side) {
                Some(until) => self.timetable.at(until, what),
                None => self.try_send(side),
            },
            Happening::Reset(side) => match self.held_until(side) {
                Some(until) => self.timetable.at(until, what),
                None => self.reset(side),
            },
            Happening::Floods { server, machine } => self.stranger_dials(server, machine),
            Happening::Replays => self.replay(),
            Happening::Plays { connection } => self.go_on_replaying(connection),
            Happening::LetGo { process, socket } => self.done(process, Done::Closed(SocketId(socket))),
            _ => {}
        }
    }

    fn dial_reaches(&mut self, connection: usize, attempt: u32) {
        let Connection { address, ref ends, .. } = self.connections[connection];
        let (from, to) = (ends[0].machine, machine_at(address));
        let cut = self.cut_until.get(&(from, to)).is_some_and(|until| *until > self.now());
        if cut || !self.running[to] {
            if attempt < DIAL_ATTEMPTS && ends[0].owner != Owner::Closed {
                let at = self.now() + Duration::from_millis(200 << attempt);
                self.timetable.at(at, Happening::DialReaches { connection, attempt: attempt + 1 });
            } else {
                self.stranger_dials_again(Side { connection, end: 0 });
                self.replayer_leaves(Side { connection, end: 0 });
            }
            return;
        }
        let listener = self.listeners.get(&address).copied();
        self.connections[connection].listener = listener;
        let reached = listener.is_some();
        self.end(Side { connection, end: 1 }).machine = to;
        if reached {
            self.end(Side { connection, end: 1 }).owner = Owner::Kernel;
            // A busy process accepts late.
            if !self.weather.calm && one_in(&mut self.random, 12) {
                let at = self.now() + Duration::from_millis(self.random.u64(..3000));
                self.timetable.at(at, Happening::Acceptable { connection });
            } else {
                self.after_delay(Happening::Acceptable { connection });
            }
        }
        self.after_delay(Happening::DialAnswered { connection, reached });
    }

    fn dial_answered(&mut self, connection: usize, reached: bool) {
        let side = Side { connection, end: 0 };
        if let Some(until) = self.held_until(side) {
            return self.timetable.at(until, Happening::DialAnswered { connection, reached });
        }
        match self.end(side).owner {
            Owner::Socket { process, socket } => self.done(process, Done::Connected { socket, reached }),
            Owner::Stranger { .. } => self.stranger_answered(connection, reached),
            Owner::Replayer => self.replay_answered(connection, reached),
            _ if reached => self.after_delay(Happening::Reset(side.other())),
            _ => {}
        }
    }

    fn acceptable(&mut self, connection: usize) {
        let side = Side { connection, end: 1 };
        if self.end(side).owner != Owner::Kernel {
            return;
        }
        let Connection { address, listener, .. } = self.connections[connection];
        match listener {
            Some((process, socket)) if self.listeners.get(&address) == listener.as_ref() => {
                self.offer(process, socket, connection);
            }
            _ => self.abandon(side),
        }
    }

    fn arrives(&mut self, side: Side) {
        let machine = self.end(side).machine;
        let end = self.end(side);
        let Some(what) = end.pipe.under_way.pop_front() else { return };
        if end.owner == Owner::Closed {
            // The end is closed. The machine answers with a reset, if it runs.
            if self.running[machine] {
                self.after_delay(Happening::Reset(side.other()));
            }
            return;
        }
        match what {
            Some(bytes) => end.pipe.arrived.extend_from_slice(&bytes),
            None => {
                end.pipe.ended = true;
                self.stranger_dials_again(side);
            }
        }
        if self.end(side).owner == Owner::Replayer {
            return self.replayer_hears(side);
        }
        self.try_receive(side);
    }

    fn reset(&mut self, side: Side) {
        let keeps_unread = self.random.bool();
        let end = self.end(side);
        if end.owner == Owner::Closed || end.reset {
            return;
        }
        end.reset = true;
        end.pipe.under_way.clear();
        if !keeps_unread {
            let unread = end.pipe.unread().len();
            end.pipe.take(unread);
        }
        self.stranger_dials_again(side);
        self.replayer_leaves(side);
        self.try_receive(side);
        self.try_send(side);
    }

    /// Stops all traffic from one machine to another until the given time.
    pub(super) fn cut_path(&mut self, from: usize, to: usize, until: Time) {
        self.cut_until.insert((from, to), until);
    }

    /// Returns the connections that have an open end.
    pub(super) fn open_connections(&self) -> Vec<usize> {
        let open = |connection: &Connection| connection.ends.iter().any(|end| end.owner != Owner::Closed);
        (0..self.connections.len()).filter(|index| open(&self.connections[*index])).collect()
    }

    /// Stops all arrivals at this end until the given time.
    pub(super) fn hold(&mut self, side: Side, until: Time) {
        self.end(side).pipe.held_until = until;
    }

    /// Breaks a connection. The bytes under way are lost from a random byte on. Each end learns of this after a while,
    /// or never.
    pub(super) fn cut(&mut self, connection: usize) {
        for end in 0..2 {
            let side = Side { connection, end };
            let under_way = self.end(side).pipe.bytes_under_way();
            let keep = self.random.usize(..=under_way);
            self.end(side).pipe.cut(keep);
            match self.random.u64(..4) {
                0 => {}
                1 => {
                    let at = self.now() + Duration::from_millis(self.random.u64(..2500));
                    self.timetable.at(at, Happening::Reset(side));
                }
                _ => self.after_delay(Happening::Reset(side)),
            }
        }
    }

    /// Sets whether a machine runs. A machine that is down answers nothing.
    pub(super) fn set_running(&mut self, machine: usize, running: bool) {
        self.running[machine] = running;
    }

    /// Ends all faults of the network.
    pub(super) fn calm(&mut self) {
        self.weather.calm = true;
        self.weather.delay_nanos = self.weather.delay_nanos.min(1_000_000);
        self.cut_until.clear();
        self.running.fill(true);
        for end in self.connections.iter_mut().flat_map(|connection| &mut connection.ends) {
            end.pipe.held_until = Time::default();
        }
    }
}
