//! Alarms of applications: wakers that the loop wakes at a time.

use slab::Slab;

use super::Shard;
use super::timers::{Entry, Timer};
use crate::driver::Driver;
use crate::mailbox::Alarm;
use crate::time::Time;

/// Alarms that are set.
#[derive(Debug, Default)]
pub(super) struct Alarms(Slab<(Alarm, Option<Entry>)>);

impl Alarms {
    /// Number of alarms that are set.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<D: Driver> Shard<D> {
    pub(super) fn set_alarm(&mut self, at: Time, alarm: Alarm) {
        let place = self.alarms.0.insert((alarm, None));
        self.timers.set(Timer::Alarm(place as u32), &mut self.alarms.0[place].1, at);
    }

    pub(super) fn alarm_due(&mut self, place: u32) {
        if let Some((alarm, _)) = self.alarms.0.try_remove(place as usize) {
            alarm.wake();
        }
    }
}
