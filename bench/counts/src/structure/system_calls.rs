//! System calls of a workload, counted by strace.
//!
//! The calls before and after a workload do not depend on the number of messages. The workload is run with two numbers
//! of messages, and the difference leaves those calls out.
//!
//! A loop that waits also has timers, and the slower the machine is, the more of them expire. Messages of such a
//! workload are counted in turns of a few, and the median is that of turns without a timer.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::workloads::{Pair, Workload};

/// System calls by name.
pub type Calls = BTreeMap<String, u64>;

/// Returns the system calls per message, by name: those of 3 × `messages` messages less those of `messages`.
pub fn count(workload: Workload, messages: u64) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let (few, many) = (summarize(workload, messages)?, summarize(workload, 3 * messages)?);
    let each = |(name, &calls): (&String, &u64)| {
        let more = calls as f64 - few.get(name).copied().unwrap_or(0) as f64;
        (name.clone(), more / (2 * messages) as f64)
    };
    Ok(many.iter().map(each).filter(|(_, calls)| *calls != 0.0).collect())
}

/// Returns the system calls per message in the median turn, by name: a turn without a timer.
pub fn count_in_turns(workload: Workload, messages: u64) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let text = trace(workload, messages, &["--quiet=all"], &["--turns", &TURN.to_string()])?;
    let turns = turns(&text);
    if turns.len() as u64 != messages / TURN {
        return Err(format!("strace has seen {} turns, not {}", turns.len(), messages / TURN).into());
    }
    let names: BTreeSet<&str> = turns.iter().flat_map(BTreeMap::keys).copied().collect();
    let median = |name: &str| {
        let mut calls: Vec<u64> = turns.iter().map(|turn| turn.get(name).copied().unwrap_or(0)).collect();
        calls.sort_unstable();
        calls[calls.len() / 2] as f64
    };
    Ok(names.into_iter().map(|name| (name.to_owned(), median(name) / TURN as f64)).collect())
}

/// Messages in a turn: so few that mostly no timer expires, and so many that one more call in ten messages is seen.
const TURN: u64 = 10;

/// Exchanges messages, and marks the end of each turn of `turn` messages in strace's log.
pub fn run_in_turns(pair: &mut Pair, messages: u64, turn: u64) -> Result<(), Box<dyn Error>> {
    for _ in 0..messages / turn {
        pair.run(turn)?;
        // The engine never makes this system call.
        env::current_dir()?;
    }
    Ok(())
}

const MARK: &str = "getcwd";

/// Returns the calls of each turn by name, from a log with a line for each call.
fn turns(log: &str) -> Vec<BTreeMap<&str, u64>> {
    let (mut turns, mut turn) = (Vec::new(), BTreeMap::new());
    // The id of a thread may precede the name.
    let names = log.lines().filter_map(|line| {
        let (name, _) = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').split_once('(')?;
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some(name)
    });
    for name in names {
        match name {
            MARK => turns.push(std::mem::take(&mut turn)),
            _ => *turn.entry(name).or_insert(0) += 1,
        }
    }
    turns
}

fn summarize(workload: Workload, messages: u64) -> Result<Calls, Box<dyn Error>> {
    let calls = parse(&trace(workload, messages, &["--summary-only"], &[])?);
    if calls.is_empty() { Err("strace has counted nothing".into()) } else { Ok(calls) }
}

/// Returns strace's log, run with `options`, of the workload, run with the arguments `more`.
fn trace(workload: Workload, messages: u64, options: &[&str], more: &[&str]) -> Result<String, Box<dyn Error>> {
    let log = env::temp_dir().join(format!("cluster-system-calls-{}", std::process::id()));
    let status = Command::new("strace")
        .args(options)
        .args(["--follow-forks", "--output"])
        .arg(&log)
        .arg(env::current_exe()?)
        .args(["workload", workload.name(), "--messages", &messages.to_string()])
        .args(more)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("strace counts the system calls, and does not run: {error}; see `ci/counts`"))?;
    let text = read_and_remove(&log)?;
    if !status.success() {
        return Err(format!("{workload:?} under strace: {status}").into());
    }
    Ok(text)
}

fn read_and_remove(path: &Path) -> Result<String, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    fs::remove_file(path)?;
    Ok(text)
}

/// Parses strace's summary. Its rows have: share of the time, seconds, µs per call, calls, errors or nothing, name.
fn parse(table: &str) -> Calls {
    let rows = table.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let (name, calls) = (cells.last()?, cells.get(3)?.parse().ok()?);
        (*name != "total").then(|| ((*name).to_owned(), calls))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_cut_into_turns() {
        let log = "71 recvfrom(5, \"\", 9, MSG_DONTWAIT, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)
71 getcwd(\"/\", 512) = 2
71 io_uring_enter(4, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) = 1
71 --- SIGCHLD {si_signo=SIGCHLD} ---
io_uring_enter(4, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) = 0
71 sendto(5, \"getcwd(\", 7, 0, NULL, 0) = 7
71 getcwd(\"/\", 512) = 2
71 exit_group(0) = ?
";
        let expected = [BTreeMap::from([("recvfrom", 1)]), BTreeMap::from([("io_uring_enter", 2), ("sendto", 1)])];
        assert_eq!(turns(log), expected);
    }

    #[test]
    fn a_summary_is_a_table() {
        let table = "% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 75.00    0.000030           1        12           io_uring_enter
 25.00    0.000010           1        10         3 sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.000040           1        22         3 total
";
        assert_eq!(parse(table), Calls::from([("io_uring_enter".to_owned(), 12), ("sendto".to_owned(), 10)]));
    }
}
