//! Latencies of messages, from the sender's call to the receiver's.

use hdrhistogram::Histogram;

/// Histogram of message latencies.
#[derive(Debug)]
pub struct Latencies {
    nanos: Histogram<u32>,
}

impl Latencies {
    pub fn new() -> Latencies {
        Latencies {
            nanos: Histogram::new_with_bounds(1, LONGEST_NANOS, 3).expect("bounds and digits are allowed ones"),
        }
    }

    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.nanos.saturating_record(nanos);
    }

    pub fn add(&mut self, other: &Latencies) {
        // The addition cannot fail: both histograms have the same bounds.
        let _ = self.nanos.add(&other.nanos);
    }

    /// Returns a percentile in microseconds, or `None` if the messages carried no time.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        (!self.nanos.is_empty()).then(|| micros(self.nanos.value_at_percentile(percent)))
    }

    /// Formats a row of the table: the 50th, 99th and 99.9th percentile, and the maximum.
    pub fn columns(&self) -> String {
        let show = |micros: Option<f64>| micros.map_or_else(|| "-".to_owned(), |micros| format!("{micros:.1}"));
        let most = (!self.nanos.is_empty()).then(|| micros(self.nanos.max()));
        let columns = [self.percentile(50.0), self.percentile(99.0), self.percentile(99.9), most];
        columns.map(|column| format!("{:>11}", show(column))).concat()
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

const LONGEST_NANOS: u64 = 3_600_000_000_000;
