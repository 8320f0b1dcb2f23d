//! Options of a session on the command line, with random faults or with those of a scenario.

use std::path::PathBuf;

use clap::Args;

/// A session of random faults.
#[derive(Args, Debug)]
pub struct Session {
    /// Minutes in which faults are injected.
    #[arg(long, default_value_t = 3.0)]
    pub minutes: f64,
    /// Seed of all random choices; without it, one is drawn and printed.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub common: Common,
}

/// Options of every session.
#[derive(Args, Debug)]
pub struct Common {
    /// Number of servers, 2 to 9.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..=9))]
    pub nodes: u64,
    /// Messages each second of each server; 2000, and more in a scenario.
    #[arg(long)]
    pub rate: Option<u64>,
    /// Without namespaces, and so without the faults of the network.
    #[arg(long)]
    pub loopback: bool,
    /// File for the summary.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Parent of the folder of logs; by default that of temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub logs: Option<PathBuf>,
    /// Keeps the logs also when there is no violation.
    #[arg(long)]
    pub keep: bool,
}
