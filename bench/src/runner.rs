//! Runs one contender once, under a time limit.

use std::fmt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::contenders::{Contender, Outcome, Run};
use crate::measure::{Checker, Latencies, Load, Pinger, Throughput};
use crate::processor;

/// What one run gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sample {
    /// Of round trips.
    RoundTrip(Latencies),
    /// Of one-way traffic.
    OneWay(Throughput),
}

/// Why there is no sample.
#[derive(Debug)]
pub enum Failure {
    /// The contender said so, or panicked.
    Failed(String),
    /// It did not return. Its threads still run, so nothing can be measured any more.
    Hung,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => f.write_str(reason),
            Self::Hung => write!(f, "no result after {} s", LIMIT.as_secs()),
        }
    }
}

impl std::error::Error for Failure {}

/// Runs round trips with `pinger`.
pub fn round_trip(run: fn(&mut Pinger) -> Outcome, mut pinger: Pinger) -> Result<Latencies, Failure> {
    under_limit(move || {
        run(&mut pinger).map_err(|error| error.to_string())?;
        pinger.latencies().ok_or_else(|| "not one round trip was completed".to_owned())
    })
}

/// Runs one-way traffic of `load`.
pub fn one_way(run: fn(&mut Checker) -> Outcome, load: Load) -> Result<Throughput, Failure> {
    under_limit(move || {
        let mut checker = Checker::new(load);
        let before = processor::used();
        run(&mut checker).map_err(|error| error.to_string())?;
        let processor = processor::used() - before;
        let result = checker.throughput().ok_or_else(|| format!("{} messages lost", checker.remaining()))?;
        Ok(Throughput { processor, ..result })
    })
}

/// Runs one-way traffic at the rate that `load` has, and answers how late each message was, in nanoseconds.
pub fn open_loop(run: fn(&mut Checker) -> Outcome, load: Load) -> Result<Histogram<u64>, Failure> {
    under_limit(move || {
        let mut checker = Checker::new(load);
        run(&mut checker).map_err(|error| error.to_string())?;
        checker.latencies().cloned().ok_or_else(|| format!("{} messages lost", checker.remaining()))
    })
}

/// A load that takes a contender about as long as `budget`; finding it warms it up.
pub fn calibrate(run: fn(&mut Checker) -> Outcome, size: usize, budget: Duration) -> Result<Load, Failure> {
    let mut load = Load::new(size, 64);
    loop {
        let elapsed = one_way(run, load)?.elapsed.max(Duration::from_micros(1));
        let factor = budget.as_secs_f64() / elapsed.as_secs_f64();
        if factor <= 4.0 {
            load.count = (load.count as f64 * factor) as u64;
            load.count = load.count.max(64);
            return Ok(load);
        }
        load.count = (load.count as f64 * factor.min(16.0) / 2.0) as u64;
    }
}

/// Runs a contender once: round trips for as long as `budget`, or one way as `load` says.
pub fn run(contender: &Contender, size: usize, budget: Duration) -> Result<Sample, Failure> {
    match contender.run {
        Run::RoundTrip(run) => round_trip(run, Pinger::for_time(size, budget)).map(Sample::RoundTrip),
        Run::OneWay(run) => one_way(run, calibrate(run, size, budget)?).map(Sample::OneWay),
    }
}

/// Runs `work` in a thread of its own and waits for its result, though not for ever.
fn under_limit<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, Failure> {
    let (give, take) = mpsc::channel();
    // The receiver is gone only when it has given up.
    thread::spawn(move || drop(give.send(work())));
    match take.recv_timeout(LIMIT) {
        Ok(result) => result.map_err(Failure::Failed),
        Err(RecvTimeoutError::Disconnected) => Err(Failure::Failed("it panicked".to_owned())),
        Err(RecvTimeoutError::Timeout) => Err(Failure::Hung),
    }
}

const LIMIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contender_that_loses_messages_fails() {
        let result = one_way(|_| Ok(()), Load::new(64, 10));
        assert_eq!(result.unwrap_err().to_string(), "10 messages lost");
    }

    #[test]
    fn a_contender_that_panics_fails() {
        let result = one_way(|_| panic!("on purpose"), Load::new(64, 10));
        assert_eq!(result.unwrap_err().to_string(), "it panicked");
    }

    #[test]
    fn calibration_ends_near_the_budget() {
        fn sleeper(checker: &mut Checker) -> Outcome {
            let load = checker.load();
            let mut payload = vec![0; load.size];
            for sequence in 0..load.count {
                load.stamp(sequence, &mut payload);
                checker.take(&payload)?;
                if sequence % 100 == 99 {
                    thread::sleep(Duration::from_micros(100));
                }
            }
            Ok(())
        }
        let load = calibrate(sleeper, 64, Duration::from_millis(50)).unwrap();
        assert!((5_000..100_000).contains(&load.count), "{load:?}");
    }
}
