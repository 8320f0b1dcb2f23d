//! Comparison of contenders by the writes of their clients. Each load is measured in several rounds; each round runs
//! every contender once, in random order, with processes of its own. A slow minute of the machine hits all of them.

use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::contenders::{self, Contender};
use super::group::Group;
use super::protocol::{Library, Load, Settings};
use crate::statistics::{Ratio, Spread};
use crate::table::Table;

/// Options of all measurements.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names of contenders; empty for all.
    pub only: Vec<String>,
    /// Libraries.
    pub libraries: Vec<Library>,
    /// Numbers of clients.
    pub clients: Vec<u32>,
    /// Bytes of a value.
    pub sizes: Vec<usize>,
    /// Rounds, at least one.
    pub rounds: usize,
    /// Seed of the order of contenders within each round.
    pub seed: u64,
    /// Time for which clients write before a measurement.
    pub warm_up: Duration,
    /// Time of a measurement.
    pub duration: Duration,
}

/// Figures of one contender for one load: a sample for each round.
#[derive(Debug, Clone)]
pub struct Row {
    /// Library of consensus.
    pub library: Library,
    /// Clients and values.
    pub load: Load,
    /// Contender.
    pub contender: &'static str,
    /// Figures with their names, in the order of `FIGURES`.
    pub figures: Vec<Spread>,
    /// Ratio of writes per second to those of the library's yardstick, if both were measured.
    pub ratio: Option<Ratio>,
}

/// Names of the figures of a row.
pub const FIGURES: [&str; 6] = ["writes_per_second", "p50_us", "p99_us", "p999_us", "cpu_us_per_write", SWITCHES];

const SWITCHES: &str = "context_switches_per_write";

impl Options {
    /// Returns the contenders that are measured.
    pub fn contenders(&self) -> Vec<&'static Contender> {
        let is_meant = |contender: &&Contender| {
            self.libraries.contains(&contender.library)
                && (self.only.is_empty() || self.only.iter().any(|name| name == contender.name))
        };
        contenders::ALL.iter().filter(is_meant).collect()
    }
}

/// Runs the comparison. Passes a line for each load to `tell`, and each failure to `fail`.
pub fn run(options: &Options, mut tell: impl FnMut(&str), mut fail: impl FnMut(String)) -> Vec<Row> {
    let (mut rows, mut random) = (Vec::new(), fastrand::Rng::with_seed(options.seed));
    for &library in &options.libraries {
        let contenders: Vec<_> = options.contenders().into_iter().filter(|one| one.library == library).collect();
        for &size in &options.sizes {
            for &clients in &options.clients {
                let load = Load { clients, size };
                tell(&format!("{library}, {clients} clients, {size} bytes"));
                let mut samples: Vec<Vec<[f64; 6]>> = vec![Vec::new(); contenders.len()];
                for round in 1..=options.rounds {
                    let mut order: Vec<usize> = (0..contenders.len()).collect();
                    random.shuffle(&mut order);
                    for index in order {
                        match measure(contenders[index], load, options) {
                            Ok(sample) => samples[index].push(sample),
                            Err(reason) => {
                                let name = contenders[index].name;
                                fail(format!("{library}, {clients} × {size} bytes, {name}, round {round}: {reason}"));
                            }
                        }
                    }
                }
                rows.extend(rows_of(library, load, options.rounds, &contenders, &samples));
            }
        }
    }
    rows
}

fn measure(contender: &Contender, load: Load, options: &Options) -> Result<[f64; 6], String> {
    let mut group = Group::start(contender, &SETTINGS)?;
    group.write(load)?;
    group.watch(options.warm_up)?;
    let measurement = group.measure(options.duration)?;
    group.rest()?;
    group.stop();
    if measurement.changes > 0 {
        return Err("the group has changed its leader".to_owned());
    }
    let (usage, figures) = (measurement.usage, measurement.figures.ok_or("no write was answered")?);
    let each = |count: f64| count / figures.writes as f64;
    Ok([
        figures.writes as f64 / figures.seconds,
        figures.p50_us,
        figures.p99_us,
        figures.p999_us,
        each(usage.processor.as_secs_f64() * 1e6),
        each((usage.switches + usage.preemptions) as f64),
    ])
}

