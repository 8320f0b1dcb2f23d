//! Faults: real servers in networks of their own, faults from a seed, and a checker of the servers' promises.
//!
//! | folder | content |
//! | --- | --- |
//! | `arguments` | the command line |
//! | `options` | its options for a session |
//! | `session` | a session from its plan to its report |
//! | `scenario/` | sessions with one kind of fault, and their figures |
//! | `plan/` | faults and their times, drawn from a seed |
//! | `conductor/` | starts the processes, injects the faults |
//! | `network/` | namespaces, cables, throttles; the proxy that resets connections, replays and lies |
//! | `node/` | one server: sends, receives, logs both |
//! | `log/`, `payload`, `journal` | formats of what is written down |
//! | `checker/` | decides from the logs and the journal whether every promise was kept |
#![forbid(unsafe_code)]

mod arguments;
mod checker;
mod clock;
mod conductor;
mod failure;
mod journal;
mod log;
mod mix;
mod network;
mod node;
mod options;
mod output;
mod payload;
mod plan;
mod scenario;
mod session;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;
use crate::output::say;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = |()| ExitCode::SUCCESS;
    let result: Result<ExitCode, Failure> = match &arguments.command {
        None => session::random(&arguments.session),
        Some(Command::Check { folder }) => session::check(folder),
        Some(Command::Scenario(scenario)) => scenario::run(scenario),
        Some(Command::Node(node)) => node::run(node).map(done),
        Some(Command::Proxy(proxy)) => network::run_proxy(proxy).map(done),
    };
    result.unwrap_or_else(|failure| {
        say(format_args!("error: {failure}"));
        ExitCode::from(FAILED)
    })
}

/// Exit code of a command that failed; 1 means that promises were broken.
const FAILED: u8 = 2;
