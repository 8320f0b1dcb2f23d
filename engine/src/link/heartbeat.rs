//! Heartbeats of a link: when they are due, and how an idle link sends them.

use std::time::Duration;

use super::{Link, State};
use crate::batch::Batch;
use crate::time::Time;
use crate::wire::{Kind, SegmentHeader};

/// Shortest interval that a peer's timeout can ask for. A timeout below three of these brings no more heartbeats.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);

/// The times that decide when heartbeats are due: see [`Link::draw_heartbeat`].
#[derive(Clone, Copy)]
pub(super) struct HeartbeatTimes {
    /// The interval, in nanoseconds.
    interval: u64,
    /// The time between two heartbeats that was drawn last, and the grid.
    pause: u64,
    /// A power of two between a 16th and an 8th of it, less one.
    grid: u64,
}

impl HeartbeatTimes {
    /// Times of heartbeats at this interval.
    pub(super) fn new(interval: Duration) -> HeartbeatTimes {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).clamp(1, u64::MAX / 4);
        HeartbeatTimes { interval, pause: interval, grid: (interval / 16).next_power_of_two() - 1 }
    }

    /// Times of heartbeats at this interval, or more often if the `peer_timeout` of the peer asks for it: three fall
    /// into each timeout, so that one may be late.
    pub(super) fn for_peer(interval: Duration, peer_timeout: Duration) -> HeartbeatTimes {
        HeartbeatTimes::new(interval.min((peer_timeout / 3).max(LEAST_INTERVAL)))
    }

    fn half(self) -> Duration {
        Duration::from_nanos(self.interval / 2)
    }
}

impl Link {
    /// Fills `batch` with a heartbeat if that is due, of a link whose streams have nothing to send. `false`: it is not
    /// idle, and [`transmit`](Link::transmit) is to be called.
    ///
    /// `answers`: the peer's heartbeat has just come. If ours would follow soon it is sent at once, while everything
    /// that it takes is at hand: for an idle pair, each interval then costs one look at the link on each side, and TCP
    /// one acknowledgement less.
    pub fn transmit_heartbeat(&mut self, now: Time, answers: bool, batch: &mut Batch) -> bool {
        let is_idle = self.state == State::Up
            && !(self.hangup || self.ack_requested || self.confirms.is_some() || self.ack_now)
            && self.ack_due.is_none()
            && self.is_proven()
            && self.notices.is_empty();
        let soon = if answers { self.heartbeats.half() } else { Duration::ZERO };
        if is_idle && now >= self.trim_at {
            self.trim(now);
        }
        if is_idle && now + soon >= self.heartbeat_at {
            batch.push_owned(SegmentHeader::new(Kind::Heartbeat), Vec::new());
            self.draw_heartbeat(now);
            self.has_sent(batch, now);
        }
        is_idle
    }

    /// The peer has not read the last heartbeat yet: the next one has time.
    pub fn postpone_heartbeat(&mut self, now: Time) {
        self.heartbeat_at = now + self.heartbeats.half();
    }

    /// When an idle link sends a heartbeat, or finds that its peer is silent.
    pub fn next_heartbeat(&self) -> Time {
        self.heartbeat_at.min(self.silent_at())
    }

    /// Draws the time between two heartbeats: the interval, or up to an eighth less or more, for links that have sent
    /// something at the same moment, as a broadcast does, are not to be due at the same moment ever after.
    pub(super) fn draw_heartbeat(&mut self, now: Time) {
        let HeartbeatTimes { interval, grid, .. } = self.heartbeats;
        // The grid is added here, once, so that what is due is at the next multiple of it.
        self.heartbeats.pause = interval - interval / 8 + (interval >> 10) * self.random(256) + grid;
        self.put_off_heartbeat(now);
    }

    /// Something is sent now: the next heartbeat is due when the time between two is over, at a multiple of the grid,
    /// so that those of many links are sent in one turn of a loop.
    #[inline]
    pub(super) fn put_off_heartbeat(&mut self, now: Time) {
        let HeartbeatTimes { pause, grid, .. } = self.heartbeats;
        self.heartbeat_at = Time::from_nanos(now.as_nanos().saturating_add(pause) & !grid);
    }
}
