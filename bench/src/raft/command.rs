//! The command line of `raft`, and the file that it writes.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::compare::{self, Options, Row};
use super::contenders;
use super::modes::{self, Failover, Idle, SnapshotBesideWrites};
use super::protocol::Library;
use crate::machine::Machine;
use crate::noise::{Noise, Watch};

/// Arguments of `raft`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Short measurements, two rounds, and writes only: shows that everything works, not how fast it is.
    #[arg(long)]
    quick: bool,

    /// Writes machine and rows to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Measures only these contenders.
    #[arg(long, value_name = "NAME", value_delimiter = ',', num_args = 1.., value_parser = contender)]
    only: Vec<String>,

    /// Measures only this library [default: both].
    #[arg(long)]
    library: Option<Library>,

    /// Measures only this [default: all, or writes if quick].
    #[arg(long, value_name = "CASE", value_delimiter = ',', num_args = 1..)]
    case: Vec<Case>,

    /// Clients that write, each the next value when the last one was answered.
    #[arg(long, value_name = "COUNT", value_delimiter = ',', num_args = 1.., default_values_t = [1, 16, 256],
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    clients: Vec<u32>,

    /// Bytes of a value.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', num_args = 1.., default_values_t = [64, 4096],
          value_parser = clap::value_parser!(u64).range(8..=65_536))]
    size: Vec<u64>,

    /// Bytes of the snapshot beside writes.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30,
          value_parser = clap::value_parser!(u64).range(1..=1 << 31))]
    snapshot_bytes: u64,

    /// Rounds; within each, every contender runs once [default: 5, or 2 if quick].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,

    /// Milliseconds of a measurement of writes [default: 2000, or 200 if quick].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=600_000))]
    duration_ms: Option<u64>,

    /// Decides the order within the rounds [default: drawn, and printed].
    #[arg(long)]
    seed: Option<u64>,
}

/// Kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Writes of clients.
    Writes,
    /// An idle group.
    Idle,
    /// Time to a new leader after the death of the last one.
    Failover,
    /// A node that joins by a large snapshot beside the writes of clients.
    Snapshot,
}

/// File of a run.
#[derive(Serialize)]
struct Document {
    machine: Machine,
    command: String,
    seed: u64,
    rounds: usize,
    noise: Noise,
    failures: Vec<String>,
    rows: Vec<Row>,
    idle: Vec<Idle>,
    failovers: Vec<Failover>,
    snapshots: Vec<SnapshotBesideWrites>,
}

impl Arguments {
    /// Runs the measurements and prints their tables. `command` is the whole command line, for the file.
    pub fn run(&self, command: String) -> Result<ExitCode, Box<dyn Error>> {
        let (machine, options) = (Machine::look(), self.options());
        let mut out = io::stdout().lock();
        writeln!(out, "{machine}seed {}\n", options.seed)?;

        let (watch, mut failures) = (Watch::begin(), Vec::new());
        let mut fail = |reason: String| {
            tell(&format!("FAILED: {reason}"));
            failures.push(reason);
        };
        let mut rows = Vec::new();
        if self.includes(Case::Writes) {
            rows = compare::run(&options, tell, &mut fail);
            writeln!(out, "{}", compare::table(&rows))?;
        }
        let mut idle = Vec::new();
        if self.includes(Case::Idle) {
            idle = modes::idle(&options, tell, &mut fail);
            writeln!(out, "{}", modes::idle_table(&idle))?;
        }
        let mut failovers = Vec::new();
        if self.includes(Case::Failover) {
            failovers = modes::failover(&options, tell, &mut fail);
            writeln!(out, "{}", modes::failover_table(&failovers))?;
        }
        let mut snapshots = Vec::new();
        if self.includes(Case::Snapshot) {
            snapshots = modes::snapshot(&options, self.snapshot_bytes as usize, tell, &mut fail);
            writeln!(out, "{}", modes::snapshot_table(&snapshots))?;
        }
        let noise = watch.end();
        writeln!(out, "{noise}")?;
        for failure in &failures {
            writeln!(out, "FAILED: {failure}")?;
        }
        let is_good = failures.is_empty();
        if let Some(path) = &self.json {
            let Options { seed, rounds, .. } = options;
            let document =
                Document { machine, command, seed, rounds, noise, failures, rows, idle, failovers, snapshots };
            let text = serde_json::to_string_pretty(&document)? + "\n";
            fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn includes(&self, case: Case) -> bool {
        if self.case.is_empty() { !self.quick || case == Case::Writes } else { self.case.contains(&case) }
    }

    fn options(&self) -> Options {
        let (rounds, warm_up_ms, duration_ms) = if self.quick { (2, 50, 200) } else { (5, 300, 2000) };
        Options {
            only: self.only.clone(),
            libraries: self.library.map_or_else(|| vec![Library::Openraft, Library::RaftRs], |library| vec![library]),
            clients: self.clients.clone(),
            sizes: self.size.iter().map(|size| *size as usize).collect(),
            rounds: self.rounds.unwrap_or(rounds) as usize,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
            warm_up: Duration::from_millis(warm_up_ms),
            duration: Duration::from_millis(self.duration_ms.unwrap_or(duration_ms)),
        }
    }
}

impl ValueEnum for Library {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Openraft, Self::RaftRs]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::Openraft => "openraft",
            Self::RaftRs => "raft-rs",
        }))
    }
}

fn contender(name: &str) -> Result<String, String> {
    let mut known: Vec<&str> = contenders::ALL.iter().map(|contender| contender.name).collect();
    if known.contains(&name) {
        return Ok(name.to_owned());
    }
    known.sort_unstable();
    known.dedup();
    Err(format!("there are {}", known.join(", ")))
}

/// Writes a line of progress to standard error. Progress is for people; a failed write loses nothing.
fn tell(what: &str) {
    let _ = writeln!(io::stderr(), "measuring {what}");
}
