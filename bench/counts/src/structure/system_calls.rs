//! System calls of a workload, by strace.
//!
//! What a process does before and after its workload is the same for any number of messages, so it is left out by
//! running twice, and what is left is the difference.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::workloads::Workload;

/// System calls by name.
pub type Calls = BTreeMap<String, u64>;

/// What `messages` messages cost beyond the first so many, by name of the call.
pub fn count(workload: Workload, messages: u64) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let (few, many) = (trace(workload, messages)?, trace(workload, 3 * messages)?);
    let each = |(name, &calls): (&String, &u64)| {
        let more = calls as f64 - few.get(name).copied().unwrap_or(0) as f64;
        (name.clone(), more / (2 * messages) as f64)
    };
    Ok(many.iter().map(each).filter(|(_, calls)| *calls != 0.0).collect())
}

fn trace(workload: Workload, messages: u64) -> Result<Calls, Box<dyn Error>> {
    let summary = env::temp_dir().join(format!("cluster-system-calls-{}", std::process::id()));
    let status = Command::new("strace")
        .args(["--follow-forks", "--summary-only", "--output"])
        .arg(&summary)
        .arg(env::current_exe()?)
        .args(["workload", workload.name(), "--messages", &messages.to_string()])
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("strace counts the system calls, and does not run: {error}; see `ci/counts`"))?;
    let text = read_and_remove(&summary)?;
    if !status.success() {
        return Err(format!("{workload:?} under strace: {status}").into());
    }
    let calls = parse(&text);
    if calls.is_empty() { Err("strace has counted nothing".into()) } else { Ok(calls) }
}

fn read_and_remove(path: &Path) -> Result<String, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    fs::remove_file(path)?;
    Ok(text)
}

/// The table has a row for each call: share of the time, seconds, µs for each, calls, errors or nothing, name.
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
