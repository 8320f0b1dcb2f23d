//! Figures of the scenarios.

use std::fmt;
use std::path::Path;

use cluster::Pid;

use crate::checker::{Facts, Promise, Report};
use crate::clock::{MILLISECOND, SECOND};
use crate::failure::Failure;
use crate::log::{Kind, read};
use crate::node::{histogram, log_path};
use crate::plan::{self, Injected};

/// Figure of a scenario.
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub must: Option<Must>,
}

/// Bound of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Must {
    Most(f64),
    Least(f64),
}

impl Figure {
    /// Returns whether the figure meets its bound.
    pub fn is_kept(&self) -> bool {
        match self.must {
            Some(Must::Most(most)) => self.value <= most,
            Some(Must::Least(least)) => self.value >= least,
            None => true,
        }
    }
}

impl fmt::Display for Must {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Must::Most(most) => write!(f, "<= {most}"),
            Must::Least(least) => write!(f, ">= {least}"),
        }
    }
}

/// Returns figures of resets: no message is lost, duplicated, or out of order.
pub fn resets(report: &Report) -> Vec<Figure> {
    vec![
        figure("messages accepted", report.accepted as f64, None),
        figure("connections lost, seen from either end", report.measured.down_events as f64, None),
        figure("lost", broken(report, Promise::NoLoss), Some(Must::Most(0.0))),
        figure("duplicated", broken(report, Promise::NoDuplicate), Some(Must::Most(0.0))),
        figure("out of order", broken(report, Promise::Order), Some(Must::Most(0.0))),
    ]
}

/// Returns figures of kills: all messages are accounted for, and traffic resumes.
pub fn kills(report: &Report) -> Vec<Figure> {
    let account = &report.account;
    let accounted = account.total();
    let resumes = &report.measured.resumes;
    vec![
        figure("restarts", report.injected.values().sum::<u64>() as f64, None),
        figure("messages accepted", report.accepted as f64, None),
        figure("messages not accounted for", report.accepted.saturating_sub(accounted) as f64, Some(Must::Most(0.0))),
        figure("restarts times peers times directions judged", resumes.len() as f64, None),
        figure("traffic resumed, most, ms", milliseconds(resumes.iter().max()), Some(Must::Most(1000.0))),
    ]
}

/// Returns figures of cuts: both ends notice.
pub fn cuts(report: &Report) -> Vec<Figure> {
    let downs = report.measured.downs.get(&plan::Kind::LinkDown);
    vec![
        figure("ends of connections that noticed", downs.map_or(0, Vec::len) as f64, None),
        figure("noticed, most, ms", milliseconds(downs.and_then(|downs| downs.iter().max())), Some(Must::Most(1500.0))),
    ]
}

/// Returns figures of replays: they have no effect, and until the first kill no server takes another to be gone.
pub fn replays(facts: &Facts, report: &Report) -> Vec<Figure> {
    let kills = facts.journal.faults.iter().filter(|fault| fault.kind == plan::Kind::Kill);
    let first = kills.map(|kill| kill.begin).min().unwrap_or(facts.journal.quiet_at);
    let events = facts.runs.iter().flat_map(|run| &run.events);
    let downs = events.filter(|event| event.kind == Kind::Down && event.time < first).count();
    let mut figures = vec![figure("Down events before the first kill", downs as f64, Some(Must::Most(0.0)))];
    figures.extend(resets(report));
    figures
}

/// Returns figures of lies: they cost connections, and the messages lost with them are counted.
pub fn lies(report: &Report) -> Vec<Figure> {
    let told: u64 = report.lies.values().sum();
    let mut figures = vec![
        figure("lies told", told as f64, Some(Must::Least(1.0))),
        figure("kinds of lies", report.lies.len() as f64, None),
        figure("lies believed", broken(report, Promise::LiesNoticed), Some(Must::Most(0.0))),
        figure("pairs that began anew, seen from either end", report.resets as f64, None),
        figure("messages behind broken frames", report.account.behind_lies as f64, None),
    ];
    figures.extend(resets(report));
    figures
}

/// Returns figures of freezes: no server takes another to be gone.
pub fn freezes(report: &Report) -> Vec<Figure> {
    vec![figure("Down events", report.measured.down_events as f64, Some(Must::Most(0.0)))]
}

