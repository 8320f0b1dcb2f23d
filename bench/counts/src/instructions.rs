//! Runs the benchmarks of `benches/pure` under valgrind, and collects the instructions of each of them, and those of
//! whole messages.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::baseline::{Baseline, PROCESSOR, version};
use crate::valgrind;
use crate::workloads::Workload;

/// Counts the instructions of every benchmark.
pub fn count() -> Result<Baseline, Box<dyn Error>> {
    let valgrind = version("valgrind")
        .map_err(|error| format!("valgrind counts the instructions, and does not run: {error}; see `ci/counts`"))?;
    // Counted first: the benchmarks rebuild this program.
    let whole = messages()?;
    let results = env::temp_dir().join(format!("cluster-instructions-{}", std::process::id()));
    let ran = run(&results);
    let counts = ran.and_then(|()| collect(&results));
    fs::remove_dir_all(&results).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    let mut counts = counts?;
    if counts.is_empty() {
        return Err("not one benchmark was run".into());
    }
    counts.extend(whole);
    Ok(Baseline {
        unit: "instructions".to_owned(),
        allowed_percent: 1.0,
        allowed_beside: 0.0,
        taken_with: BTreeMap::from([
            ("rustc".to_owned(), version("rustc")?),
            ("valgrind".to_owned(), valgrind),
            (PROCESSOR.to_owned(), processor(&fs::read_to_string("/proc/cpuinfo")?)),
        ]),
        counts,
    })
}

fn messages() -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let of = |workload: Workload| -> Result<_, Box<dyn Error>> {
        Ok((
            format!("messages: {}, 1000 of 64", workload.name().replace('-', " ")),
            valgrind::instructions(workload)?.round(),
        ))
    };
    [Workload::BatchInPlace, Workload::BatchOwned].into_iter().map(of).collect()
}

fn run(results: &Path) -> Result<(), Box<dyn Error>> {
    // The output is a table for people, and goes to standard error; the summaries are read from files.
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
        .args(["bench", "--quiet", "--package", env!("CARGO_PKG_NAME"), "--bench", "pure"])
        .args(["--", "--save-summary=json", "--nosummary"])
        .env("GUNGRAUN_HOME", results)
        .stdout(io::stderr())
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("the benchmarks under valgrind: {status}").into()) }
}

/// Fields of a benchmark's summary that are used.
#[derive(Deserialize)]
struct Summary {
    group: String,
    function_name: String,
    id: String,
    profiles: Vec<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    tool: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    total: Total,
}

#[derive(Deserialize)]
struct Total {
    metrics: BTreeMap<String, Metric>,
}

#[derive(Deserialize)]
struct Metric {
    values: Values,
}

#[derive(Deserialize)]
struct Values {
    new: f64,
}

fn collect(folder: &Path) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let mut counts = BTreeMap::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "summary.json") {
                let (name, instructions) = read(&fs::read_to_string(&path)?)?;
                counts.insert(name, instructions);
            }
        }
    }
    Ok(counts)
}

fn read(summary: &str) -> Result<(String, f64), Box<dyn Error>> {
    let summary: Summary = serde_json::from_str(summary)?;
    let name = format!("{}: {}, {}", summary.group, summary.function_name, summary.id).replace('_', " ");
    let profile = summary.profiles.iter().find(|profile| profile.tool == "Callgrind");
    let metric = profile.and_then(|profile| profile.data.total.metrics.get("Ir"));
    let metric = metric.ok_or_else(|| format!("{name}: the summary has no count of instructions"))?;
    Ok((name, metric.values.new))
}

/// Returns the kind of this machine's processor.
fn processor(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| key.trim() == name).map_or("unknown", |(_, value)| value.trim())
    };
    format!("{} family {} model {}", field("vendor_id"), field("cpu family"), field("model"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_known_by_its_numbers() {
        let cpuinfo = "processor\t: 0\nvendor_id\t: Maker\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: A Fast One\n";
        assert_eq!(processor(cpuinfo), "Maker family 25 model 17");
        assert_eq!(processor(""), "unknown family unknown model unknown");
    }

    #[test]
    fn instructions_are_read_from_a_summary() {
        let summary = r#"{"group": "records", "function_name": "push", "id": "of_80", "profiles": [
            {"tool": "Callgrind", "data": {"total": {"metrics": {"Ir": {"values": {"new": 49137}}}}}}]}"#;
        assert_eq!(read(summary).unwrap(), ("records: push, of 80".to_owned(), 49137.0));
        assert!(read(&summary.replace("\"Ir\"", "\"Dr\"")).is_err());
    }
}
