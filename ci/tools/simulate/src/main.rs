//! Simulate: the engine's shards in virtual time, over a network with many faults, from seeds.
//!
//! | file | content |
//! | --- | --- |
//! | `arguments` | the command line |
//! | `range` | many seeds, on all cores |
//! | `summary` | their results |
#![forbid(unsafe_code)]

mod arguments;
mod range;
mod summary;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use cluster_engine::simulation::simulate;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => one(seed, arguments.trace),
        None => range::run(arguments.seeds, arguments.threads),
    }
}

/// Simulates one seed, and prints its outcome.
fn one(seed: u64, trace: bool) -> ExitCode {
    let outcome = match trace {
        true => simulate(seed, Some(&mut |line| print(line))),
        false => simulate(seed, None),
    };
    print(format_args!(
        "seed {seed}: {} envelopes in {:.3} simulated seconds, {} happenings, hash {:016x}",
        outcome.envelopes,
        outcome.time.as_secs_f64(),
        outcome.happenings,
        outcome.hash
    ));
    match outcome.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            print(format_args!("FAILED: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line of the result. Errors are ignored: if the reader has gone, the exit code still tells the result.
pub fn print(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Writes a line for people to standard error.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
