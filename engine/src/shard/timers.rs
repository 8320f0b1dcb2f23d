//! Timers of a shard: when to look at what again.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use slab::Slab;

use crate::driver::SocketId;
use crate::roster::LinkKey;
use crate::time::Time;

/// The owner of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
/// Those that are due at the same moment stand together: heartbeats are due at multiples of a grid, so that thousands
/// of timers are due at a few dozen moments, and to set or cancel one costs a look at two places.
///
/// Invariant: each owner (a link, a connection, a server) keeps its entry, and there is none that its owner does not
/// name. So there are at most as many entries as owners, however often a deadline moves.
#[derive(Debug, Default)]
pub(super) struct Timers {
    moments: BTreeMap<Time, Moment>,
    /// Empty ones, to be used again.
    spare: Vec<Slab<Timer>>,
}

/// Where an owner's timer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    at: Time,
    /// Its place among those of this moment, counted from 1.
    place: NonZeroU32,
}

/// The timers that are due at the same moment; at least one.
#[derive(Debug)]
struct Moment {
    timers: Slab<Timer>,
    /// There is none before this place.
    first: usize,
}

/// Empty places for the timers of a moment that are kept.
const SPARE: usize = 64;

impl Entry {
    /// When the timer is due.
    pub(super) fn at(self) -> Time {
        self.at
    }
}

impl Timers {
    /// Sets an owner's timer. `entry` is where the owner keeps it; an earlier setting is replaced.
    pub(super) fn set(&mut self, timer: Timer, entry: &mut Option<Entry>, at: Time) {
        self.cancel(entry);
        let spare = &mut self.spare;
        let new = || Moment { timers: spare.pop().unwrap_or_default(), first: 0 };
        let moment = self.moments.entry(at).or_insert_with(new);
        let place = moment.timers.insert(timer);
        moment.first = moment.first.min(place);
        *entry = Some(Entry { at, place: NonZeroU32::MIN.saturating_add(place as u32) });
    }

    /// Removes an owner's timer, if it has one.
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

    /// The time of the earliest timer.
    pub(super) fn next(&self) -> Option<Time> {
        self.moments.first_key_value().map(|(at, _)| *at)
    }

    /// Removes and returns the earliest timer that is due. Its owner must forget its entry.
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

    /// Removes a moment that has no timers any more.
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
    use crate::testing::Random;

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

    /// Owners with few different deadlines, some of which are set again while those of a moment are taken.
    #[test]
    fn every_timer_is_due_once_at_its_time() {
        let (mut random, mut timers) = (Random::new(7), Timers::default());
        let mut entries = vec![None; 300];
        let mut now = 0;
        for _ in 0..20_000 {
            let owner = random.below(300) as usize;
            match random.below(8) {
                0 => timers.cancel(&mut entries[owner]),
                1..5 => {
                    let at = Time::from_nanos(now + 1 + random.below(10));
                    timers.set(Timer::Stop(owner as u32), &mut entries[owner], at);
                }
                5 => now += random.below(3),
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
