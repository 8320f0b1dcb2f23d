//! Promises of the engine, as ratios within one run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::row::{PROCESSOR, Row};
use crate::case::Case;
use crate::statistics::Ratio;

/// Promise: a bound on one contender's figure as a multiple of another's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Compared quantity, for people.
    pub what: &'static str,
    /// Measured case.
    pub case: Case,
    /// Bytes in a payload.
    pub size: usize,
    /// Contender that has to keep the promise.
    pub contender: &'static str,
    /// Contender that it is compared with.
    pub against: &'static str,
    /// Compared quantity, by its name in the row; `None` for the quantity that ratios compare by default.
    pub quantity: Option<&'static str>,
    /// Bound that the ratio has to meet.
    pub bound: Bound,
}

/// Bound of a ratio; the limit itself is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Upper bound, for quantities that should be small, such as latencies.
    AtMost(f64),
    /// Lower bound, for quantities that should be large, such as throughput.
    AtLeast(f64),
}

/// Outcome of a promise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The median of this ratio keeps the promise.
    Kept(Ratio),
    /// The median of this ratio misses the promise.
    Missed(Ratio),
    /// One of the two contenders has no result in this run.
    NotMeasured,
}

impl Bar {
    /// Compares the two contenders, round by round.
    pub fn verdict(&self, rows: &[Row]) -> Verdict {
        let figure = |contender: &str| {
            let row =
                rows.iter().find(|row| (row.case, row.size, &*row.contender) == (self.case, self.size, contender))?;
            self.quantity.map_or(Some(row.key()), |quantity| row.figure(quantity))
        };
        match figure(self.contender).and_then(|own| Some(Ratio::of(own, figure(self.against)?))) {
            Some(ratio) if self.bound.allows(ratio.median) => Verdict::Kept(ratio),
            Some(ratio) => Verdict::Missed(ratio),
            None => Verdict::NotMeasured,
        }
    }
}

impl Bound {
    /// Limit of the ratio, itself allowed.
    pub fn limit(self) -> f64 {
        match self {
            Self::AtMost(limit) | Self::AtLeast(limit) => limit,
        }
    }

    /// Returns whether a ratio meets the bound.
    pub fn allows(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(limit) => ratio <= limit,
            Self::AtLeast(limit) => ratio >= limit,
        }
    }

    /// Returns whether at least one end of the ratio's interval meets the bound. If neither does, chance does not
    /// explain the miss.
    pub fn allows_some(self, ratio: Ratio) -> bool {
        self.allows(ratio.low) || self.allows(ratio.high)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {limit}"),
            Self::AtLeast(limit) => write!(f, ">= {limit}"),
        }
    }
}

const fn round_trip(what: &'static str, contender: &'static str, against: &'static str, limit: f64) -> Bar {
    Bar { what, case: Case::RoundTrip, size: 64, contender, against, quantity: None, bound: Bound::AtMost(limit) }
}

const fn one_way(what: &'static str, size: usize, contender: &'static str, against: &'static str, limit: f64) -> Bar {
    Bar { what, case: Case::OneWay, size, contender, against, quantity: None, bound: Bound::AtLeast(limit) }
}