/// Returns figures of stops: the others notice, and go on as before. Several stops are summed up by their medians.
pub fn stop(facts: &Facts, report: &Report, folder: &Path) -> Result<Vec<Figure>, Failure> {
    let downs = report.measured.downs.get(&plan::Kind::Stop);
    let mut compared = Vec::new();
    for fault in &facts.journal.faults {
        let (before, during) = windows(fault);
        compared.push((latency(facts, folder, fault.pid, before)?, latency(facts, folder, fault.pid, during)?));
    }
    let ratios = || compared.iter().map(|(before, during)| during / before);
    Ok(vec![
        figure("stops", compared.len() as f64, None),
        figure("peers that noticed", downs.map_or(0, Vec::len) as f64, None),
        figure("noticed, most, ms", milliseconds(downs.and_then(|downs| downs.iter().max())), Some(Must::Most(1500.0))),
        figure("p99 among the others before, us", median(compared.iter().map(|(before, _)| before / 1000.0)), None),
        figure("p99 among the others during, us", median(compared.iter().map(|(_, during)| during / 1000.0)), None),
        figure("p99 during to before, least", ratios().fold(f64::NAN, f64::min), None),
        figure("p99 during to before", median(ratios()), Some(Must::Most(1.1))),
        figure("p99 during to before, most", ratios().fold(f64::NAN, f64::max), None),
    ])
}

/// Returns figures of a slow consumer: the others' throughput stays, the senders are told, and memory is bounded.
pub fn slow(facts: &Facts, report: &Report) -> Vec<Figure> {
    let Some(fault) = facts.journal.faults.first() else { return Vec::new() };
    let (before, during) = windows(fault);
    let (before, during) = (throughput(facts, fault.pid, before), throughput(facts, fault.pid, during));
    vec![
        figure("messages/s among the others before", before, None),
        figure("messages/s among the others during", during, None),
        figure("throughput during to before", during / before, Some(Must::Least(0.95))),
        figure("messages given back as Full", report.full as f64, Some(Must::Least(1.0))),
        figure(
            "memory, most of a server, MiB",
            (report.most_memory >> 20) as f64,
            Some(Must::Most((report.memory_limit >> 20) as f64)),
        ),
    ]
}

/// Returns two windows of time: one as long as the fault before it, and one while it lasts; both without the moments of
/// change.
fn windows(fault: &Injected) -> ((u64, u64), (u64, u64)) {
    let length = fault.end - fault.begin;
    ((fault.begin - length + SECOND, fault.begin), (fault.begin + 2 * SECOND, fault.end))
}

/// Returns the 99th percentile of the latencies between the others, in nanoseconds.
fn latency(facts: &Facts, folder: &Path, without: Pid, (from, to): (u64, u64)) -> Result<f64, Failure> {
    let mut latencies = histogram();
    for run in facts.runs.iter().map(|run| &run.run).filter(|run| run.pid != without) {
        read(&log_path(folder, run.pid, run.run, "received"), |record| {
            // An entry is about the second before it.
            let within = from + SECOND <= record.time && record.time < to;
            if record.kind == Kind::Latency && record.peer != without && within {
                latencies.saturating_record_n(record.first, record.second);
            }
        })?;
    }
    Ok(latencies.value_at_quantile(0.99) as f64)
}

/// Returns the messages per second between the others.
fn throughput(facts: &Facts, without: Pid, (from, to): (u64, u64)) -> f64 {
    let (first, end) = (from.div_ceil(SECOND), to / SECOND);
    let mut count = 0;
    for run in facts.runs.iter().filter(|run| run.run.pid != without) {
        let seconds =
            run.per_second.iter().filter(|((peer, second), _)| *peer != without && (first..end).contains(second));
        count += seconds.map(|(_, count)| count).sum::<u64>();
    }
    count as f64 / end.saturating_sub(first).max(1) as f64
}

fn broken(report: &Report, promise: Promise) -> f64 {
    report.by_promise().get(&promise).copied().unwrap_or_default() as f64
}

/// Returns the median; of an even count, the upper one of the two in the middle.
fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn figure(name: &'static str, value: f64, must: Option<Must>) -> Figure {
    Figure { name, value, must }
}

fn milliseconds(nanoseconds: Option<&u64>) -> f64 {
    nanoseconds.map_or(f64::NAN, |nanoseconds| *nanoseconds as f64 / MILLISECOND as f64)
}
