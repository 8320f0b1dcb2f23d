//! Messages at a fixed rate, and how late each of them was.
//!
//! In a closed loop a contender that stalls is asked less, and its worst moments are counted once. Here every message has
//! its moment, and is late from then on.

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

/// Contenders that send a message when it is given to them. The others fill a buffer first, and would wait for it.
pub const CONTENDERS: &[&str] =
    &["cluster-dedicated-fast", "cluster-dedicated-owned", "zmq", "zmq-plain", "rzmq-uring"];

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes in a payload.
    pub size: usize,
    /// Messages each second.
    pub rate: u64,
    /// Messages in each round.
    pub count: u64,
    /// Rounds; within each, every contender runs once.
    pub rounds: usize,
    /// Decides the order within the rounds.
    pub seed: u64,
}

/// What one contender did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Who.
    pub contender: String,
    /// How late messages came, in each round.
    pub rounds: Vec<Tail>,
    /// The percentile curve of all rounds together.
    pub curve: Vec<Point>,
}

/// How late the messages of one round came, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Half of them came no later.
    pub p50_us: f64,
    /// All but one in a hundred.
    pub p99_us: f64,
    /// All but one in a thousand.
    pub p999_us: f64,
    /// All but one in ten thousand.
    pub p9999_us: f64,
}

/// A point of a percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Such a share of the messages, in per cent ...
    pub percentile: f64,
    /// ... came no later than this, in microseconds.
    pub us: f64,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// A row for each contender that succeeded in every round.
    pub rows: Vec<Row>,
    /// What failed, and why.
    pub failures: Vec<String>,
    /// How late all messages were.
    pub histograms: Vec<Recorded>,
}

/// Runs all contenders; `progress` is told what is being measured.
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
    /// Sums up a histogram for each round, in nanoseconds; there is at least one.
    pub fn of(contender: &str, rounds: &[Histogram<u64>]) -> Self {
        let all = together(rounds);
        let point = |quantile: f64, ns: u64| Point { percentile: quantile * 100.0, us: ns as f64 / 1e3 };
        let steps = all.iter_quantiles(STEPS_PER_HALVING);
        let curve = steps.map(|step| point(step.quantile(), step.value_iterated_to())).collect();
        Self { contender: contender.to_owned(), rounds: rounds.iter().map(Tail::of).collect(), curve }
    }

    /// A quantity of each round.
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

/// How late the fast path may be, as a multiple of ZeroMQ: all but one message in a thousand.
pub const BAR: Bound = Bound::AtMost(0.33);

/// The p99.9 of a contender as a multiple of ZeroMQ's.
pub fn ratio(contender: &str, rows: &[Row]) -> Option<Ratio> {
    let p999 = |name: &str| Some(rows.iter().find(|row| row.contender == name)?.spread(|tail| tail.p999_us));
    Some(Ratio::of(&p999(contender)?, &p999("zmq")?))
}

/// A table of all rows, by their p99.9.
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

/// So many points of a curve for each halving of what is still above them.
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
