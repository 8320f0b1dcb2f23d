//! Deadlines of links, connections and servers: the timer of each, and the work when it is due.
//!
//! A peer counts as silent, and a dial as unanswered, only if everything that had arrived by the deadline was handed to
//! the link (`Shard::caught_up`). Bytes that wait in the queues of this loop are no silence of the peer. If the process
//! did not run for a while (`Shard::slept`), the times of a link are shifted at its next use. Loops of one engine
//! report to each other until when they have sent everything that was due (`LocalRegistry::report_sent_until`): the
//! silence of a loop that is late proves nothing, the silence of a loop that hangs does.

use std::time::Duration;

use super::Shard;
use super::timers::{Entry, Timer};
use crate::driver::{Budget, Driver};
use crate::link::State;
use crate::roster::LinkKey;
use crate::time::Time;

/// Time after which a timer is looked at again if its deadline has passed and its work cannot be done yet.
pub(super) const OVERDUE: Duration = Duration::from_millis(10);

/// Duration of a turn above which timers get their full budget, even if received segments are left to read.
const SLOW_TURN: Duration = Duration::from_millis(50);

impl<D: Driver> Shard<D> {
    /// Sends a heartbeat if it is due, on a link where nothing else is due. The streams are not looked at, because
    /// their writers signal. `answers`: a heartbeat of the peer was just received.
    ///
    /// An idle link costs only this. Returns whether nothing else was to be done.
    pub(super) fn send_heartbeat(&mut self, key: LinkKey, now: Time, answers: bool) -> bool {
        if !self.slot(key).is_some_and(|slot| slot.asleep && !slot.dirty) || self.is_sending(key) {
            return false;
        }
        let mut done = false;
        let due = self.slot(key).filter(|slot| !answers && slot.link.next_heartbeat() <= now);
        if let Some(socket) = due.and_then(|slot| slot.socket) {
            let unread = self.driver.is_unread(socket);
            if let Some(slot) = self.slot(key) {
                // Never postponed twice in a row: the peer may have read the last heartbeat without having reported it.
                slot.postponed = unread && !slot.postponed;
                if slot.postponed {
                    slot.link.postpone_heartbeat(now);
                }
            }
        }
        self.send_with(key, |session, link, batch| done = session.transmit_heartbeat(link, now, answers, batch));
        if done && let Some(slot) = self.nodes.get_mut(&key.node).and_then(|node| node.links.get_mut(key.link)) {
            let at = not_before(now, slot.link.next_heartbeat());
            if slot.timer.map(Entry::at) != Some(at) {
                self.timers.set(Timer::Link(key), &mut slot.timer, at);
            }
        }
        done
    }

    /// Sets the timer for the deadline of a link, unless an earlier timer is set, which will set it again.
    pub(super) fn schedule(&mut self, key: LinkKey, now: Time) {
        let sending = self.is_sending(key);
        let Some(slot) = self.nodes.get_mut(&key.node).and_then(|node| node.links.get_mut(key.link)) else {
            return;
        };
        let deadline = match sending {
            true => slot.link.deadline_of_silence(),
            // The end of another dial serves this link.
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
        // Each heartbeat that is sent is answered by another one. So few are begun while more is left to read than one
        // turn reads. But if turns take long, as beside hundreds of busy processes, few would be too few.
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
                Timer::Alarm(place) => self.alarm_due(place),
            }
        }
        if expired {
            // Sent at once: the loop may wait long afterwards.
            self.flush(now);
        }
        let due = if budget.is_left() { now } else { self.timers.next().unwrap_or(now) };
        self.driver.report_sent_until(due.min(self.flushed), now);
    }
}

/// Returns the time of the timer for a deadline. One that has passed is looked at again after [`OVERDUE`].
fn not_before(now: Time, deadline: Time) -> Time {
    if deadline > now { deadline } else { now + OVERDUE }
}
