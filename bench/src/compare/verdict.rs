//! What the engine has promised to show, as ratios within one run.

use super::row::{Case, Row};

/// A promise: one contender's figure as a multiple of another's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// What is compared, for people.
    pub what: &'static str,
    /// The case.
    pub case: Case,
    /// Bytes in a payload.
    pub size: usize,
    /// Whose promise it is.
    pub contender: &'static str,
    /// What it is compared with.
    pub against: &'static str,
    /// How the ratio has to be.
    pub bound: Bound,
}

/// A bound of a ratio, itself allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// For what should be small, as latencies.
    AtMost(f64),
    /// For what should be large, as throughput.
    AtLeast(f64),
}

/// How it turned out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// This ratio, and it keeps the promise.
    Kept(f64),
    /// This ratio, and it does not.
    Missed(f64),
    /// One of the two has no result in this run.
    NotMeasured,
}

impl Bar {
    /// Compares the medians of the two contenders.
    pub fn verdict(&self, rows: &[Row]) -> Verdict {
        let median = |name| {
            let same = |row: &&Row| (row.case, row.size, row.contender) == (self.case, self.size, name);
            rows.iter().find(same).map(|row| row.key().median())
        };
        match (median(self.contender), median(self.against)) {
            (Some(own), Some(other)) if self.bound.allows(own / other) => Verdict::Kept(own / other),
            (Some(own), Some(other)) => Verdict::Missed(own / other),
            _ => Verdict::NotMeasured,
        }
    }
}

impl Bound {
    fn allows(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(limit) => ratio <= limit,
            Self::AtLeast(limit) => ratio >= limit,
        }
    }
}

const fn round_trip(what: &'static str, contender: &'static str, against: &'static str, limit: f64) -> Bar {
    Bar { what, case: Case::RoundTrip, size: 64, contender, against, bound: Bound::AtMost(limit) }
}

const fn one_way(what: &'static str, size: usize, contender: &'static str, against: &'static str, limit: f64) -> Bar {
    Bar { what, case: Case::OneWay, size, contender, against, bound: Bound::AtLeast(limit) }
}

/// What the engine must show; medians of a full run on an idle machine with two cores.
pub const BARS: &[Bar] = &[
    round_trip("64 B round trip, inline parked", "cluster-inline-parked", "zmq", 0.45),
    round_trip("64 B round trip, inline parked", "cluster-inline-parked", "tcp-blocking", 1.25),
    round_trip("64 B round trip, inline spinning", "cluster-inline-spinning", "zmq", 0.25),
    round_trip("64 B round trip, dedicated parked", "cluster-dedicated-parked", "zmq", 0.9),
    one_way("64 B one way, owned envelopes", 64, "cluster-dedicated-owned", "zmq", 5.0),
    one_way("64 B one way, fast path", 64, "cluster-dedicated-fast", "zmq", 10.0),
    one_way("64 KiB one way, checksum of the header", 64 << 10, "cluster-dedicated-fast-header", "tcp-framed", 0.85),
    one_way("64 KiB one way, checksum with payload", 64 << 10, "cluster-dedicated-fast", "tcp-framed", 0.7),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Spread;

    fn row(contender: &'static str, medians: &[f64]) -> Row {
        let figures = vec![("p50_us", Spread::of(medians.to_vec()))];
        Row { case: Case::RoundTrip, size: 64, contender, rounds: medians.len(), figures }
    }

    #[test]
    fn the_ratio_is_that_of_medians() {
        let bar = round_trip("", "ours", "theirs", 0.5);
        let theirs = row("theirs", &[10.0, 20.0, 90.0]);
        let verdict = |ours: &[f64]| bar.verdict(&[row("ours", ours), theirs.clone()]);
        assert_eq!(verdict(&[9.0, 10.0, 30.0]), Verdict::Kept(0.5));
        assert_eq!(verdict(&[11.0]), Verdict::Missed(0.55));
    }

    #[test]
    fn throughput_has_to_be_at_least() {
        let bar = Bar { bound: Bound::AtLeast(5.0), ..round_trip("", "ours", "theirs", 0.0) };
        let verdict = |ours| bar.verdict(&[row("ours", &[ours]), row("theirs", &[10.0])]);
        assert_eq!(verdict(50.0), Verdict::Kept(5.0));
        assert_eq!(verdict(49.0), Verdict::Missed(4.9));
    }

    #[test]
    fn without_both_there_is_no_verdict() {
        let bar = round_trip("", "ours", "theirs", 0.5);
        assert_eq!(bar.verdict(&[row("ours", &[1.0])]), Verdict::NotMeasured);
        let larger = Row { size: 65, ..row("theirs", &[1.0]) };
        assert_eq!(bar.verdict(&[row("ours", &[1.0]), larger]), Verdict::NotMeasured);
    }
}
