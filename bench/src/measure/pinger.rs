//! Round trips in a closed loop: each question is asked after the answer to the one before.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{Corrupt, check, stamp};

/// Source of questions, which asks until its time is up and keeps the latency of each answer. The first fifth of the
/// time is the warm-up and does not count; nor does the first exchange, which may have to connect.
#[derive(Debug)]
pub struct Pinger {
    size: usize,
    limit: Limit,
    sequence: u64,
    asked: Instant,
    start: Option<Instant>,
    histogram: Histogram<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    Time(Duration),
    Count { warm_up: u64, total: u64 },
}

impl Pinger {
    /// Returns a pinger with payloads of `size` bytes (at least 8) that runs for `budget`, counted from the second
    /// question.
    pub fn for_time(size: usize, budget: Duration) -> Self {
        Self::new(size, Limit::Time(budget))
    }

    /// Returns a pinger with payloads of `size` bytes (at least 8) that counts `count` round trips, after a warm-up of
    /// a tenth more.
    pub fn for_count(size: usize, count: u64) -> Self {
        let warm_up = count / 10;
        Self::new(size, Limit::Count { warm_up, total: warm_up + count })
    }

    fn new(size: usize, limit: Limit) -> Self {
        assert!(size >= 8, "a payload holds its number");
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("valid bounds");
        Self { size, limit, sequence: 0, asked: Instant::now(), start: None, histogram }
    }

    /// Returns the number of questions asked, including those of the warm-up.
    pub fn asked(&self) -> u64 {
        self.sequence
    }

    /// Bytes in each payload.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Fills in the next payload and starts the clock. Returns `false` if there is no next one.
    #[inline]
    pub fn ask(&mut self, payload: &mut [u8]) -> bool {
        self.asked = Instant::now();
        let more = match self.limit {
            Limit::Time(_) if self.sequence == 0 => true,
            Limit::Time(budget) => self.asked - *self.start.get_or_insert(self.asked) < budget,
            Limit::Count { total, .. } => self.sequence < total,
        };
        if more {
            self.sequence += 1;
            stamp(self.sequence, payload);
        }
        more
    }

    /// Stops the clock and takes the answer, which has to be the payload of the question.
    #[inline]
    pub fn answered(&mut self, payload: &[u8]) -> Result<(), Corrupt> {
        let now = Instant::now();
        check(payload, self.size, self.sequence)?;
        let warm = match self.limit {
            Limit::Time(budget) => self.start.is_some_and(|start| self.asked - start >= budget / 5),
            Limit::Count { warm_up, .. } => self.sequence > warm_up,
        };
        if warm {
            self.histogram.saturating_record((now - self.asked).as_nanos() as u64);
        }
        Ok(())
    }

    /// Latencies of the answers, in nanoseconds.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// Returns the latencies of the answers; `None` if none was counted.
    pub fn latencies(&self) -> Option<Latencies> {
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 / 1e3;
        (!self.histogram.is_empty()).then(|| Latencies {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            total: Duration::from_nanos((self.histogram.mean() * self.histogram.len() as f64) as u64),
        })
    }
}

/// Latencies of one run of round trips.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latencies {
    /// Median, in microseconds.
    pub p50_us: f64,
    /// 99th percentile, in microseconds.
    pub p99_us: f64,
    /// 99.9th percentile, in microseconds.
    pub p999_us: f64,
    /// Sum over all counted round trips.
    pub total: Duration,
}

pub(super) const LONGEST_NS: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_comes_after_the_warm_up() {
        let mut pinger = Pinger::for_count(8, 20);
        let mut payload = [0; 8];
        let mut asked = 0;
        while pinger.ask(&mut payload) {
            asked += 1;
            pinger.answered(&payload).unwrap();
        }
        assert_eq!((asked, pinger.histogram.len()), (22, 20));
        assert!(pinger.latencies().is_some());
    }

    #[test]
    fn the_first_exchange_takes_no_time_off() {
        let mut pinger = Pinger::for_time(8, Duration::from_millis(20));
        let mut payload = [0; 8];
        assert!(pinger.ask(&mut payload));
        // Pretends that the answer took twice the whole budget.
        pinger.asked -= Duration::from_millis(40);
        pinger.answered(&payload).unwrap();
        assert!(pinger.latencies().is_none());
        while pinger.ask(&mut payload) {
            pinger.answered(&payload).unwrap();
        }
        assert!(pinger.latencies().is_some_and(|latencies| latencies.p999_us < 40_000.0));
    }

    #[test]
    fn an_old_answer_is_refused() {
        let mut pinger = Pinger::for_count(8, 20);
        let mut payload = [0; 8];
        assert!(pinger.ask(&mut payload));
        let old = payload;
        pinger.answered(&payload).unwrap();
        assert!(pinger.ask(&mut payload));
        assert_eq!(pinger.answered(&old), Err(Corrupt::Sequence { expected: 2, found: 1 }));
    }
}
