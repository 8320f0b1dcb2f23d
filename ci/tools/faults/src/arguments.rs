//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::network;
use crate::node;
use crate::options::Session;
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
