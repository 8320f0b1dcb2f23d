//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::network;
use crate::node;
use crate::scenario::Scenario;

/// Runs servers, injects faults from a seed, and checks from the logs that every promise was kept.
#[derive(Parser, Debug)]
#[command(name = "faults", args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub session: Session,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Checks the logs of a session once more, or those of one that did not come to its end.
    #[command(alias = "judge")]
    Check {
        /// The folder of its logs.
        folder: PathBuf,
    },
    /// One fault, under load, with its figures.
    #[command(subcommand)]
    Scenario(Scenario),
    /// One server under test; the conductor starts it.
    #[command(hide = true)]
    Node(node::Arguments),
    /// One proxy; the conductor starts it.
    #[command(hide = true)]
    Proxy(network::ProxyArguments),
}

/// A session of random faults.
#[derive(Args, Debug)]
pub struct Session {
    /// How long faults are injected.
    #[arg(long, default_value_t = 3.0)]
    pub minutes: f64,
    /// What all chance is drawn from; without it, one that is printed.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub common: Common,
}

/// What every session can be told.
#[derive(Args, Debug)]
pub struct Common {
    /// How many servers, 2 to 9.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..=9))]
    pub nodes: u64,
    /// Messages each second of each server; 2000, and more in a scenario.
    #[arg(long)]
    pub rate: Option<u64>,
    /// Without namespaces, and so without the faults of the network.
    #[arg(long)]
    pub loopback: bool,
    /// Where to write the summary.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the folder of the logs is made; by default among the temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub logs: Option<PathBuf>,
    /// Keeps the logs also when there is no violation.
    #[arg(long)]
    pub keep: bool,
}
