//! Simulation of two links over failing connections, in virtual time.
//!
//! A seed determines each run: `LINK_SEEDS=17..18` replays seed 17 alone, `LINK_SEEDS=0..20000` searches for failures.

mod driving;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::super::{Link, Local, State};
use super::application::{Application, Record, Records};
use super::network::{End, Socket};
use crate::batch::Batch;
use crate::session::Session;
use crate::testing::batch_bytes;
use crate::testing::{one_in, seeded};
use crate::time::Time;
use crate::wire::{GoodbyeReason, WireIncarnation};

const PIDS: [u64; 2] = [100, 200];
/// Time after the last fault within which everything must be delivered.
const PATIENCE: Duration = Duration::from_secs(60);

/// Number of events above which a run counts as an endless loop.
const MOST_EVENTS: u64 = 1_000_000;

#[test]
fn two_links_deliver_everything_once_and_in_order() {
    let seeds = std::env::var("LINK_SEEDS").ok().and_then(|range| {
        let (from, to) = range.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let seeds: Range<u64> = seeds.unwrap_or(0..200);
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| Simulation::new(seed).run())) {
            let message = panic.downcast_ref::<String>().cloned();
            let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let Some(message) = message else { resume_unwind(panic) };
            panic!("seed {seed}: {message}\nreplay it with LINK_SEEDS={seed}..{}", seed + 1);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Dialed(Socket, bool),
    Accepted(Socket),
    Arrives(Socket),
    /// The kernel takes more of a batch.
    Takes(Socket),
    /// An end learns that its connection is over.
    Broken(Socket),
    LinkTimer(usize, u32),
    ConnectionTimer(Socket),
    Writes(usize, u32),
    Reads(usize, u32),
    Fault,
}

/// One server: its link, as the shard keeps it, and its application.
struct Side {
    life: u32,
    /// Number of streams of the link at the last check.
    streams: usize,
    local: Arc<Local>,
    link: Link,
    socket: Option<Socket>,
    timer: Option<Time>,
    dirty: bool,
    up: bool,
    writing: bool,
    reading: bool,
    /// Number of changes between up and down.
    changes: u32,
    /// Number of envelopes that the application was told are dropped.
    dropped: u64,
    application: Application,
}

struct Simulation {
    random: Rng,
    now: Time,
    timetable: BinaryHeap<Reverse<(Time, u64, What)>>,
    entries: u64,
    sides: Vec<Side>,
    connections: Vec<[End; 2]>,
    records: Records,
    calm: bool,
    /// Usual delay of an event, in nanoseconds.
    delay: u64,
    quota: u64,
    largest: usize,
    droppable: u64,
    restarts: u32,
    restarted: bool,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut random = seeded(seed);
        let delay = 10_000 << random.u64(..12);
        let quota = random.u64(1..=60);
        let largest = if one_in(&mut random, 3) { 1024 } else { ((8 * 1024) << random.u64(..6)).min(200 * 1024) };
        let droppable = if random.bool() { 0 } else { random.u64(1..=4) };
        let restarts = if random.bool() { 0 } else { random.u32(1..=3) };
        let mut simulation = Simulation {
            random,
            now: Time::default() + Duration::from_secs(1),
            timetable: BinaryHeap::new(),
            entries: 0,
            sides: Vec::new(),
            connections: Vec::new(),
            records: Records::new(),
            calm: false,
            delay,
            quota,
            largest,
            droppable,
            restarts,
            restarted: false,
        };
        let window_bytes = (128 * 1024) << simulation.random.u64(..3);
        let eager = simulation.random.bool();
        let checksum_payload = one_in(&mut simulation.random, 8);
        for (side, pid) in PIDS.into_iter().enumerate() {
            let life = 1;
            let local = Arc::new(Local {
                pid,
                incarnation: simulation.incarnation(life),
                secret: 7,
                cluster: "simulated".to_owned(),
                window_bytes,
                max_envelope_bytes: 1 << 20,
                socket_bytes: 0,
                checksum_payload,
                heartbeat_interval: Duration::from_millis(500),
                peer_timeout: Duration::from_millis(1500),
                eager,
            });
            let started = simulation.start(side, life, local);
            simulation.sides.push(started);
            simulation.begin(side);
        }
        simulation.after_delay(What::Fault);
        simulation
    }

    fn incarnation(&mut self, life: u32) -> WireIncarnation {
        let mut incarnation = [0; 16];
        self.random.fill(&mut incarnation[..8]);
        incarnation[8..12].copy_from_slice(&life.to_le_bytes());
        incarnation
    }

    fn start(&mut self, side: usize, life: u32, local: Arc<Local>) -> Side {
        let mut link = Link::new(local.clone(), PIDS[1 - side]);
        let mut application = Application::new(side, life, local.window_bytes, self.largest, self.droppable);
        for _ in 0..=self.random.u64(..3) {
            let quota = self.random.u64(1..=self.quota) as usize;
            link.open(application.open(&mut self.random, quota));
        }
        Side {
            life,
            streams: 0,
            local,
            link,
            socket: None,
            timer: None,
            dirty: true,
            up: false,
            writing: false,
            reading: false,
            changes: 0,
            dropped: 0,
            application,
        }
    }

    fn begin(&mut self, side: usize) {
        self.write_and_read(side);
        self.flush(side);
    }

    /// Schedules the application's next writing and reading, if it has any to do.
    fn write_and_read(&mut self, side: usize) {
        let pace = self.delay.max(500_000);
        let life = self.sides[side].life;
        let state = &mut self.sides[side];
        if !state.application.has_written_all() && !std::mem::replace(&mut state.writing, true) {
            let at = self.now + Duration::from_nanos(self.random.u64(..pace));
            self.at(at, What::Writes(side, life));
        }
        let state = &mut self.sides[side];
        if !state.application.has_read_all() && !std::mem::replace(&mut state.reading, true) {
            let at = self.now + Duration::from_nanos(self.random.u64(..pace));
            self.at(at, What::Reads(side, life));
        }
    }

    fn run(&mut self) {
        let chaos = self.now + Duration::from_millis(100 + self.random.u64(..5000));
        self.run_until(chaos);
        self.calm = true;
        self.delay = self.delay.min(1_000_000);
        for connection in &mut self.connections {
            for end in connection {
                end.pipe.stalled_until = Time::default();
            }
        }
        let patience = self.now + PATIENCE;
        while !self.is_quiet() {
            assert!(self.now < patience, "not everything is delivered and acknowledged: {}", self.describe());
            self.step();
        }
        // Connections that are dead without notice, or late, end in this time.
        self.run_until(self.now + Duration::from_secs(8));
        assert!(self.sides.iter().all(|side| side.link.state() == State::Up), "not up: {}", self.describe());
        let changes = self.sides[0].changes + self.sides[1].changes;
        self.run_until(self.now + Duration::from_secs(4));
        assert_eq!(self.sides[0].changes + self.sides[1].changes, changes, "an idle link does not stay up");
        // An envelope that is sent now is delivered and acknowledged at once.
        for side in 0..2 {
            for outbox in &mut self.sides[side].application.outboxes {
                outbox.quota += 1;
            }
            self.write_and_read(side);
        }
        self.run_until(self.now + Duration::from_millis(150));
        assert!(self.is_quiet(), "slow: {}", self.describe());
        self.check_account();
    }

    /// Asserts that the dropped envelopes are those that did not arrive. After a restart, a dropped envelope may have
    /// arrived at the earlier incarnation of the peer.
    fn check_account(&self) {
        for (index, side) in self.sides.iter().enumerate() {
            let records = self.records.iter().filter(|(key, _)| (key.0, key.1) == (index, side.life));
            let lost = records.map(|(_, record)| record.lost() as u64).sum::<u64>();
            assert!(lost <= side.dropped, "{lost} did not arrive, {} were dropped", side.dropped);
            assert!(self.restarted || lost == side.dropped, "{lost} did not arrive, {} were dropped", side.dropped);
        }
    }

    fn describe(&mut self) -> String {
        let mut text = String::new();
        for side in &mut self.sides {
            text += &format!("\npid {} is {:?} on {:?}:", side.local.pid, side.link.state(), side.socket);
            for stream in side.link.outgoing() {
                let (id, written) = (stream.id(), stream.written());
                let (sent, acked) = (stream.sent(), stream.acked());
                text += &format!(" stream {id}: written {written} sent {sent} acked {acked};");
            }
            for outbox in &side.application.outboxes {
                text +=
                    &format!(" outbox {} has {} to write, sleeps: {};", outbox.stream, outbox.quota, outbox.sleeps());
            }
        }
        text
    }

    fn is_quiet(&mut self) -> bool {
        let records = &self.records;
        self.sides.iter_mut().enumerate().all(|(index, side)| {
            let life = side.life;
            side.application.has_written_all()
                && side.application.has_read_all()
                && side.link.is_drained()
                && side.application.outboxes.iter().all(|outbox| {
                    let record = records.get(&(index, life, outbox.stream));
                    record.is_none_or(|record| record.delivered == record.ends.len())
                })
        })
    }

    fn run_until(&mut self, end: Time) {
        while self.timetable.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    fn step(&mut self) {
        let Some(Reverse((at, _, what))) = self.timetable.pop() else { panic!("nothing happens any more") };
        self.now = at;
        assert!(self.entries < MOST_EVENTS, "too much happens, last {what:?}: {}", self.describe());
        self.happens(what);
        for side in 0..2 {
            self.flush_dirty(side);
            self.check(side);
        }
    }

    fn check(&mut self, index: usize) {
        let side = &mut self.sides[index];
        for stream in side.link.outgoing() {
            let record = self.records.get(&(index, side.life, stream.id()));
            let delivered = record.map_or(0, |record: &Record| record.begin(record.delivered));
            let (acked, sent, written) = (stream.acked(), stream.sent(), stream.written());
            assert!(acked <= delivered, "stream {}: acknowledged {acked}, delivered {delivered}", stream.id());
            assert!(acked <= sent && sent <= written, "{acked} {sent} {written}");
        }
        // A stream that the link has ended had nothing left to deliver.
        if std::mem::replace(&mut side.streams, side.link.outgoing().len()) == side.link.outgoing().len() {
            return;
        }
        for ((_, _, stream), record) in self.records.iter().filter(|(key, _)| (key.0, key.1) == (index, side.life)) {
            let open = side.link.outgoing().iter().any(|outgoing| outgoing.id() == *stream);
            assert!(open || record.delivered == record.ends.len(), "stream {stream} ended early");
        }
    }

    fn at(&mut self, at: Time, what: What) {
        self.entries += 1;
        self.timetable.push(Reverse((at, self.entries, what)));
    }

    fn some_delay(&mut self) -> Duration {
        let longer = if !self.calm && one_in(&mut self.random, 40) { 20 } else { 1 };
        Duration::from_nanos(self.random.u64(1..=self.delay * longer))
    }

    fn after_delay(&mut self, what: What) {
        let at = self.now + self.some_delay();
        self.at(at, what);
    }

    fn happens(&mut self, what: What) {
        match what {
            What::Dialed(socket, reached) => self.dialed(socket, reached),
            What::Accepted(socket) => self.accepted(socket),
            What::Arrives(socket) => self.arrives(socket),
            What::Takes(socket) => self.takes(socket),
            What::Broken(socket) => self.disconnected(socket),
            // A timer that was replaced by an earlier one does nothing.
            What::LinkTimer(side, life)
                if self.sides[side].life == life && self.sides[side].timer == Some(self.now) =>
            {
                self.sides[side].timer = None;
                self.sides[side].link.timeout(self.now, self.now);
                self.tell(side);
                self.sides[side].dirty = true;
            }
            What::ConnectionTimer(socket) => self.connection_expired(socket),
            What::Writes(side, life) if self.sides[side].life == life => {
                let state = &mut self.sides[side];
                state.dirty |= state.application.write(&mut self.random, self.now, &mut self.records);
                state.writing = false;
                self.write_and_read(side);
            }
            What::Reads(side, life) if self.sides[side].life == life => {
                let state = &mut self.sides[side];
                if state.application.read(&mut self.random) {
                    state.link.consumed();
                    state.dirty = true;
                }
                state.reading = false;
                self.write_and_read(side);
            }
            What::Fault => self.fault(),
            _ => {}
        }
    }

    fn fault(&mut self) {
        if self.calm {
            return;
        }
        let pause = Duration::from_millis(self.random.u64(1..=600));
        self.at(self.now + pause, What::Fault);
        let side = self.random.usize(..2);
        match self.random.u64(..8) {
            0..3 => {
                let live: Vec<usize> = (0..self.connections.len())
                    .filter(|index| self.connections[*index].iter().any(|end| end.open))
                    .collect();
                if let Some(connection) = self.random.choice(live) {
                    self.cut(connection);
                }
            }
            3..5 => {
                // Silence in one direction or both.
                let until = self.now + Duration::from_millis(self.random.u64(..3500));
                if let Some(socket) = self.sides[side].socket {
                    self.end(socket).pipe.stalled_until = until;
                    if self.random.bool() {
                        self.end(socket.other()).pipe.stalled_until = until;
                    }
                }
            }
            5 if self.restarts > 0 => {
                self.restarts -= 1;
                self.restart(side);
            }
            6 => {
                // An outbox is removed once it has written everything, and another one is added.
                let state = &mut self.sides[side];
                let quota = self.random.usize(1..=8);
                let stream = state.application.open(&mut self.random, quota);
                state.link.open(stream);
                state.application.outboxes.retain(|outbox| outbox.quota > 0 || self.random.bool());
                state.dirty = true;
                self.write_and_read(side);
            }
            _ => {}
        }
    }

    /// Ends a connection. Bytes under way are lost from a random one on, and each end learns of it after some time, or
    /// never.
    fn cut(&mut self, connection: usize) {
        for end in 0..2 {
            let socket = Socket { connection, end };
            let under_way = self.end(socket).pipe.bytes.len();
            let keep = self.random.usize(..=under_way);
            let pipe = &mut self.end(socket).pipe;
            pipe.bytes.truncate(keep);
            pipe.dead = true;
            match self.random.u64(..4) {
                0 => {}
                1 => {
                    let at = self.now + Duration::from_millis(self.random.u64(..2500));
                    self.at(at, What::Broken(socket));
                }
                _ => self.after_delay(What::Broken(socket)),
            }
        }
    }

    fn restart(&mut self, side: usize) {
        if one_in(&mut self.random, 3) {
            // The server is stopped, and says goodbye.
            let (now, mut batch) = (self.now, Batch::default());
            if let Some(socket) = self.sides[side].socket {
                self.with_session(socket, |session, links| {
                    session.close(GoodbyeReason::Stopped, links, now, &mut batch);
                });
                let mut bytes = Vec::new();
                if let Some((sending, taken)) = self.end(socket).sending.take() {
                    bytes.extend(batch_bytes(&sending, taken, sending.bytes()));
                }
                bytes.extend(batch_bytes(&batch, 0, batch.bytes()));
                self.write_pipe(socket, &bytes);
            }
        }
        // The host may have died with the process: then the peer is not told that its connections are over.
        let silent = one_in(&mut self.random, 3);
        for connection in 0..self.connections.len() {
            for end in 0..2 {
                let socket = Socket { connection, end };
                if self.end(socket).side != side || !self.end(socket).open && end == 0 {
                    continue;
                }
                if silent {
                    let end = self.end(socket);
                    (end.open, end.sending, end.session) = (false, None, Session::ended());
                    self.end(socket.other()).pipe.dead = true;
                } else {
                    self.close(socket);
                }
            }
        }
        self.restarted = true;
        let life = self.sides[side].life + 1;
        let local = Local { incarnation: self.incarnation(life), ..(*self.sides[side].local).clone() };
        self.sides[side] = self.start(side, life, Arc::new(local));
        self.begin(side);
    }
}
