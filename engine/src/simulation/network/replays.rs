//! Replays: an attacker on the network records what dialers send, and replays it on connections of its own.
//!
//! Servers must not believe a replay: it cannot repeat the challenge of the Welcome that it gets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;

use super::super::pipe::{Connection, End, Owner, Side};
use super::super::timetable::Happening;
use super::super::trace::Action;
use super::Network;
use crate::testing::one_in;
use crate::wire::{Kind, NO_STREAM, SegmentHeader};

/// Most bytes that are recorded of a connection.
const RECORDED_BYTES: usize = 64 * 1024;
/// Most replays under way.
const MOST: usize = 8;
/// Number of latest recordings, from which every second replay is drawn.
const LATEST: usize = 4;
/// Mean pause between replays when no other faults occur, in milliseconds.
pub(crate) const CALM_PAUSE_MS: u64 = 20;

/// Recordings, and replays under way.
pub(crate) struct Replays {
    random: Rng,
    /// Mean pause between replays, in milliseconds. 0 if there are no replays at present.
    pause_ms: u64,
    /// Recordings by the connection that was recorded.
    recordings: BTreeMap<usize, Recording>,
    /// Replays by the connection on which they are played.
    under_way: BTreeMap<usize, Replay>,
}

/// Bytes that a dialer has sent, from its Hello on.
#[derive(Clone)]
struct Recording {
    address: SocketAddr,
    machine: usize,
    bytes: Vec<u8>,
}

/// Rest of a replay.
struct Replay {
    bytes: Vec<u8>,
    /// The replayer ends its direction after the last byte, and reads on for a while.
    half_closes: bool,
}

impl Replays {
    pub(crate) fn new(random: Rng) -> Replays {
        Replays { random, pause_ms: 0, recordings: BTreeMap::new(), under_way: BTreeMap::new() }
    }

    /// Draws a recording, and the number of its bytes to replay.
    fn draw(&mut self) -> Option<(Recording, usize)> {
        let random = &mut self.random;
        let all = self.recordings.len();
        let most = if random.bool() { all.min(LATEST) } else { all };
        let recording = random.choice(self.recordings.values().rev().take(most))?;
        let whole = recording.bytes.len();
        let end = if one_in(random, 3) { random.usize(1..=whole) } else { whole };
        Some((recording.clone(), end))
    }
}

impl Network {
    /// Starts recording the dialers.
    pub(crate) fn record(&mut self, random: Rng) {
        self.replays = Some(Replays::new(random));
    }

