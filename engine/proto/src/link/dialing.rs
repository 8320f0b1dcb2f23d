//! Dials of a link: when it wants one, and the pauses between them.

use std::time::Duration;

use super::{HANDSHAKE_TIMEOUT, Input, Link, State, Want};
use crate::time::Time;

/// Pause before the first redial. It doubles with each failure up to [`LONGEST_PAUSE`]. All pauses are jittered.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Time that the side with the higher pid waits for the other side to dial: see [`Link::wants`].
const DIAL_DELAY: Duration = Duration::from_millis(50);

impl Link {
    /// Returns the action that the link wants now. `Hangup` is returned once, `Dial` until the owner calls
    /// [`dials`](Link::dials).
    ///
    /// The side with the higher pid waits up to 50 ms for the other side to dial if both are likely to dial: if links
    /// are eager, or `many_dials` are pending. Otherwise most pairs would make two connections and close one of them.
    /// For the same reason, a side that has welcomed a dialer waits for the Confirm.
    pub fn wants(&mut self, now: Time, many_dials: bool) -> Want {
        if std::mem::take(&mut self.hangup) {
            return Want::Hangup;
        }
        let state = self.state;
        let due = match state {
            State::Idle if self.is_drained() && (!self.local.eager || self.absent) => {
                self.dial_at = None;
                false
            }
            State::Idle => {
                let leaves_it = self.peer < self.local.pid && (self.local.eager || many_dials);
                let handicap = if leaves_it { DIAL_DELAY } else { Duration::ZERO };
                now >= *self.dial_at.get_or_insert(now + handicap)
            }
            State::Waiting => now >= self.until,
            _ => false,
        };
        if due && self.held_until().is_none_or(|hold| now >= hold) { Want::Dial } else { Want::Nothing }
    }

    /// Time until which dialers that were welcomed and have not confirmed keep this side from dialing.
    pub(super) fn held_until(&self) -> Option<Time> {
        self.hold.filter(|_| self.confirming > 0)
    }

    /// Returns whether data waits for a dial: one that is under way, or one that a timer or the end of another dial
    /// will begin.
    pub fn waits_for_dial(&self) -> bool {
        match self.state {
            State::Up => false,
            State::Idle => self.dial_at.is_some(),
            State::Dialing | State::Greeting | State::Waiting | State::Closed => true,
        }
    }

    /// Records that the peer is dialed now, as [`wants`](Link::wants) has asked.
    pub fn dials(&mut self, now: Time) {
        self.step(if self.state == State::Idle { Input::Need } else { Input::RetryDue });
        self.hold = None;
        self.void = self.welcomed;
        self.until = now + HANDSHAKE_TIMEOUT;
    }

    /// Records that the dial has failed.
    pub fn dial_failed(&mut self, now: Time) {
        if self.step(Input::Failed) {
            self.absent = true;
            self.pause(now);
        }
    }

    /// Sets the time of the next dial. After a lost connection the lower pid dials first, because its connection is
    /// kept when both dial at once (WIRE.md, section Refusals, Ties).
    pub(super) fn pause(&mut self, now: Time) {
        self.give_up_stale(now);
        let pause = self.jittered_pause();
        self.failures += 1;
        self.dial_at = None;
        self.until = now + pause;
    }

    pub(super) fn jittered_pause(&mut self) -> Duration {
        let pause = (FIRST_PAUSE * (1 << self.failures.min(10))).min(LONGEST_PAUSE);
        let handicap = if self.peer < self.local.pid { DIAL_DELAY / 2 } else { Duration::ZERO };
        pause.mul_f64(0.5 + self.random(1000) as f64 / 2000.0) + handicap
    }

    /// Returns a random number below `limit`.
    pub(super) fn random(&mut self, limit: u64) -> u64 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        (self.jitter >> 32) % limit
    }
}
