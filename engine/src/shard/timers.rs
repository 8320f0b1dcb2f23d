//! Timers of a shard: when to look at what again.

use std::collections::BTreeSet;

use super::LinkKey;
use crate::driver::SocketId;
use crate::time::Time;

/// The owner of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A link's deadline.
    Link(LinkKey),
    /// A connection that has not said who it is, or that is to end.
    Connection(SocketId),
    /// A listener that ran out of descriptors.
    Listener(u32),
    /// A server with too many connections that have not greeted.
    Strangers(u32),
    /// A server that stops.
    Stop(u32),
}

/// Timers, earliest first.
///
/// Invariant: each owner (a link, a connection, a server) keeps the time of its entry, and there is no entry that its
/// owner does not name. So there are at most as many entries as owners, however often a deadline moves.
#[derive(Debug, Default)]
pub(super) struct Timers {
    entries: BTreeSet<(Time, Timer)>,
}

impl Timers {
    /// Sets an owner's timer. `entry` is where the owner keeps its time; an earlier setting is replaced.
    pub(super) fn set(&mut self, timer: Timer, entry: &mut Option<Time>, at: Time) {
        self.cancel(timer, entry);
        *entry = Some(at);
        self.entries.insert((at, timer));
    }

    /// Removes an owner's timer, if it has one.
    pub(super) fn cancel(&mut self, timer: Timer, entry: &mut Option<Time>) {
        if let Some(at) = entry.take() {
            let removed = self.entries.remove(&(at, timer));
            debug_assert!(removed, "{timer:?} has no entry at {at:?}");
        }
    }

    /// The time of the earliest timer.
    pub(super) fn next(&self) -> Option<Time> {
        self.entries.first().map(|(at, _)| *at)
    }

    /// Removes and returns the earliest timer that is due. Its owner must forget its entry.
    pub(super) fn due(&mut self, now: Time) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.entries.pop_first().map(|(_, timer)| timer)
    }

    /// Number of timers that are set.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_has_one_entry_however_often_its_deadline_moves() {
        let mut timers = Timers::default();
        let mut entries = [None; 3];
        let at = Time::from_nanos;
        for round in 0..10_000 {
            for (owner, entry) in entries.iter_mut().enumerate() {
                timers.set(Timer::Stop(owner as u32), entry, at(1_000_000 - 17 * round + owner as u64));
            }
            assert_eq!(timers.len(), entries.len());
        }
        timers.cancel(Timer::Stop(1), &mut entries[1]);
        assert_eq!((timers.len(), entries[1]), (2, None));
        assert_eq!((timers.next(), timers.due(at(0))), (entries[0], None));
        assert_eq!(timers.due(at(u64::MAX)), Some(Timer::Stop(0)));
        assert_eq!(timers.due(at(u64::MAX)), Some(Timer::Stop(2)));
        assert_eq!((timers.due(at(u64::MAX)), timers.next()), (None, None));
    }
}
