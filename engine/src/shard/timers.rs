//! When to look at what again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::LinkKey;
use crate::driver::SocketId;
use crate::time::Time;

/// What a timer is for. A timer that comes for something that is over, or not due yet, does nothing: whoever it is for
/// knows its own deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A link's deadline.
    Link(LinkKey),
    /// A connection that has not said who it is, or that is to end.
    Connection(SocketId),
    /// A listener that ran out of descriptors.
    Listener(SocketId),
    /// A server that stops.
    Stop(u32),
}

/// Timers, earliest first.
#[derive(Debug)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Time, Timer)>>,
}

/// Room at the start: a loop with few peers asks for no memory later, whenever its timers happen to come.
const ROOM: usize = 64;

impl Default for Timers {
    fn default() -> Timers {
        Timers { heap: BinaryHeap::with_capacity(ROOM) }
    }
}

impl Timers {
    pub(super) fn set(&mut self, at: Time, timer: Timer) {
        self.heap.push(Reverse((at, timer)));
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next timer that is due.
    pub(super) fn due(&mut self, now: Time) -> Option<Timer> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, timer))| timer)
    }
}
