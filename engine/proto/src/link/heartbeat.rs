//! Heartbeats of a link: their deadlines, and their transmission on an idle link (WIRE.md, section Time).

use std::time::Duration;

use super::{Link, State};
use crate::batch::Batch;
use crate::time::Time;
use crate::wire::{Kind, SegmentHeader};

/// Shortest heartbeat interval that a peer's timeout can demand. A timeout below three of these brings no more
/// heartbeats.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);

/// Intervals that determine the deadlines of heartbeats: see [`Link::draw_heartbeat`].
#[derive(Clone, Copy)]
pub(super) struct HeartbeatTimes {
    /// Heartbeat interval in nanoseconds.
    interval: u64,
    /// Last drawn time between two heartbeats plus the grid, in nanoseconds.
    pause: u64,
    /// Power of two between a 16th and an 8th of the interval, less one, in nanoseconds.
    grid: u64,
}

impl HeartbeatTimes {
    /// Makes the times for this heartbeat interval.
    pub(super) fn new(interval: Duration) -> HeartbeatTimes {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).clamp(1, u64::MAX / 4);
        HeartbeatTimes { interval, pause: interval, grid: (interval / 16).next_power_of_two() - 1 }
    }

    /// Makes the times for this heartbeat interval, or for a shorter one if the peer's timeout demands it. Three
    /// heartbeats fall into each timeout, so that one may be late.
    pub(super) fn for_peer(interval: Duration, peer_timeout: Duration) -> HeartbeatTimes {
        HeartbeatTimes::new(interval.min((peer_timeout / 3).max(LEAST_INTERVAL)))
    }

    /// Heartbeat interval.
    pub(super) fn interval(self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    fn half(self) -> Duration {
        Duration::from_nanos(self.interval / 2)
    }
}

impl Link {
    /// Fills `batch` with a heartbeat if one is due on an idle link. Returns `false` if the link is not idle and
    /// [`transmit`](Link::transmit) is to be called. The streams must have nothing to send.
    ///
    /// `answers`: a heartbeat of the peer was just received. If the link's own one is due within half an interval it is
    /// sent at once, while all the memory that it touches is in the cache. For an idle pair, each interval then costs
    /// one look at the link on each side, and one TCP acknowledgement less.
    pub(crate) fn transmit_heartbeat(&mut self, now: Time, answers: bool, batch: &mut Batch) -> bool {
        let is_idle = self.state == State::Up
            && !(self.hangup || self.ack_requested || self.ack_now)
            && self.ack_due.is_none()
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

    /// Postpones the next heartbeat, because the peer has not read the last one yet.
    pub fn postpone_heartbeat(&mut self, now: Time) {
        self.heartbeat_at = now + self.heartbeats.half();
    }

    /// Time at which an idle link sends a heartbeat, or finds its peer silent.
    pub fn next_heartbeat(&self) -> Time {
        self.heartbeat_at.min(self.silent_at())
    }

    /// Draws the time until the next heartbeat: the interval, varied by up to an eighth. Otherwise links that have sent
    /// at the same moment, as in a broadcast, would stay due at the same moment.
    pub(super) fn draw_heartbeat(&mut self, now: Time) {
        let HeartbeatTimes { interval, grid, .. } = self.heartbeats;
        // The grid is added once here, so that `put_off_heartbeat` rounds up to a multiple of it.
        self.heartbeats.pause = interval - interval / 8 + (interval >> 10) * self.random(256) + grid;
        self.put_off_heartbeat(now);
    }

    /// Sets the deadline of the next heartbeat after a segment is sent now. It is a multiple of the grid, so that one
    /// turn of the loop sends the heartbeats of many links.
    #[inline]
    pub(super) fn put_off_heartbeat(&mut self, now: Time) {
        let HeartbeatTimes { pause, grid, .. } = self.heartbeats;
        self.heartbeat_at = Time::from_nanos(now.as_nanos().saturating_add(pause) & !grid);
    }
}
