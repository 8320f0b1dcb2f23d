//! What is going to happen, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::pipe::Side;
use crate::time::Time;

/// More than this is a loop that gets nowhere.
const MOST_ENTRIES: u64 = 2_000_000;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Happening {
    /// A dial's first packet reaches the other machine, or does not, at that attempt.
    DialReaches { connection: usize, attempt: u32 },
    /// The answer to a dial is back.
    DialAnswered { connection: usize, reached: bool },
    /// A connection can be accepted.
    Acceptable { connection: usize },
    /// What was sent arrives at that end.
    Arrives(Side),
    /// The kernel at that end has room for more of what is to be sent.
    HasRoom(Side),
    /// That end learns that the connection is over.
    Reset(Side),
    /// The kernel has let go of a socket.
    LetGo { process: usize, socket: u32 },
    /// An event loop turns.
    Turns { process: usize },
    /// An event loop has waited as long as it wanted to.
    Alarm { process: usize, wait: u64 },
    /// An application writes.
    Writes { server: usize, life: u32 },
    /// An application reads.
    Reads { server: usize, life: u32 },
    /// A machine, or a server on it, comes back.
    Starts { server: usize, life: u32 },
    /// A peer that was removed is added again.
    Adds { server: usize, life: u32, peer: usize },
    /// A stranger on that machine dials a server.
    Floods { server: usize, machine: usize },
    /// The next replay is due.
    Replays,
    /// A replay goes on.
    Plays { connection: usize },
    /// The next fault is due.
    Fault,
}

/// The simulation's clock, and what stands before it.
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

    /// How many things have been on it.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn at(&mut self, at: Time, what: Happening) {
        self.entries += 1;
        assert!(self.entries < MOST_ENTRIES, "too much happens, last {what:?}");
        self.heap.push(Reverse((at.max(self.now), self.entries, what)));
    }

    /// Goes on to the next thing, if that is not later than `end`; else to `end`.
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