/// Returns the rows of the contenders that succeeded in every round: only then do rounds correspond to each other.
fn rows_of(
    library: Library,
    load: Load,
    rounds: usize,
    contenders: &[&'static Contender],
    samples: &[Vec<[f64; 6]>],
) -> Vec<Row> {
    let complete = contenders.iter().zip(samples).filter(|(_, samples)| samples.len() == rounds);
    let mut rows: Vec<Row> = complete
        .map(|(contender, samples)| {
            let figure = |at: usize| Spread::of(samples.iter().map(|sample| sample[at]).collect());
            let figures = (0..FIGURES.len()).map(figure).collect();
            Row { library, load, contender: contender.name, figures, ratio: None }
        })
        .collect();
    let yardstick = rows.iter().find(|row| row.contender == library.yardstick()).map(|row| row.figures[0].clone());
    for row in &mut rows {
        row.ratio = yardstick.as_ref().map(|yardstick| Ratio::of(&row.figures[0], yardstick));
    }
    rows
}

/// Returns the rows as a table.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "library",
        "clients",
        "bytes",
        "contender",
        "writes/s",
        "lowest",
        "highest",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "cpu µs",
        "switches",
        "to the yardstick (95 %)",
    ]);
    for row in rows {
        let median = |at: usize, digits: usize| format!("{:.digits$}", row.figures[at].median());
        table.row([
            row.library.to_string(),
            row.load.clients.to_string(),
            row.load.size.to_string(),
            row.contender.to_owned(),
            median(0, 0),
            format!("{:.0}", row.figures[0].min()),
            format!("{:.0}", row.figures[0].max()),
            median(1, 1),
            median(2, 1),
            median(3, 1),
            median(4, 1),
            median(5, 2),
            row.ratio.map_or_else(String::new, |ratio| ratio.to_string()),
        ]);
    }
    table
}

impl Serialize for Row {
    /// Writes medians under their names, and the spread of the writes per second beside them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("library", &self.library)?;
        map.serialize_entry("clients", &self.load.clients)?;
        map.serialize_entry("size", &self.load.size)?;
        map.serialize_entry("contender", self.contender)?;
        for (name, figure) in FIGURES.iter().zip(&self.figures) {
            map.serialize_entry(name, &figure.median())?;
        }
        map.serialize_entry("lowest_writes_per_second", &self.figures[0].min())?;
        map.serialize_entry("highest_writes_per_second", &self.figures[0].max())?;
        if let Some(ratio) = self.ratio {
            map.serialize_entry("ratio_to_tokio_tcp", &ratio.median)?;
            map.serialize_entry("ratio_to_tokio_tcp_low", &ratio.low)?;
            map.serialize_entry("ratio_to_tokio_tcp_high", &ratio.high)?;
        }
        map.end()
    }
}

/// Settings of throughput: nobody wants to lead because a busy machine was late with a heartbeat.
const SETTINGS: Settings = Settings { heartbeat_ms: 250, election_ms: 5000, voters: 3, ballast_bytes: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_to_the_yardstick_round_by_round() {
        let contenders: Vec<_> = contenders::ALL.iter().filter(|one| one.library == Library::Openraft).collect();
        let samples = contenders.iter().map(|contender| {
            let is_yardstick = contender.name == Library::Openraft.yardstick();
            let factor = if is_yardstick { 2.0 } else { 1.0 };
            let rounds = if contender.name == "zmq" { 1 } else { 2 };
            (0..rounds).map(|round| [factor * f64::from(10 + round); 6]).collect()
        });
        let samples: Vec<Vec<[f64; 6]>> = samples.collect();
        let load = Load { clients: 1, size: 64 };
        let rows = rows_of(Library::Openraft, load, 2, &contenders, &samples);
        assert_eq!(rows.len(), contenders.len() - 1, "one has failed in a round");
        for row in rows {
            let expected = if row.contender == "tokio-tcp" { 1.0 } else { 0.5 };
            assert_eq!(row.ratio.map(|ratio| ratio.median), Some(expected), "{}", row.contender);
            let json = serde_json::to_value(&row).unwrap();
            assert_eq!((&json["library"], &json["clients"]), (&"openraft".into(), &1.into()));
            assert_eq!(json["ratio_to_tokio_tcp"], expected);
        }
    }
}
