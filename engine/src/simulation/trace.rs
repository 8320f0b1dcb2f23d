//! History of a simulation, as a hash that tells two runs apart, and optionally as readable lines.

use std::fmt::{Debug, Formatter};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::history::Life;
use crate::events::Event;
use crate::link::{DownReason, Pid, Undelivered};
use crate::stream::Lane;
use crate::time::Time;

/// Callback for each line of a trace.
pub type Lines<'a> = &'a mut dyn FnMut(&str);

/// History, hashed while it happens.
pub(super) struct Trace {
    hash: Words,
    /// Lines not taken yet. `None` if the history is not printed.
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(readable: bool) -> Trace {
        Trace { hash: Words(0xCBF2_9CE4_8422_2325), lines: readable.then(Vec::new) }
    }

    /// Records a happening or an action at `now`.
    pub(super) fn record(&mut self, now: Time, what: &(impl Debug + Hash)) {
        now.hash(&mut self.hash);
        what.hash(&mut self.hash);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>13.6} ms  {what:?}", now.as_nanos() as f64 / 1e6));
        }
    }

    /// Records bytes that are sent on a connection.
    pub(super) fn record_bytes(&mut self, bytes: &[u8]) {
        self.hash.write_usize(bytes.len());
        self.hash.write(bytes);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Takes the lines recorded since the last call.
    pub(super) fn take_lines(&mut self) -> Vec<String> {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// Actions of servers, applications and faults that the [timetable](super::timetable) does not plan.
///
/// The hash covers the order of the variants and their values. Names and texts may change without changing it.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Action<'a> {
    Start { server: Life },
    Write { server: Life, number: u32, id: i64, bytes: usize, to: usize, lane: Lane, quota: u64 },
    Read { server: Life, id: i64, bytes: usize, from: Pid },
    Told { server: Life, event: EventValues<'a> },
    StopWithin { server: Life, patience: Duration },
    Stopped { server: Life, undelivered: &'a [Undelivered] },
    RemovePeer { server: Life, peer: usize },
    Crash { machine: usize, silently: bool },
    Pause { machine: usize, pause: Duration },
    CutConnection { connection: usize },
    StallConnection { connection: usize, towards: usize, pause: Duration, both: bool },
    CutPath { from: usize, to: usize, pause: Duration, both: bool },
    Replay { connection: usize, server: u16, bytes: usize },
    ReplayAnswered { connection: usize, kind: u8 },
    FaultsEnd,
    AllHasArrived,
    ReplaysBegin,
}

/// Event that is hashed without its texts.
#[derive(Clone, Copy)]
pub(super) struct EventValues<'a>(pub(super) &'a Event);

impl Debug for EventValues<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Hash for EventValues<'_> {
    fn hash<H: Hasher>(&self, hash: &mut H) {
        match self.0 {
            Event::Up { pid, incarnation } => (0, pid, incarnation).hash(hash),
            Event::Down { pid, reason } => {
                let reason = match reason {
                    DownReason::Closed => 0,
                    DownReason::Silent => 1,
                    DownReason::Stopped => 2,
                    DownReason::Removed => 3,
                    DownReason::Violation(_) => 4,
                    DownReason::NoMemory => 5,
                    _ => 6,
                };
                (1, pid, reason).hash(hash);
            }
            Event::Restarted { pid, incarnation } => (2, pid, incarnation).hash(hash),
            Event::Reset { pid } => (3, pid).hash(hash),
            Event::Refused { pid, reason } => (4, pid, reason).hash(hash),
            Event::Dropped { pid, count, reason } => (5, pid, count, reason).hash(hash),
            Event::Added { pid } => (6, pid).hash(hash),
            Event::Removed { pid } => (7, pid).hash(hash),
            Event::AcceptFailed { error: _ } => 8.hash(hash),
            Event::AcceptResumed => 9.hash(hash),
            Event::DialFailed { error: _ } => 10.hash(hash),
            Event::DialResumed => 11.hash(hash),
            Event::Missed { count } => (12, count).hash(hash),
            Event::EngineFailed { message: _ } => 13.hash(hash),
            Event::EpollFallback { reason: _ } => 15.hash(hash),
            Event::CallbackPanicked { callback, count, message: _ } => (14, callback, count).hash(hash),
        }
    }
}

/// FNV-1a over words. The standard library does not promise that its own hashes stay the same.
struct Words(u64);

impl Words {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01B3).rotate_left(29);
    }
}

impl Hasher for Words {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.word(u64::from(*byte)));
    }

    fn write_u32(&mut self, word: u32) {
        self.word(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.word(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.word(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.word(word as u64);
    }
}
