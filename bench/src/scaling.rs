//! Growth of throughput with the number of servers in a process, and with the number of event loops that they share.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::case::Case;
use crate::contenders::Contender;
use crate::measure::{Load, Pattern, Traffic};
use crate::runner::{self, Failure, How, Place};
use crate::statistics::Spread;
use crate::table::Table;

/// Measured contenders. For ZeroMQ, the threads of its context count as event loops.
pub const CONTENDERS: &[&str] = &["cluster-dedicated-fast", "cluster-dedicated-owned", "zmq"];

/// Options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Numbers of servers, measured with a loop for each core.
    pub servers: Vec<usize>,
    /// Numbers of loops, up to the number of cores, measured with [`SERVERS`] servers.
    pub loops: Vec<usize>,
    /// Rounds; within each, every point is measured once.
    pub rounds: usize,
    /// Seed of the order within the rounds.
    pub seed: u64,
    /// Time for one point within one round.
    pub budget: Duration,
}

/// Quantity that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Number of servers.
    Servers,
    /// Number of event loops.
    Loops,
}

/// Result of all-to-all traffic of 64-byte payloads at one point of an axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the contender.
    pub contender: String,
    /// Axis of the point.
    pub axis: Axis,
    /// Number of servers or loops at the point.
    pub at: usize,
    /// Messages per second received by all servers together, in each round.
    pub messages_per_second: Vec<f64>,
}

impl Row {
    /// Spread of the rounds; there is at least one.
    pub fn spread(&self) -> Spread {
        Spread::of(self.messages_per_second.clone())
    }
}

/// Returns 1, 2, 4 and so on, up to and including the number of cores of this machine.
pub fn loops_of_this_machine() -> Vec<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut loops: Vec<usize> = (0..).map(|power| 1 << power).take_while(|loops| *loops < cores).collect();
    loops.push(cores);
    loops
}

struct Point {
    contender: &'static Contender,
    axis: Axis,
    at: usize,
    count: u64,
    samples: Vec<f64>,
}

impl Point {
    fn traffic(&self, count: u64) -> Traffic {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (servers, loops) = match self.axis {
            Axis::Servers => (self.at, cores),
            Axis::Loops => (SERVERS, self.at),
        };
        let load = Load::new(BYTES, count);
        Traffic { pattern: Pattern::AllToAll { servers }, load, loops: Some(loops) }
    }
}

/// Measures all points, and passes the name of each to `progress`. Failures come back as text.
pub fn run(options: &Options, mut progress: impl FnMut(&str)) -> (Vec<Row>, Vec<String>) {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let on = |axis, at: &[usize]| at.iter().map(|&at| (axis, at)).collect::<Vec<_>>();
    let places = [on(Axis::Servers, &options.servers), on(Axis::Loops, &options.loops)].concat();
    let mut failures = Vec::new();
    let mut points: Vec<Point> = Vec::new();
    for (axis, at) in places {
        for contender in CONTENDERS.iter().filter_map(|name| Contender::find(name, Case::AllToAll)) {
            let mut point = Point { contender, axis, at, count: 0, samples: Vec::new() };
            progress(&format!("scaling, {at} {axis:?}: {}", contender.name));
            let sent = |count| Some(point.traffic(count));
            match runner::calibrate(contender, Case::AllToAll, sent, options.budget, Place::Threads) {
                Ok(count) => point.count = count,
                Err(failure) => {
                    failures.push(format!("{at} {axis:?}, {}: {failure}", contender.name));
                    if matches!(failure, Failure::Hung) {
                        return (Vec::new(), failures);
                    }
                    continue;
                }
            }
            points.push(point);
        }
    }
    let mut order: Vec<usize> = (0..points.len()).collect();
    for _ in 0..options.rounds {
        random.shuffle(&mut order);
        for &index in &order {
            let point = &mut points[index];
            let sent = point.traffic(point.count);
            match runner::traffic(point.contender, Case::AllToAll, sent, How::default()) {
                Ok((throughput, _)) => point.samples.push(throughput.messages_per_second()),
                Err(failure) => {
                    failures.push(format!("{} {:?}, {}: {failure}", point.at, point.axis, point.contender.name));
                    if matches!(failure, Failure::Hung) {
                        return (rows(points), failures);
                    }
                }
            }
        }
    }
    (rows(points), failures)
}

fn rows(points: Vec<Point>) -> Vec<Row> {
    let measured = points.into_iter().filter(|point| !point.samples.is_empty());
    let row = |Point { contender, axis, at, samples, .. }: Point| Row {
        contender: contender.name.to_owned(),
        axis,
        at,
        messages_per_second: samples,
    };
    measured.map(row).collect()
}

/// Returns a table of all points.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["all to all, 64 B", "servers", "loops", "M messages/s", "min..max"]);
    for row in rows {
        let spread = row.spread();
        let (servers, loops) = match row.axis {
            Axis::Servers => (row.at.to_string(), "cores".to_owned()),
            Axis::Loops => (SERVERS.to_string(), row.at.to_string()),
        };
        table.row([
            row.contender.clone(),
            servers,
            loops,
            format!("{:.2}", spread.median() / 1e6),
            format!("{:.2}..{:.2}", spread.min() / 1e6, spread.max() / 1e6),
        ]);
    }
    table
}

/// Number of servers while the number of loops grows.
pub const SERVERS: usize = 8;
const BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_grow_up_to_the_cores() {
        let loops = loops_of_this_machine();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert!(loops.windows(2).all(|pair| pair[0] < pair[1]) && loops.last() == Some(&cores));
    }

    #[test]
    fn every_contender_takes_part_in_all_to_all() {
        assert!(CONTENDERS.iter().all(|name| Contender::find(name, Case::AllToAll).is_some()));
    }

    #[test]
    fn points_are_measured_on_both_axes() {
        let budget = Duration::from_millis(1);
        let options = Options { servers: vec![2], loops: vec![1], rounds: 1, seed: 1, budget };
        let (rows, failures) = run(&options, |_| {});
        assert_eq!((rows.len(), failures), (2 * CONTENDERS.len(), vec![]));
        assert!(rows.iter().all(|row| row.spread().min() > 0.0));
    }
}
