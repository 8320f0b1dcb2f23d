//! Simulate: the engine's shards in virtual time, over a network where much goes wrong, from seeds.
//!
//! | file | what it is |
//! | --- | --- |
//! | `arguments` | the command line |
//! | `range` | many seeds, on all cores |
//! | `summary` | what they came to |
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

/// Plays one seed, and says what became of it.
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

/// A line of the result. Who reads it may have gone; the exit code still says how it ended.
pub fn print(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A line for whoever watches.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
