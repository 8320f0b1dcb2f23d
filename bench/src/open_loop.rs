//! Messages at a fixed rate, and how late each of them was.
//!
//! In a closed loop a contender that stalls is asked less, and its worst moments are counted once. Here every message has
//! its moment, and is late from then on.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::contenders::{self, Contender, Run};
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
#[derive(Debug)]
pub struct Row {
    /// Who.
    pub contender: &'static str,
    /// A histogram for each round, in nanoseconds.
    pub rounds: Vec<Histogram<u64>>,
}

/// A point of a percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Such a share of the messages, in per cent ...
    pub percentile: f64,
    /// ... came no later than this, in microseconds.
    pub us: f64,
}

/// Runs all contenders; `progress` is told what is being measured. Failures come back as text.
pub fn run(options: &Options, mut progress: impl FnMut(&str)) -> (Vec<Row>, Vec<String>) {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let one_way = |contender: &&Contender| matches!(contender.run, Run::OneWay(_));
    let mut entrants: Vec<&Contender> = contenders::ALL.iter().filter(one_way).collect();
    entrants.retain(|contender| CONTENDERS.contains(&contender.name));
    let mut rows: Vec<Row> =
        entrants.iter().map(|contender| Row { contender: contender.name, rounds: Vec::new() }).collect();
    let mut failures = Vec::new();
    for round in 1..=options.rounds {
        random.shuffle(&mut entrants);
        for contender in &entrants {
            let Run::OneWay(run) = contender.run else { continue };
            progress(&format!("open loop, round {round}: {}", contender.name));
            match runner::open_loop(run, Load::at_rate(options.size, options.count, options.rate)) {
                Ok(latencies) => {
                    let row = rows.iter_mut().find(|row| row.contender == contender.name);
                    row.expect("each entrant has a row").rounds.push(latencies);
                }
                Err(failure) => {
                    failures.push(format!("{}: {failure}", contender.name));
                    if matches!(failure, Failure::Hung) {
                        rows.retain(|row| row.rounds.len() >= round);
                        return (rows, failures);
                    }
                }
            }
        }
    }
    rows.retain(|row| row.rounds.len() == options.rounds);
    (rows, failures)
}

impl Row {
    /// This quantile of each round, in microseconds.
    pub fn quantile_us(&self, quantile: f64) -> Spread {
        Spread::of(self.rounds.iter().map(|round| round.value_at_quantile(quantile) as f64 / 1e3).collect())
    }

    /// The percentile curve of all rounds together.
    pub fn curve(&self) -> Vec<Point> {
        let mut all = Histogram::<u64>::new_from(&self.rounds[0]);
        for round in &self.rounds {
            all.add(round).expect("all histograms have the same bounds");
        }
        let point = |quantile: f64, ns: u64| Point { percentile: quantile * 100.0, us: ns as f64 / 1e3 };
        let steps = all.iter_quantiles(STEPS_PER_HALVING);
        steps.map(|step| point(step.quantile(), step.value_iterated_to())).collect()
    }
}

/// A table of all rows, by their p99.9.
pub fn table(rows: &[Row]) -> Table {
    let mut table =
        Table::new(["open loop", "p50 µs", "p99 µs", "p99.9 µs", "min..max", "p99.99 µs", "p99.9 / zmq (95 %)"]);
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by(|left, right| left.quantile_us(0.999).median().total_cmp(&right.quantile_us(0.999).median()));
    let zmq = rows.iter().find(|row| row.contender == "zmq").map(|row| row.quantile_us(0.999));
    for row in sorted {
        let median = |quantile| format!("{:.1}", row.quantile_us(quantile).median());
        let tail = row.quantile_us(0.999);
        table.row([
            row.contender.to_owned(),
            median(0.5),
            median(0.99),
            median(0.999),
            format!("{:.1}..{:.1}", tail.min(), tail.max()),
            median(0.9999),
            zmq.as_ref().map_or_else(String::new, |zmq| Ratio::of(&tail, zmq).to_string()),
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
        let row = Row { contender: "someone", rounds: vec![histogram] };
        let curve = row.curve();
        assert!(curve.windows(2).all(|pair| pair[0].percentile <= pair[1].percentile && pair[0].us <= pair[1].us));
        assert_eq!(curve.last().unwrap().percentile, 100.0);
        assert!((row.quantile_us(0.5).median() - 500.0).abs() < 1.0);
    }

    #[test]
    fn every_suitable_contender_exists() {
        let known = |name: &str| contenders::ALL.iter().any(|contender| contender.name == name);
        let built = |name: &&&str| cfg!(feature = "peers") || !name.starts_with("rzmq");
        assert!(CONTENDERS.iter().filter(built).all(|name| known(name)));
    }
}
