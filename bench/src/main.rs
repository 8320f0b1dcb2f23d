//! `cluster-bench`: comparisons that print tables and write JSON.

mod arguments;

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use cluster_bench::compare::{self, Row};
use cluster_bench::documents::{self, Comparison, Document, Lateness, Mix};
use cluster_bench::history::{self, Entry, Measured};
use cluster_bench::machine::Machine;
use cluster_bench::mesh;
use cluster_bench::noise::Watch;
use cluster_bench::open_loop;
use cluster_bench::processes;
use cluster_bench::raft_mix;
use cluster_bench::ratios::{self, Bar, Bars, Held};
use cluster_bench::receive_strategies;
use cluster_bench::report;
use cluster_bench::runner::Place;
use cluster_bench::scaling;

use arguments::{Arguments, Command, Compare, Mesh, OpenLoop, RaftMix, Ratios, Report, Scaling};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    match Arguments::parse().command {
        Command::Compare(arguments) => compare(&arguments),
        Command::Ratios(arguments) => ratios(&arguments),
        Command::OpenLoop(arguments) => open_loop(&arguments),
        Command::RaftMix(arguments) => raft_mix(&arguments),
        #[cfg(feature = "raft")]
        Command::Raft(arguments) => arguments.run(command()),
        #[cfg(feature = "raft")]
        Command::RaftMember { job } => {
            cluster_bench::raft::serve(&job)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Scaling(arguments) => scaling(&arguments),
        Command::Mesh(arguments) => mesh(&arguments),
        Command::Report(arguments) => report(&arguments),
        Command::Participant(arguments) => {
            processes::serve(arguments.index, &arguments.job)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::MeshMember { job } => {
            mesh::serve(&job)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::MeshLoad => {
            mesh::spin();
            Ok(ExitCode::SUCCESS)
        }
        Command::ReceiveStrategies(arguments) => {
            let report = receive_strategies::run(arguments.options())?;
            write!(io::stdout(), "{}\n{report}", Machine::look())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn compare(arguments: &Compare) -> Result<ExitCode, Box<dyn Error>> {
    let machine = Machine::look();
    let options = arguments.options();
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}seed {}\n", options.seed)?;

    let watch = Watch::begin();
    let outcome = compare::run(&options, tell);
    let noise = watch.end();

    for &case in &options.cases {
        writeln!(out, "{}\n{}", compare::tables(case, &outcome.rows), compare::costs(case, &outcome.rows))?;
    }
    writeln!(out, "{}\n{noise}", compare::verdicts(&outcome.rows))?;
    for failure in &outcome.failures {
        writeln!(out, "FAILED: {failure}")?;
    }
    if let Some(path) = &arguments.history {
        let ratios = outcome.rows.iter().filter_map(|row| {
            let Row { case, size, contender, .. } = row;
            let ratio = row.ratio("zmq", &outcome.rows).filter(|_| contender != "zmq")?;
            Some(Measured { case: *case, size: *size, contender, against: "zmq", ratio })
        });
        let ratios = ratios.collect();
        history::append(path, &Entry { machine: &machine, seed: options.seed, rounds: options.rounds, noise, ratios })?;
    }
    if let Some(path) = &arguments.json {
        let (seed, rounds) = (options.seed, options.rounds);
        Comparison {
            machine,
            command: command(),
            seed,
            rounds,
            processes: options.place == Place::Processes,
            noise,
            failures: outcome.failures.clone(),
            rows: outcome.rows,
        }
        .write(path)?;
    }
    Ok(if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ratios(arguments: &Ratios) -> Result<ExitCode, Box<dyn Error>> {
    let bars = Bars::read(&arguments.bars)?;
    let machine = Machine::look();
    let options = arguments.options();
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}seed {}\n", options.seed)?;

    let watch = Watch::begin();
    let outcome = bars.measure(&options, tell);
    let noise = watch.end();
    let held = bars.hold(&outcome.rows);
    writeln!(out, "{}\n{noise}", ratios::table(&held))?;
    for failure in &outcome.failures {
        writeln!(out, "FAILED: {failure}")?;
    }
    if let Some(path) = &arguments.history {
        let ratios = held.iter().filter_map(Held::measured).collect();
        history::append(path, &Entry { machine: &machine, seed: options.seed, rounds: options.rounds, noise, ratios })?;
    }
    if arguments.update {
        let renewed: Option<Vec<Bar>> = held.iter().map(Held::renewed).collect();
        let bars = renewed.ok_or("not every bar was measured, so that none is renewed")?;
        Bars { cores: machine.cores, bars }.write(&arguments.bars)?;
        writeln!(out, "wrote {0}; see `git diff {0}`", arguments.bars.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    if bars.cores != machine.cores {
        let (theirs, ours) = (bars.cores, machine.cores);
        writeln!(out, "not judged: the bars are those of a machine with {theirs} cores, this one has {ours}")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if held.iter().all(Held::passed) {
        ExitCode::SUCCESS
    } else if noise.is_loud() {
        writeln!(out, "not judged: too much else ran on this machine")?;
        ExitCode::from(NOT_JUDGED)
    } else {
        ExitCode::FAILURE
    })
}

fn open_loop(arguments: &OpenLoop) -> Result<ExitCode, Box<dyn Error>> {
    let (machine, options) = (Machine::look(), arguments.options());
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}seed {}, {} messages/s of {} bytes\n", options.seed, options.rate, options.size)?;
    let watch = Watch::begin();
    let open_loop::Outcome { rows, failures, .. } = open_loop::run(&options, tell);
    let noise = watch.end();
    writeln!(out, "{}\n{noise}", open_loop::table(&rows))?;
    for failure in &failures {
        writeln!(out, "FAILED: {failure}")?;
    }
    if let Some(path) = &arguments.json {
        let open_loop::Options { rate, size, seed, .. } = options;
        Lateness { machine, seed, noise, rate, size, failures: failures.clone(), rows }.write(path)?;
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn raft_mix(arguments: &RaftMix) -> Result<ExitCode, Box<dyn Error>> {
    let machine = Machine::look();
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}")?;
    let watch = Watch::begin();
    let result = raft_mix::run(Duration::from_secs(arguments.seconds)).map_err(|error| error.to_string())?;
    let noise = watch.end();
    writeln!(out, "{result}\n{noise}")?;
    if let Some(path) = &arguments.json {
        Mix { machine, noise, result }.write(path)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn scaling(arguments: &Scaling) -> Result<ExitCode, Box<dyn Error>> {
    let (machine, options) = (Machine::look(), arguments.options());
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}seed {}\n", options.seed)?;
    let watch = Watch::begin();
    let (rows, failures) = scaling::run(&options, tell);
    let noise = watch.end();
    writeln!(out, "{}\n{noise}", scaling::table(&rows))?;
    for failure in &failures {
        writeln!(out, "FAILED: {failure}")?;
    }
    if let Some(path) = &arguments.json {
        documents::Scaling { machine, seed: options.seed, noise, failures: failures.clone(), rows }.write(path)?;
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn mesh(arguments: &Mesh) -> Result<ExitCode, Box<dyn Error>> {
    let (machine, options) = (Machine::look(), arguments.options());
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}")?;
    let watch = Watch::begin();
    let outcome = mesh::run(&options, |line| {
        // Progress is for people; a failed write loses nothing.
        let _ = writeln!(io::stderr(), "mesh: {line}");
    });
    let noise = watch.end();
    writeln!(out, "{}\n{noise}", outcome.table())?;
    for failure in &outcome.failures {
        writeln!(out, "FAILED: {failure}")?;
    }
    let is_good = outcome.failures.is_empty();
    if let Some(path) = &arguments.json {
        documents::Mesh { machine, command: command(), noise, options, outcome }.write(path)?;
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(arguments: &Report) -> Result<ExitCode, Box<dyn Error>> {
    let folder = arguments.reports.join(&arguments.release);
    match &arguments.from {
        Some(from) => report::adopt(from, &folder)?,
        None => report::measure(&arguments.options(command()), &folder, tell)?,
    }
    report::render(&arguments.reports, &arguments.release)?;
    writeln!(io::stdout(), "wrote {}", folder.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the command line of this run in a form that works on any machine.
fn command() -> String {
    let features: Vec<&str> = [("peers", cfg!(feature = "peers")), ("raft", cfg!(feature = "raft"))]
        .into_iter()
        .filter_map(|(name, is_on)| is_on.then_some(name))
        .collect();
    let features = if features.is_empty() { String::new() } else { format!(" --features {}", features.join(",")) };
    let arguments: Vec<String> = env::args().skip(1).collect();
    format!("cargo run --release -p cluster-bench{features} -- {}", arguments.join(" "))
}

/// Writes a line of progress to standard error. Progress is for people; a failed write loses nothing.
fn tell(what: &str) {
    let _ = writeln!(io::stderr(), "measuring {what}");
}

/// Exit code of a run that missed bars on a machine too busy to judge. `ci/ratios` then tries again.
const NOT_JUDGED: u8 = 75;
