//! One-way throughput, measured where the messages arrive.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::pinger::LONGEST_NS;
use super::{Corrupt, Schedule, check, now_ns, stamp};

/// Load that a sender sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Bytes in each payload, at least 8; in the largest payload if sizes are mixed.
    pub size: usize,
    /// True if sizes are mixed: of a hundred payloads, one has `size` bytes, nine have 1 KiB, and ninety have 64 bytes.
    pub mixed: bool,
    /// Number of payloads, at least 2.
    pub count: u64,
    /// Time at which each payload is to be sent; `None`: as soon as there is room. Only for servers in one process.
    #[serde(skip)]
    pub schedule: Option<Schedule>,
}

impl Load {
    /// Returns a load of `count` payloads of `size` bytes, sent as fast as possible.
    pub fn new(size: usize, count: u64) -> Self {
        Self { size, mixed: false, count, schedule: None }
    }

    /// Returns a load of `count` payloads of `size` bytes, sent at `rate` payloads per second.
    pub fn at_rate(size: usize, count: u64, rate: u64) -> Self {
        Self { schedule: Some(Schedule::new(rate)), ..Self::new(size, count) }
    }

    /// Returns the bytes in the payload with this number.
    #[inline]
    pub fn bytes(&self, sequence: u64) -> usize {
        if !self.mixed {
            return self.size;
        }
        match sequence % 100 {
            50 => self.size,
            place if place % 10 == 5 && place != 55 => 1 << 10,
            _ => 64,
        }
    }

    /// Returns the bytes in all payloads.
    pub fn total_bytes(&self) -> u64 {
        if !self.mixed {
            return self.count * self.size as u64;
        }
        let first = |count: u64| (0..count).map(|sequence| self.bytes(sequence) as u64).sum::<u64>();
        self.count / 100 * first(100) + first(self.count % 100)
    }

    /// Waits until a message is due, and writes its number, counted from 0, into its payload.
    #[inline]
    pub fn stamp(&self, sequence: u64, payload: &mut [u8]) {
        if let Some(schedule) = self.schedule {
            schedule.wait(sequence);
        }
        stamp(sequence, payload);
    }
}

/// Verifier of arriving messages, which measures from the first message to the last.
#[derive(Debug)]
pub struct Checker {
    load: Load,
    next: u64,
    /// Times of the first and of the last message, in nanoseconds.
    period: Option<(u64, u64)>,
    /// Time from when each message was due to its arrival, if there is a schedule.
    latencies: Option<Histogram<u64>>,
}

impl Checker {
    /// Returns a checker that expects all of `load`, in order.
    pub fn new(load: Load) -> Self {
        assert!(load.size >= 8, "a payload holds its number");
        assert!(load.count >= 2, "a first message and a last one");
        let histogram = || Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("valid bounds");
        Self { load, next: 0, period: None, latencies: load.schedule.map(|_| histogram()) }
    }

    /// Load that has to be sent.
    pub fn load(&self) -> Load {
        self.load
    }

    /// Returns the number of messages that have not arrived yet.
    #[inline]
    pub fn remaining(&self) -> u64 {
        self.load.count - self.next
    }

