//! Messages at a fixed rate, and the lateness of each of them.
//!
//! In a closed loop, a contender that stalls gets fewer questions, and its worst moments are counted once. Here every
//! message has a due time, and is late from then on.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::compare::Bound;
use crate::contenders::{self, Contender};
use crate::histograms::Recorded;
use crate::measure::Load;
use crate::runner::{self, Failure};
use crate::statistics::{Ratio, Spread};
use crate::table::Table;

/// Contenders that send a message as soon as it is given to them. The others fill a buffer first, for which a message
/// would have to wait.
pub const CONTENDERS: &[&str] =
    &["cluster-dedicated-fast", "cluster-dedicated-owned", "zmq", "zmq-plain", "rzmq-uring"];

/// Options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes in a payload.
    pub size: usize,
    /// Messages per second.
    pub rate: u64,
    /// Messages in each round.
    pub count: u64,
    /// Rounds; within each, every contender runs once.
    pub rounds: usize,
    /// Seed of the order within the rounds.
    pub seed: u64,
}

/// Result of one contender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the contender.
    pub contender: String,
    /// Lateness of the messages of each round.
    pub rounds: Vec<Tail>,
    /// Percentile curve of all rounds together.
    pub curve: Vec<Point>,
}

/// Lateness of the messages of one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Median, in microseconds.
    pub p50_us: f64,
    /// 99th percentile, in microseconds.
    pub p99_us: f64,
    /// 99.9th percentile, in microseconds.
    pub p999_us: f64,
    /// 99.99th percentile, in microseconds.
    pub p9999_us: f64,
}

/// Point of a percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Share of the messages, in per cent, that are no later than `us`.
    pub percentile: f64,
    /// Lateness in microseconds.
    pub us: f64,
}

/// Result of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// A row for each contender that succeeded in every round.
    pub rows: Vec<Row>,
    /// Failures with their reasons.
    pub failures: Vec<String>,
    /// Lateness of all messages, a histogram for each contender.
    pub histograms: Vec<Recorded>,
}

/// Runs all contenders, and passes the name of each to `progress`.
pub fn run(options: &Options, mut progress: impl FnMut(&str)) -> Outcome {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let one_way = |contender: &&Contender| contender.cases.contains(&Case::OneWay);
    let mut entrants: Vec<&Contender> = contenders::ALL.iter().filter(one_way).collect();
    entrants.retain(|contender| CONTENDERS.contains(&contender.name));
    let mut rows: Vec<(&str, Vec<Histogram<u64>>)> =
        entrants.iter().map(|contender| (contender.name, Vec::new())).collect();
    let mut failures = Vec::new();
    let mut complete = options.rounds;
    'rounds: for round in 1..=options.rounds {
        random.shuffle(&mut entrants);
        for contender in &entrants {
            progress(&format!("open loop, round {round}: {}", contender.name));
            match runner::open_loop(contender, Load::at_rate(options.size, options.count, options.rate)) {
                Ok(latencies) => {
                    let row = rows.iter_mut().find(|(name, _)| *name == contender.name);
                    row.expect("each entrant has a row").1.push(latencies);
                }
                Err(failure) => {
                    failures.push(format!("{}: {failure}", contender.name));
                    if matches!(failure, Failure::Hung) {
                        complete = round - 1;
                        break 'rounds;
                    }
                }
            }
        }
    }
    rows.retain(|(_, rounds)| complete > 0 && rounds.len() >= complete);
    rows.iter_mut().for_each(|(_, rounds)| rounds.truncate(complete));
    let mut outcome = Outcome { failures, ..Outcome::default() };
    for (name, rounds) in rows {
        outcome.rows.push(Row::of(name, &rounds));
        outcome.histograms.push(Recorded::new(&format!("open loop {} {name}", options.size), together(&rounds)));
    }
    outcome
}

impl Row {
    /// Sums up the histograms of all rounds, in nanoseconds; there is at least one.
    pub fn of(contender: &str, rounds: &[Histogram<u64>]) -> Self {
        let all = together(rounds);
        let point = |quantile: f64, ns: u64| Point { percentile: quantile * 100.0, us: ns as f64 / 1e3 };
        let steps = all.iter_quantiles(STEPS_PER_HALVING);
        let curve = steps.map(|step| point(step.quantile(), step.value_iterated_to())).collect();
        Self { contender: contender.to_owned(), rounds: rounds.iter().map(Tail::of).collect(), curve }
    }

    /// Returns the spread of a quantity over the rounds.
    pub fn spread(&self, quantity: fn(&Tail) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(quantity).collect())
    }
}

fn together(rounds: &[Histogram<u64>]) -> Histogram<u64> {
    let mut all = Histogram::<u64>::new_from(&rounds[0]);
    for round in rounds {
        all.add(round).expect("all histograms have the same bounds");
    }
    all
}

impl Tail {
    fn of(round: &Histogram<u64>) -> Self {
        let at = |quantile| round.value_at_quantile(quantile) as f64 / 1e3;
        Self { p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999), p9999_us: at(0.9999) }
    }
}

/// Limit of the fast path's p99.9 lateness, as a multiple of ZeroMQ's.
pub const BAR: Bound = Bound::AtMost(0.33);

/// Returns the p99.9 of a contender as a multiple of ZeroMQ's.
pub fn ratio(contender: &str, rows: &[Row]) -> Option<Ratio> {
    let p999 = |name: &str| Some(rows.iter().find(|row| row.contender == name)?.spread(|tail| tail.p999_us));
    Some(Ratio::of(&p999(contender)?, &p999("zmq")?))
}

/// Returns a table of all rows, sorted by their p99.9.
pub fn table(rows: &[Row]) -> Table {
    let mut table =
        Table::new(["open loop", "p50 µs", "p99 µs", "p99.9 µs", "min..max", "p99.99 µs", "p99.9 / zmq (95 %)"]);
    let mut sorted: Vec<&Row> = rows.iter().collect();
    let p999 = |row: &Row| row.spread(|tail| tail.p999_us);
    sorted.sort_by(|left, right| p999(left).median().total_cmp(&p999(right).median()));
    for row in sorted {
        let median = |quantity| format!("{:.1}", row.spread(quantity).median());
        let tail = p999(row);
        table.row([
            row.contender.clone(),
            median(|tail| tail.p50_us),
            median(|tail| tail.p99_us),
            median(|tail| tail.p999_us),
            format!("{:.1}..{:.1}", tail.min(), tail.max()),
            median(|tail| tail.p9999_us),
            ratio(&row.contender, rows).map_or_else(String::new, |ratio| ratio.to_string()),
        ]);
    }
    table
}

/// Points of a curve for each halving of the share of messages above them.
const STEPS_PER_HALVING: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_to_its_maximum() {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        (1..=1000).for_each(|us| histogram.record(us * 1000).unwrap());
        let row = Row::of("someone", &[histogram]);
        let curve = &row.curve;
        assert!(curve.windows(2).all(|pair| pair[0].percentile <= pair[1].percentile && pair[0].us <= pair[1].us));
        assert_eq!(curve.last().unwrap().percentile, 100.0);
        assert!((row.spread(|tail| tail.p50_us).median() - 500.0).abs() < 1.0);
    }

    #[test]
    fn every_suitable_contender_exists() {
        let known = |name: &str| contenders::ALL.iter().any(|contender| contender.name == name);
        let built = |name: &&&str| cfg!(feature = "peers") || !name.starts_with("rzmq");
        assert!(CONTENDERS.iter().filter(built).all(|name| known(name)));
    }
}
