//! Recorder of the writes of all clients of one process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Recorder that clients share. It counts all writes, and keeps the durations of those answered while it records.
#[derive(Debug, Default)]
pub struct Recorder {
    recording: AtomicBool,
    resting: AtomicBool,
    /// Writes answered so far, recorded or not.
    answered: AtomicU64,
    began: Mutex<Option<Instant>>,
    /// Nanoseconds of the recorded writes.
    recorded: Mutex<Vec<u64>>,
}

/// Figures of the writes of one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Writes answered.
    pub writes: u64,
    /// Duration of the measurement.
    pub seconds: f64,
    /// Median duration of a write.
    pub p50_us: f64,
    /// Duration that one write in a hundred exceeds.
    pub p99_us: f64,
    /// Duration that one write in a thousand exceeds.
    pub p999_us: f64,
    /// Longest duration of a write.
    pub longest_us: f64,
}

impl Recorder {
    /// Begins to record.
    pub fn begin(&self) {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.recording.store(true, Relaxed);
    }

    /// Ends the recording. Returns its figures, or `None` if no write was answered meanwhile.
    pub fn end(&self) -> Option<Figures> {
        self.recording.store(false, Relaxed);
        let began = self.began.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let recorded = std::mem::take(&mut *self.recorded.lock().unwrap_or_else(PoisonError::into_inner));
        Figures::of(recorded, began.elapsed())
    }

    /// Tells the clients to end.
    pub fn rest(&self) {
        self.resting.store(true, Relaxed);
    }

    /// Returns whether the clients should end.
    pub fn is_resting(&self) -> bool {
        self.resting.load(Relaxed)
    }

    /// Counts a write that was answered after `duration`.
    pub fn answered(&self, duration: Duration) {
        self.answered.fetch_add(1, Relaxed);
        if self.recording.load(Relaxed) {
            let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
            recorded.push(duration.as_nanos() as u64);
        }
    }

    /// Writes answered so far, recorded or not.
    pub fn writes(&self) -> u64 {
        self.answered.load(Relaxed)
    }
}

impl Figures {
    fn of(mut recorded: Vec<u64>, elapsed: Duration) -> Option<Self> {
        recorded.sort_unstable();
        let last = recorded.len().checked_sub(1)?;
        let at = |share: f64| recorded[(share * last as f64).round() as usize] as f64 / 1000.0;
        Some(Self {
            writes: recorded.len() as u64,
            seconds: elapsed.as_secs_f64(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            longest_us: at(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_recorded_writes() {
        let recorder = Recorder::default();
        recorder.answered(Duration::from_secs(9));
        recorder.begin();
        (1..=1001).rev().for_each(|us| recorder.answered(Duration::from_micros(us)));
        let figures = recorder.end().unwrap();
        recorder.answered(Duration::from_secs(9));
        assert_eq!((figures.writes, recorder.writes()), (1001, 1003));
        let points = (figures.p50_us, figures.p99_us, figures.p999_us, figures.longest_us);
        assert_eq!(points, (501.0, 991.0, 1000.0, 1001.0));
    }

    #[test]
    fn a_recording_without_writes_has_no_figures() {
        let recorder = Recorder::default();
        recorder.begin();
        assert_eq!(recorder.end(), None);
        assert_eq!(recorder.end(), None, "it ended before");
    }
}