    /// Returns whether all messages have arrived.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.remaining() == 0
    }

    /// Takes the next message.
    #[inline]
    pub fn take(&mut self, payload: &[u8]) -> Result<(), Corrupt> {
        check(payload, self.load.bytes(self.next), self.next)?;
        if let (Some(schedule), Some(latencies)) = (self.load.schedule, &mut self.latencies)
            && self.next >= self.load.count / 10
        {
            latencies.saturating_record(schedule.since_due(self.next).as_nanos() as u64);
        }
        self.next += 1;
        if self.next == 1 || self.next >= self.load.count {
            if self.next > self.load.count {
                self.next = self.load.count;
                return Err(Corrupt::Sequence { expected: self.next - 1, found: self.next });
            }
            let now = now_ns();
            self.period.get_or_insert((now, now)).1 = now;
        }
        Ok(())
    }

    /// Returns the lateness of the messages in nanoseconds, without the first tenth; `None` without a schedule, or
    /// before all have arrived.
    pub fn latencies(&self) -> Option<&Histogram<u64>> {
        self.latencies.as_ref().filter(|_| self.is_complete())
    }

    /// Returns the result; `None` until [`is_complete`](Self::is_complete).
    pub fn arrivals(&self) -> Option<Arrivals> {
        let (first_ns, last_ns) = self.period.filter(|_| self.is_complete())?;
        Some(Arrivals { messages: self.load.count, bytes: self.load.total_bytes(), first_ns, last_ns })
    }
}

/// Stream of verified messages. Times are those of the clock that all processes of a machine share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// Number of messages.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Arrival of the first message, in nanoseconds.
    pub first_ns: u64,
    /// Arrival of the last message, in nanoseconds.
    pub last_ns: u64,
}

/// Amount of verified messages and the time that they took to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throughput {
    /// Messages that arrived at all servers together.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Time from the first message to the last.
    pub elapsed: Duration,
    /// Processor time of all servers together, connecting included.
    pub processor: Duration,
}

impl Throughput {
    /// Sums up streams that ran side by side; there is at least one.
    pub fn of(streams: &[Arrivals], processor: Duration) -> Self {
        let first = streams.iter().map(|stream| stream.first_ns).min().unwrap_or(0);
        let last = streams.iter().map(|stream| stream.last_ns).max().unwrap_or(0);
        Self {
            messages: streams.iter().map(|stream| stream.messages).sum(),
            bytes: streams.iter().map(|stream| stream.bytes).sum(),
            elapsed: Duration::from_nanos(last - first),
            processor,
        }
    }

    /// Returns the messages per second, counted from the second message on.
    pub fn messages_per_second(&self) -> f64 {
        self.messages.saturating_sub(1) as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Returns the processor time of all servers per message that arrived, in nanoseconds.
    pub fn processor_ns(&self) -> f64 {
        self.processor.as_nanos() as f64 / self.messages as f64
    }

    /// Returns the bytes of payload per second.
    pub fn bytes_per_second(&self) -> f64 {
        self.messages_per_second() * self.bytes as f64 / self.messages as f64
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
            assert_eq!(checker.arrivals(), None);
            load.stamp(sequence, &mut payload);
            checker.take(&payload).unwrap();
        }
        assert!(checker.is_complete() && checker.arrivals().is_some());
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
        let result = Throughput {
            messages: 1001,
            bytes: 64_064,
            elapsed: Duration::from_millis(10),
            processor: Duration::from_micros(2002),
        };
        assert_eq!(result.messages_per_second(), 100_000.0);
        assert_eq!(result.bytes_per_second(), 6_400_000.0);
        assert_eq!(result.processor_ns(), 2000.0);
    }

    #[test]
    fn streams_side_by_side_count_from_the_first_message_of_any_to_the_last_of_any() {
        let stream = |first_ns, last_ns| Arrivals { messages: 5, bytes: 40, first_ns, last_ns };
        let both = Throughput::of(&[stream(100, 1100), stream(200, 1900)], Duration::ZERO);
        assert_eq!((both.messages, both.bytes, both.elapsed), (10, 80, Duration::from_nanos(1800)));
    }

    #[test]
    fn mixed_payloads_have_three_sizes() {
        let load = Load { mixed: true, ..Load::new(64 << 10, 250) };
        let count = |bytes| (0..100).filter(|&sequence| load.bytes(sequence) == bytes).count();
        assert_eq!((count(64), count(1 << 10), count(64 << 10)), (90, 9, 1));
        assert_eq!(load.total_bytes(), (0..250).map(|sequence| load.bytes(sequence) as u64).sum::<u64>());
    }
}