    /// Records bytes that this end has sent, if it has dialed.
    pub(crate) fn record_sent(&mut self, side: Side, bytes: &[u8]) {
        let Some(replays) = self.replays.as_mut().filter(|_| side.end == 0) else { return };
        let Connection { address, ends, .. } = &self.connections[side.connection];
        let (address, machine) = (*address, ends[0].machine);
        let empty = || Recording { address, machine, bytes: Vec::new() };
        let recorded = &mut replays.recordings.entry(side.connection).or_insert_with(empty).bytes;
        let room = RECORDED_BYTES - recorded.len();
        recorded.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Starts replaying recordings, at this mean pause in milliseconds.
    pub(crate) fn begin_replays(&mut self, pause_ms: u64) {
        let Some(replays) = &mut self.replays else { return };
        replays.pause_ms = pause_ms;
        self.replay_later();
    }

    /// Ends all replays: closes their connections, and starts no others.
    pub(crate) fn end_replays(&mut self) {
        let Some(replays) = &mut self.replays else { return };
        replays.pause_ms = 0;
        for connection in std::mem::take(&mut replays.under_way).into_keys() {
            self.abandon(Side { connection, end: 0 });
        }
    }

    fn replay_later(&mut self) {
        let now = self.now();
        let Some(replays) = self.replays.as_mut().filter(|replays| replays.pause_ms > 0) else { return };
        let pause = Duration::from_millis(replays.random.u64(1..=replays.pause_ms * 2));
        self.timetable.at(now + pause, Happening::Replays);
    }

    /// Starts a replay of a recording, or several replays of one.
    pub(crate) fn replay(&mut self) {
        let machines = self.machines();
        let Some(replays) = self.replays.as_mut().filter(|replays| replays.pause_ms > 0) else { return };
        let times = if one_in(&mut replays.random, 4) { 5 } else { 1 };
        let drawn = replays.draw();
        for _ in 0..times {
            let Some((Recording { address, machine, bytes }, end)) = &drawn else { break };
            let Some(replays) = self.replays.as_mut().filter(|replays| replays.under_way.len() < MOST) else { break };
            // From the machine where it was recorded, or from one without servers.
            let machine = if replays.random.bool() { *machine } else { machines };
            let replay = Replay { bytes: bytes[..*end].to_vec(), half_closes: replays.random.bool() };
            let connection = self.connections.len();
            replays.under_way.insert(connection, replay);
            let (now, server) = (self.timetable.now(), address.port() - 7000);
            self.trace.record(now, &Action::Replay { connection, server, bytes: *end });
            let ends = [End::new(machine, Owner::Replayer), End::new(machine, Owner::Closed)];
            self.connections.push(Connection { address: *address, listener: None, ends });
            self.after_delay(Happening::DialReaches { connection, attempt: 0 });
        }
        self.replay_later();
    }

    /// Handles the answer to the dial of a replay.
    pub(crate) fn replay_answered(&mut self, connection: usize, reached: bool) {
        if reached {
            self.go_on_replaying(connection);
        } else {
            self.replayer_leaves(Side { connection, end: 0 });
        }
    }

    /// Sends the next part of a replay, or ends its connection.
    pub(crate) fn go_on_replaying(&mut self, connection: usize) {
        let side = Side { connection, end: 0 };
        let now = self.now();
        let Some(replays) = &mut self.replays else { return };
        let Some(replay) = replays.under_way.get_mut(&connection) else { return };
        let rest = replay.bytes.len();
        if rest == 0 && !std::mem::take(&mut replay.half_closes) {
            replays.under_way.remove(&connection);
            return self.abandon(side);
        }
        let random = &mut replays.random;
        let bytes = if rest > 0 && random.bool() { random.usize(1..=rest) } else { rest };
        let part: Vec<u8> = replay.bytes.drain(..bytes).collect();
        // A long pause waits for an answer, or keeps a link busy that takes the replayer for its peer.
        let pause = if random.bool() { random.u64(..2000) } else { random.u64(..3_000_000) };
        self.timetable.at(now + Duration::from_micros(pause), Happening::Plays { connection });
        if part.is_empty() {
            return self.finish_side(side);
        }
        self.end(side.other()).pipe.bytes += part.len();
        self.put_under_way(side.other(), Some(part));
    }

    /// Reads and discards the answers of a server. Asserts that no answer mentions a stream: the server does not
    /// believe the replay.
    pub(crate) fn replayer_hears(&mut self, side: Side) {
        let (now, connection) = (self.now(), side.connection);
        let pipe = &mut self.connections[connection].ends[side.end].pipe;
        let mut heard = 0;
        while let Some(header) = SegmentHeader::parse(pipe.unread()).expect("a segment").copied()
            && header.segment_bytes() <= pipe.unread().len()
        {
            let speaks_of_streams = match header.kind() {
                Kind::Welcome | Kind::Refuse | Kind::Heartbeat | Kind::Goodbye => header.ack_stream.get() != NO_STREAM,
                _ => true,
            };
            assert!(!speaks_of_streams, "a connection that was played again is believed: it is told {header:?}");
            self.trace.record(now, &Action::ReplayAnswered { connection, kind: header.kind() as u8 });
            heard += header.segment_bytes();
            pipe.take(header.segment_bytes());
        }
        if heard > 0 {
            self.after_delay(Happening::HasRoom(side.other()));
        }
    }

    /// Ends a replay whose connection is over. Does nothing for other connections.
    pub(crate) fn replayer_leaves(&mut self, side: Side) {
        if self.end(side).owner == Owner::Replayer {
            self.end(side).owner = Owner::Closed;
            if let Some(replays) = &mut self.replays {
                replays.under_way.remove(&side.connection);
            }
        }
    }
}
