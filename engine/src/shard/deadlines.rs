//! Deadlines of links, connections and servers: which timer is set for them, and what happens when it is due.

use std::time::Duration;

use super::Shard;
use super::timers::{Entry, Timer};
use crate::driver::{Budget, Driver};
use crate::link::State;
use crate::roster::LinkKey;
use crate::time::Time;

/// A timer whose deadline has passed and whose work cannot be done yet is looked at again after this.
pub(super) const OVERDUE: Duration = Duration::from_millis(10);

/// After a turn that took so long as many timers are looked at as after one that has read everything.
const SLOW_TURN: Duration = Duration::from_millis(50);

impl<D: Driver> Shard<D> {
    /// Sends a heartbeat, if it is time, on a link of which nothing else is due, without a look at its streams: their
    /// writers signal. `answers`: the peer's has just come.
    ///
    /// Idle links cost this and nothing else. Returns whether that was all that there was to do.
    pub(super) fn send_heartbeat(&mut self, key: LinkKey, now: Time, answers: bool) -> bool {
        if !self.slot(key).is_some_and(|slot| slot.asleep && !slot.dirty) || self.is_sending(key) {
            return false;
        }
        let mut done = false;
        let due = self.slot(key).filter(|slot| !answers && slot.link.next_heartbeat() <= now);
        if let Some(socket) = due.and_then(|slot| slot.socket) {
            let unread = self.driver.is_unread(socket);
            if let Some(slot) = self.slot(key) {
                // Never twice in a row: that it has not said so does not prove that it has not read.
                slot.postponed = unread && !slot.postponed;
                if slot.postponed {
                    slot.link.postpone_heartbeat(now);
                }
            }
        }
        self.send_with(key, |link, batch| done = link.transmit_heartbeat(now, answers, batch));
        if done && let Some(slot) = self.nodes.get_mut(&key.node).and_then(|node| node.links.get_mut(key.link)) {
            let at = not_before(now, slot.link.next_heartbeat());
            if slot.timer.map(Entry::at) != Some(at) {
                self.timers.set(Timer::Link(key), &mut slot.timer, at);
            }
        }
        done
    }

    /// Sets the timer for the link's deadline, unless an earlier one is set that will look at it.
    pub(super) fn schedule(&mut self, key: LinkKey, now: Time) {
        let sending = self.is_sending(key);
        let Some(slot) = self.nodes.get_mut(&key.node).and_then(|node| node.links.get_mut(key.link)) else {
            return;
        };
        let deadline = match sending {
            true => slot.link.deadline_of_silence(),
            // The end of another dial looks at it.
            false if slot.waits_to_dial && matches!(slot.link.state(), State::Idle | State::Waiting) => None,
            false => slot.link.deadline(),
        };
        if let Some(deadline) = deadline {
            let at = not_before(now, deadline);
            if slot.timer.is_none_or(|timer| at < timer.at()) {
                self.timers.set(Timer::Link(key), &mut slot.timer, at);
            }
        }
    }

    pub(super) fn expire(&mut self, now: Time) {
        // Each heartbeat is followed by another one, its answer: while there is more to read than a turn reads, few are
        // begun. But where a turn takes long, as beside hundreds of busy processes, few would be too few.
        let is_slow = now.since(std::mem::replace(&mut self.expired, now)) > SLOW_TURN;
        let mut budget = if self.caught_up == now || is_slow { Budget::default() } else { Budget::reduced() };
        let mut expired = false;
        while budget.is_left()
            && let Some(timer) = self.timers.due(now)
        {
            budget.spend(0);
            match timer {
                Timer::Link(key) => {
                    let socket = self.slot(key).and_then(|slot| slot.socket);
                    let sent_until = socket.map_or(now, |socket| self.driver.peer_sent_until(socket, now));
                    let caught_up = self.caught_up.min(sent_until);
                    if let Some(slot) = self.slot(key) {
                        slot.timer = None;
                        slot.link.timeout(now, caught_up);
                        if !self.send_heartbeat(key, now, false) {
                            self.tell(key, now);
                            self.mark(key);
                            expired = true;
                        }
                    }
                }
                Timer::Connection(socket) => self.connection_expired(socket, now),
                Timer::Listener(node) => self.listen_again(node, now),
                Timer::Strangers(node) => self.strangers_expired(node, now),
                Timer::Stop(node) => self.stop_expired(node, now),
            }
        }
        if expired {
            // Sent at once: nothing else may happen for long.
            self.flush(now);
        }
        let due = if budget.is_left() { now } else { self.timers.next().unwrap_or(now) };
        self.driver.report_sent_until(due.min(self.flushed), now);
    }
}

/// The time of a timer for a deadline.
fn not_before(now: Time, deadline: Time) -> Time {
    if deadline > now { deadline } else { now + OVERDUE }
}
