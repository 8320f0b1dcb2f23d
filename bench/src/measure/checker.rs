//! One-way throughput, taken where the messages arrive.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::pinger::LONGEST_NS;
use super::{Corrupt, Schedule, check, stamp};

/// What a sender sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Bytes in each payload, at least 8.
    pub size: usize,
    /// How many payloads, at least 2.
    pub count: u64,
    /// When each is to be sent; `None`: as soon as there is room.
    pub schedule: Option<Schedule>,
}

impl Load {
    /// `count` payloads of `size` bytes, as fast as they go.
    pub fn new(size: usize, count: u64) -> Self {
        Self { size, count, schedule: None }
    }

    /// The same, at a fixed rate.
    pub fn at_rate(size: usize, count: u64, rate: u64) -> Self {
        Self { schedule: Some(Schedule::new(rate)), ..Self::new(size, count) }
    }

    /// Writes the number of a message, which counts from 0, into its payload; waits until it is due.
    #[inline]
    pub fn stamp(&self, sequence: u64, payload: &mut [u8]) {
        if let Some(schedule) = self.schedule {
            schedule.wait(sequence);
        }
        stamp(sequence, payload);
    }
}

/// Verifies what arrives, and measures from the first message to the last.
#[derive(Debug)]
pub struct Checker {
    load: Load,
    next: u64,
    period: Option<(Instant, Instant)>,
    /// From when each was due to when it was here, if there is a schedule.
    latencies: Option<Histogram<u64>>,
}

impl Checker {
    /// Expects all of `load`, in order.
    pub fn new(load: Load) -> Self {
        assert!(load.size >= 8, "a payload holds its number");
        assert!(load.count >= 2, "a first message and a last one");
        let histogram = || Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("valid bounds");
        Self { load, next: 0, period: None, latencies: load.schedule.map(|_| histogram()) }
    }

    /// What has to be sent.
    pub fn load(&self) -> Load {
        self.load
    }

    /// How many messages have not arrived yet.
    #[inline]
    pub fn remaining(&self) -> u64 {
        self.load.count - self.next
    }

    /// Whether all have arrived.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.remaining() == 0
    }

    /// Takes the next message.
    #[inline]
    pub fn take(&mut self, payload: &[u8]) -> Result<(), Corrupt> {
        check(payload, self.load.size, self.next)?;
        if let (Some(schedule), Some(latencies)) = (self.load.schedule, &mut self.latencies)
            && self.next >= self.load.count / 10
        {
            latencies.saturating_record(schedule.since_due(self.next).as_nanos() as u64);
        }
        self.next += 1;
        if self.next == 1 || self.next == self.load.count {
            let now = Instant::now();
            self.period.get_or_insert((now, now)).1 = now;
        }
        Ok(())
    }

    /// How late each message was, but for the first tenth; `None` without a schedule, or before all have arrived.
    pub fn latencies(&self) -> Option<&Histogram<u64>> {
        self.latencies.as_ref().filter(|_| self.is_complete())
    }

    /// The result; `None` until it [`is_complete`](Self::is_complete).
    pub fn throughput(&self) -> Option<Throughput> {
        let (first, last) = self.period.filter(|_| self.is_complete())?;
        Some(Throughput { load: self.load, elapsed: last - first, processor: Duration::ZERO })
    }
}

/// How long verified messages took to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throughput {
    /// What arrived.
    pub load: Load,
    /// From the first message to the last.
    pub elapsed: Duration,
    /// What both ends together used of the processor, connecting included; zero where nobody looked.
    pub processor: Duration,
}

impl Throughput {
    /// Messages after the first one, by the time they took.
    pub fn messages_per_second(&self) -> f64 {
        (self.load.count - 1) as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Processor time of both ends for each message, in nanoseconds.
    pub fn processor_ns(&self) -> f64 {
        self.processor.as_nanos() as f64 / self.load.count as f64
    }

    /// Bytes of payload.
    pub fn bytes_per_second(&self) -> f64 {
        self.messages_per_second() * self.load.size as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_messages_in_order_make_a_result() {
        let load = Load::new(8, 3);
        let mut checker = Checker::new(load);
        let mut payload = [0; 8];
        for sequence in 0..3 {
            assert_eq!(checker.throughput(), None);
            load.stamp(sequence, &mut payload);
            checker.take(&payload).unwrap();
        }
        assert!(checker.is_complete() && checker.throughput().is_some());
        assert_eq!(checker.take(&payload), Err(Corrupt::Sequence { expected: 3, found: 2 }), "a message too many");
    }

    #[test]
    fn a_gap_is_noticed() {
        let load = Load::new(8, 3);
        let mut payload = [0; 8];
        load.stamp(1, &mut payload);
        let found = Checker::new(load).take(&payload);
        assert_eq!(found, Err(Corrupt::Sequence { expected: 0, found: 1 }));
    }

    #[test]
    fn rates_follow_from_count_and_time() {
        let load = Load::new(64, 1001);
        let result = Throughput { load, elapsed: Duration::from_millis(10), processor: Duration::from_micros(2002) };
        assert_eq!(result.messages_per_second(), 100_000.0);
        assert_eq!(result.bytes_per_second(), 6_400_000.0);
        assert_eq!(result.processor_ns(), 2000.0);
    }
}
