//! Probe for the best way of receiving, waiting and sending in a driver over io_uring.
//!
//! The probe uses no protocol: bare rings over loopback TCP, in every combination of the three choices in `Plan`,
//! against equal traffic over blocking sockets in the same run. The engine's driver was designed by its table; the
//! probe is to be run again before that design is changed.

mod endpoint;
mod one_way;
mod plan;
mod provided;
mod registered;
mod round_trip;

use std::fmt::{self, Display};
use std::io;
use std::time::Duration;

use crate::statistics::Spread;
use crate::table::Table;
use plan::{Plan, Send, Wait};

/// Number of rounds and time for each plan.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Rounds; within each, all plans run once, in random order.
    pub rounds: usize,
    /// Time for one plan within one round.
    pub budget: Duration,
    /// Keeps both ends on the first core. Only parked plans are measured then; the result is the cost of the system
    /// calls without that of waking another core.
    pub one_core: bool,
}

/// Result of the probe: a table for each of the two kinds of traffic.
#[derive(Debug)]
pub struct Report {
    round_trips: Table,
    streams: Table,
}

/// Measures every plan and the floor of blocking sockets.
///
/// Fails if the kernel refuses a ring or an operation. Bundles need Linux 6.10, incremental buffers 6.12.
pub fn run(options: Options) -> io::Result<Report> {
    if options.one_core {
        stay_on_first_core()?;
    }
    Ok(Report { round_trips: round_trips(options)?, streams: streams(options)? })
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Round trip, {} bytes\n\n{}", round_trip::MESSAGE_BYTES, self.round_trips)?;
        writeln!(f, "One way, {} KiB writes\n\n{}", one_way::WRITE_BYTES >> 10, self.streams)
    }
}

/// Measured plan; `None` is the floor of blocking sockets.
type Subject = Option<Plan>;

fn round_trips(options: Options) -> io::Result<Table> {
    let plans = plans(options);
    let results = rounds(plans, options, |plan| round_trip::measure(plan, options.budget))?;
    let floor = results[0].1.median();
    let mut table = Table::new(["plan", "p50 µs", "min..max", "/ blocking"]);
    for (subject, micros) in ordered(results, |spread| spread.median()) {
        table.row([
            name(subject),
            format!("{:.2}", micros.median()),
            format!("{:.2}..{:.2}", micros.min(), micros.max()),
            format!("{:.2}", micros.median() / floor),
        ]);
    }
    Ok(table)
}

fn streams(options: Options) -> io::Result<Table> {
    // Without a completion, a stream does not learn when its buffer is free again.
    let plans = plans(options).filter(|plan| plan.send != Send::SkipSuccess);
    let results = rounds(plans, options, |plan| one_way::measure(plan, options.budget))?;
    let floor = results[0].1.median();
    let mut table = Table::new(["plan", "GB/s", "min..max", "/ blocking"]);
    for (subject, gigabytes) in ordered(results, |spread| -spread.median()) {
        table.row([
            name(subject),
            format!("{:.2}", gigabytes.median()),
            format!("{:.2}..{:.2}", gigabytes.min(), gigabytes.max()),
            format!("{:.2}", gigabytes.median() / floor),
        ]);
    }
    Ok(table)
}

fn plans(options: Options) -> impl Iterator<Item = Plan> {
    Plan::all().into_iter().filter(move |plan| plan.wait == Wait::Parked || !options.one_core)
}

/// Runs the floor and all plans in random order, once in each round. The floor is the first of the results.
fn rounds(
    plans: impl Iterator<Item = Plan>,
    options: Options,
    mut measure: impl FnMut(Subject) -> io::Result<f64>,
) -> io::Result<Vec<(Subject, Spread)>> {
    let subjects: Vec<Subject> = std::iter::once(None).chain(plans.map(Some)).collect();
    let mut samples = vec![Vec::new(); subjects.len()];
    for _ in 0..options.rounds {
        let mut order: Vec<usize> = (0..subjects.len()).collect();
        fastrand::shuffle(&mut order);
        for index in order {
            samples[index].push(measure(subjects[index])?);
        }
    }
    Ok(subjects.into_iter().zip(samples.into_iter().map(Spread::of)).collect())
}

/// Sorts the results, the best first.
fn ordered(mut results: Vec<(Subject, Spread)>, key: impl Fn(&Spread) -> f64) -> Vec<(Subject, Spread)> {
    results.sort_by(|left, right| key(&left.1).total_cmp(&key(&right.1)));
    results
}

fn name(subject: Subject) -> String {
    subject.map_or_else(|| "blocking sockets (floor)".to_owned(), |plan| plan.to_string())
}

/// Binds the calling thread, and every thread that it starts later, to core 0.
fn stay_on_first_core() -> io::Result<()> {
    // SAFETY: a zeroed set is an empty one, and core 0 is within its bounds.
    let bound = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    };
    if bound == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