/// Promises of the engine, for medians of a full run on an idle machine with two cores.
pub const BARS: &[Bar] = &[
    round_trip("64 B round trip, inline parked", "cluster-inline-parked", "zmq", 0.4),
    round_trip("64 B round trip, inline parked", "cluster-inline-parked", "tcp-blocking", 1.15),
    round_trip("64 B round trip, inline spinning", "cluster-inline-spinning", "zmq", 0.2),
    round_trip("64 B round trip, inline spinning", "cluster-inline-spinning", "tcp-spinning", 1.3),
    round_trip("64 B round trip, dedicated parked", "cluster-dedicated-parked", "zmq", 0.75),
    one_way("64 B one way, owned envelopes", 64, "cluster-dedicated-owned", "zmq", 8.0),
    one_way("64 B one way, fast path", 64, "cluster-dedicated-fast", "zmq", 15.0),
    one_way("64 B one way, fast path", 64, "cluster-dedicated-fast", "tcp-framed", 0.6),
    one_way("64 B one way, fast path", 64, "cluster-dedicated-fast", "tokio-framed", 2.5),
    one_way("64 B one way, owned envelopes", 64, "cluster-dedicated-owned", "tokio-framed", 1.2),
    round_trip("64 B round trip, inline parked", "cluster-inline-parked", "tokio-framed", 0.9),
    one_way("1 KiB one way, fast path", 1024, "cluster-dedicated-fast", "tcp-framed", 0.85),
    one_way("64 KiB one way, checksum of the header", 64 << 10, "cluster-dedicated-fast-header", "tcp-framed", 0.95),
    one_way("64 KiB one way, checksum with payload", 64 << 10, "cluster-dedicated-fast", "tcp-framed", 0.8),
    one_way("1 MiB one way, checksum of the header", 1 << 20, "cluster-dedicated-fast-header", "tcp-framed", 0.95),
    one_way("1 MiB one way, checksum with payload", 1 << 20, "cluster-dedicated-fast", "tcp-framed", 0.8),
    Bar {
        what: "64 B one way, processor time of both ends",
        case: Case::OneWay,
        size: 64,
        contender: "cluster-dedicated-fast",
        against: "zmq",
        quantity: Some(PROCESSOR),
        bound: Bound::AtMost(0.1),
    },
    Bar {
        what: "64 B to 16 servers, fast path",
        case: Case::Broadcast16,
        size: 64,
        contender: "cluster-dedicated-fast",
        against: "zmq",
        quantity: None,
        bound: Bound::AtLeast(8.0),
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::statistics::Spread;

    fn row(contender: &'static str, medians: &[f64]) -> Row {
        let figures = vec![("p50_us", Spread::of(medians.to_vec()))];
        let (contender, counts) = (contender.to_owned(), BTreeMap::new());
        Row { case: Case::RoundTrip, size: 64, contender, rounds: medians.len(), figures, counts }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds() {
        let bar = round_trip("", "ours", "theirs", 0.5);
        let theirs = row("theirs", &[10.0, 20.0, 90.0]);
        let verdict = |ours: &[f64]| bar.verdict(&[row("ours", ours), theirs.clone()]);
        assert!(matches!(verdict(&[5.0, 9.0, 60.0]), Verdict::Kept(ratio) if ratio.median == 0.5));
        assert!(matches!(verdict(&[6.0, 9.0, 60.0]), Verdict::Missed(ratio) if ratio.median == 0.6));
    }

    #[test]
    fn throughput_has_to_be_at_least() {
        let bar = Bar { bound: Bound::AtLeast(5.0), ..round_trip("", "ours", "theirs", 0.0) };
        let verdict = |ours| bar.verdict(&[row("ours", &[ours]), row("theirs", &[10.0])]);
        assert!(matches!(verdict(50.0), Verdict::Kept(ratio) if ratio.median == 5.0));
        assert!(matches!(verdict(49.0), Verdict::Missed(ratio) if ratio.median == 4.9));
    }

    #[test]
    fn an_interval_that_reaches_the_bound_is_let_pass() {
        let ratio = Ratio { median: 4.0, low: 3.0, high: 5.0 };
        assert!(Bound::AtLeast(5.0).allows_some(ratio) && !Bound::AtLeast(5.1).allows_some(ratio));
        assert!(Bound::AtMost(3.0).allows_some(ratio) && !Bound::AtMost(2.9).allows_some(ratio));
    }

    #[test]
    fn without_both_there_is_no_verdict() {
        let bar = round_trip("", "ours", "theirs", 0.5);
        assert_eq!(bar.verdict(&[row("ours", &[1.0])]), Verdict::NotMeasured);
        let larger = Row { size: 65, ..row("theirs", &[1.0]) };
        assert_eq!(bar.verdict(&[row("ours", &[1.0]), larger]), Verdict::NotMeasured);
    }
}
