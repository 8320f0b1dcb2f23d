//! Timers of a shard: deadlines and their owners.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use slab::Slab;

use crate::driver::SocketId;
use crate::roster::LinkKey;
use crate::time::Time;

/// Owner of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Deadline of a link.
    Link(LinkKey),
    /// Connection that has not greeted or not confirmed, or that is to end.
    Connection(SocketId),
    /// Listener that is paused after a failed accept, or on trial after such a pause.
    Listener(u32),
    /// Server with too many connections that have not greeted.
    Strangers(u32),
    /// Server that stops.
    Stop(u32),
    /// Alarm of an application.
    Alarm(u32),
}

/// Timers, earliest first.
///
/// Timers with the same deadline are stored together. Heartbeats are due at multiples of a grid, so thousands of timers
/// have a few dozen deadlines. Setting or canceling a timer is a lookup of the deadline and one of the place.
///
/// Invariant: each owner (a link, a connection, a server, an alarm) keeps the entry of its timer, and every timer has an owner
/// that keeps its entry. So there are at most as many timers as owners, however often a deadline moves.
#[derive(Debug, Default)]
pub(super) struct Timers {
    moments: BTreeMap<Time, Moment>,
    /// Empty tables for later use.
    spare: Vec<Slab<Timer>>,
}

/// Entry of a timer, which its owner keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    at: Time,
    /// Place among the timers with this deadline, counted from 1.
    place: NonZeroU32,
}

/// Timers with the same deadline, at least one.
#[derive(Debug)]
struct Moment {
    timers: Slab<Timer>,
    /// Lower bound of the places in use.
    first: usize,
}

/// Number of empty tables that are kept.
const SPARE: usize = 64;

impl Entry {
    /// Time at which the timer is due.
    pub(super) fn at(self) -> Time {
        self.at
    }
}

impl Timers {
    /// Sets the timer of an owner. `entry` is the owner's entry. A timer that was set before is replaced.
    pub(super) fn set(&mut self, timer: Timer, entry: &mut Option<Entry>, at: Time) {
        self.cancel(entry);
        let spare = &mut self.spare;
        let new = || Moment { timers: spare.pop().unwrap_or_default(), first: 0 };
        let moment = self.moments.entry(at).or_insert_with(new);
        let place = moment.timers.insert(timer);
        moment.first = moment.first.min(place);
        *entry = Some(Entry { at, place: NonZeroU32::MIN.saturating_add(place as u32) });
    }

    /// Cancels the timer of an owner, if it is set.
    pub(super) fn cancel(&mut self, entry: &mut Option<Entry>) {
        let Some(Entry { at, place }) = entry.take() else { return };
        let Some(moment) = self.moments.get_mut(&at) else {
            debug_assert!(false, "no timer is due at {at:?}");
            return;
        };
        let removed = moment.timers.try_remove(place.get() as usize - 1);
        debug_assert!(removed.is_some(), "no timer at {place} of {at:?}");
        if moment.timers.is_empty() {
            self.remove(at);
        }
    }

    /// Time of the earliest timer.
    pub(super) fn next(&self) -> Option<Time> {
        self.moments.first_key_value().map(|(at, _)| *at)
    }

    /// Removes and returns the earliest timer that is due. Its owner must clear its entry.
    pub(super) fn due(&mut self, now: Time) -> Option<Timer> {
        let mut earliest = self.moments.first_entry().filter(|moment| *moment.key() <= now)?;
        let Moment { timers, first } = earliest.get_mut();
        while *first < timers.capacity() && !timers.contains(*first) {
            *first += 1;
        }
        let timer = timers.try_remove(*first);
        if timers.is_empty() {
            let at = *earliest.key();
            self.remove(at);
        }
        timer
    }

    /// Removes a deadline without timers.
    fn remove(&mut self, at: Time) {
        if let Some(Moment { mut timers, .. }) = self.moments.remove(&at)
            && self.spare.len() < SPARE
        {
            timers.clear();
            self.spare.push(timers);
        }
    }

    /// Number of timers that are set.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn len(&self) -> usize {
        self.moments.values().map(|moment| moment.timers.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

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
        timers.cancel(&mut entries[1]);
        assert_eq!((timers.len(), entries[1]), (2, None));
        assert_eq!((timers.next(), timers.due(at(0))), (entries[0].map(Entry::at), None));
        assert_eq!(timers.due(at(u64::MAX)), Some(Timer::Stop(0)));
        assert_eq!(timers.due(at(u64::MAX)), Some(Timer::Stop(2)));
        assert_eq!((timers.due(at(u64::MAX)), timers.next()), (None, None));
    }

    /// Sets timers with few different deadlines, some of them again while the timers of one deadline are taken.
    #[test]
    fn every_timer_is_due_once_at_its_time() {
        let (mut random, mut timers) = (Rng::with_seed(7), Timers::default());
        let mut entries = vec![None; 300];
        let mut now = 0;
        for _ in 0..20_000 {
            let owner = random.usize(..300);
            match random.u64(..8) {
                0 => timers.cancel(&mut entries[owner]),
                1..5 => {
                    let at = Time::from_nanos(now + random.u64(1..=10));
                    timers.set(Timer::Stop(owner as u32), &mut entries[owner], at);
                }
                5 => now += random.u64(..3),
                _ => {
                    let earliest = entries.iter().flatten().copied().map(Entry::at).min();
                    assert_eq!(timers.next(), earliest);
                    let due = timers.due(Time::from_nanos(now));
                    assert_eq!(due.is_some(), earliest.is_some_and(|at| at.as_nanos() <= now));
                    if let Some(Timer::Stop(owner)) = due {
                        let entry = entries[owner as usize].take();
                        assert_eq!(entry.map(Entry::at), earliest, "it was due already, or is not yet");
                    }
                }
            }
            assert_eq!(timers.len(), entries.iter().flatten().count());
            assert!(timers.moments.values().all(|moment| !moment.timers.is_empty()));
        }
    }
}
