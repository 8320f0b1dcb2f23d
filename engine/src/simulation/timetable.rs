//! Timetable of the happenings that are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::pipe::Side;
use crate::time::Time;

/// Limit on planned happenings. More mean that the simulation makes no progress.
const MOST_ENTRIES: u64 = 2_000_000;

/// Event of the simulation that happens at a planned time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Happening {
    /// The first packet of a dial's attempt reaches the other machine, or is lost.
    DialReaches { connection: usize, attempt: u32 },
    /// The answer to a dial arrives.
    DialAnswered { connection: usize, reached: bool },
    /// A connection is ready to be accepted.
    Acceptable { connection: usize },
    /// Bytes, or their end, arrive at this end.
    Arrives(Side),
    /// The kernel at this end has room for more bytes to be sent.
    HasRoom(Side),
    /// This end learns that the connection is over.
    Reset(Side),
    /// The kernel has released a socket.
    LetGo { process: usize, socket: u32 },
    /// An event loop runs one turn.
    Turns { process: usize },
    /// The wait of an event loop is over.
    Alarm { process: usize, wait: u64 },
    /// An application writes.
    Writes { server: usize, life: u32 },
    /// An application reads.
    Reads { server: usize, life: u32 },
    /// A server starts again, with its machine if that is down.
    Starts { server: usize, life: u32 },
    /// A removed peer is added again.
    Adds { server: usize, life: u32, peer: usize },
    /// A stranger on this machine dials a server.
    Floods { server: usize, machine: usize },
    /// The next replay is due.
    Replays,
    /// A replay continues.
    Plays { connection: usize },
    /// The next fault is due.
    Fault,
}

/// Clock of the simulation, and the happenings that are due.
pub(super) struct Timetable {
    now: Time,
    entries: u64,
    heap: BinaryHeap<Reverse<(Time, u64, Happening)>>,
}

impl Timetable {
    pub(super) fn new(now: Time) -> Timetable {
        Timetable { now, entries: 0, heap: BinaryHeap::new() }
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    /// Returns the number of happenings planned so far.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn at(&mut self, at: Time, what: Happening) {
        self.entries += 1;
        assert!(self.entries < MOST_ENTRIES, "too much happens, last {what:?}");
        self.heap.push(Reverse((at.max(self.now), self.entries, what)));
    }

    /// Advances the clock to the next happening and returns it. If none is due until `end`, advances the clock to
    /// `end`.
    pub(super) fn next(&mut self, end: Time) -> Option<Happening> {
        match self.heap.peek() {
            Some(Reverse((at, ..))) if *at <= end => {
                self.now = *at;
                self.heap.pop().map(|Reverse((.., what))| what)
            }
            _ => {
                self.now = end;
                None
            }
        }
    }
}
