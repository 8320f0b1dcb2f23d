//! Times at which messages are due, regardless of what the sender manages.

use std::hint::spin_loop;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Fixed rate. Lateness counts from the time at which a message was due: a contender that stalls pays for every message
/// that would have been sent meanwhile (no coordinated omission).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Time of the first message, set when the connection is up. The value is leaked, because it outlives both threads:
    /// a few bytes for each run.
    start: &'static OnceLock<Instant>,
    rate: u64,
}

impl Schedule {
    /// Returns a schedule of `rate` messages per second, evenly spaced.
    pub fn new(rate: u64) -> Self {
        assert!(rate > 0, "a rate of nothing has no schedule");
        Self { start: Box::leak(Box::default()), rate }
    }

    /// Waits until the message with this number is due; returns at once if it is late. Spins, because sleeping is too
    /// coarse.
    #[inline]
    pub fn wait(&self, sequence: u64) {
        let due = *self.start.get_or_init(Instant::now) + self.offset(sequence);
        while Instant::now() < due {
            spin_loop();
        }
    }

    /// Returns the time since the message with this number was due.
    #[inline]
    pub fn since_due(&self, sequence: u64) -> Duration {
        let start = self.start.get().copied();
        start.map_or(Duration::ZERO, |start| (start + self.offset(sequence)).elapsed())
    }

    fn offset(&self, sequence: u64) -> Duration {
        Duration::from_nanos((u128::from(sequence) * 1_000_000_000 / u128::from(self.rate)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_late_counts_from_when_it_was_due() {
        let schedule = Schedule::new(1000);
        schedule.wait(0);
        std::thread::sleep(Duration::from_millis(20));
        // Number 5 was due after 5 ms: `wait` returns at once, and the message is 15 ms late already.
        let begin = Instant::now();
        schedule.wait(5);
        assert!(begin.elapsed() < Duration::from_millis(10));
        assert!(schedule.since_due(5) >= Duration::from_millis(15));
    }

    #[test]
    fn what_comes_early_waits() {
        let schedule = Schedule::new(100);
        schedule.wait(0);
        schedule.wait(2);
        assert!(schedule.since_due(0) >= Duration::from_millis(20));
        assert!(schedule.since_due(2) < Duration::from_millis(20));
    }
}
