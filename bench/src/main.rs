//! `cluster-bench`: comparisons that print tables and write JSON.

mod arguments;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;
use cluster_bench::compare::{self, Case, Row};
use cluster_bench::machine::Machine;
use cluster_bench::receive_strategies;
use serde::Serialize;

use arguments::{Arguments, Command, Compare};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    match Arguments::parse().command {
        Command::Compare(arguments) => compare(&arguments),
        Command::ReceiveStrategies(arguments) => {
            let report = receive_strategies::run(arguments.options())?;
            write!(io::stdout(), "{}\n{report}", Machine::look())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn compare(arguments: &Compare) -> Result<ExitCode, Box<dyn Error>> {
    let machine = Machine::look();
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}")?;

    // Progress is for people; if nobody can read it, nothing is lost.
    let outcome = compare::run(&arguments.options(), |what| {
        let _ = writeln!(io::stderr(), "measuring {what}");
    });

    for case in [Case::RoundTrip, Case::OneWay] {
        writeln!(out, "{}", compare::tables(case, &outcome.rows))?;
    }
    writeln!(out, "{}", compare::verdicts(&outcome.rows))?;
    for failure in &outcome.failures {
        writeln!(out, "FAILED: {failure}")?;
    }
    if let Some(path) = &arguments.json {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer_pretty(&mut file, &Document { machine, rows: &outcome.rows })?;
        writeln!(file)?;
        file.flush()?;
    }
    Ok(if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Serialize)]
struct Document<'a> {
    machine: Machine,
    rows: &'a [Row],
}
