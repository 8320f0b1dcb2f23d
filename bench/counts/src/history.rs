//! One line of JSON for each run, appended to a file, for people who look for a trend. `ratios` writes to the same
//! file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::baseline::Baseline;

/// One run.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// Date of the run, in UTC.
    date: Option<String>,
    /// Counted commit.
    commit: Option<String>,
    /// Unit of the counts.
    unit: &'a str,
    /// Versions that the counts were taken with.
    taken_with: &'a BTreeMap<String, String>,
    /// True if the comparison with the baseline passed.
    passed: bool,
    /// Counts by name.
    counts: &'a BTreeMap<String, f64>,
}

impl<'a> Entry<'a> {
    /// Returns the entry for the counts of this run.
    pub fn of(counted: &'a Baseline, passed: bool) -> Self {
        let Baseline { unit, taken_with, counts, .. } = counted;
        let date = said("date", &["--utc", "+%FT%TZ"]);
        Self { date, commit: said("git", &["rev-parse", "--short=12", "HEAD"]), unit, taken_with, passed, counts }
    }
}

/// Appends `entry` to the file at `path`, and creates the file if it does not exist.
pub fn append(path: &Path, entry: &Entry<'_>) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    File::options().create(true).append(true).open(path)?.write_all(&line)
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_run_is_a_line() {
        let counted = Baseline {
            unit: "instructions".to_owned(),
            allowed_percent: 1.0,
            allowed_beside: 0.0,
            taken_with: BTreeMap::new(),
            counts: BTreeMap::from([("encode".to_owned(), 1000.0)]),
        };
        let path = std::env::temp_dir().join(format!("cluster-history-{}", std::process::id()));
        for passed in [true, false] {
            append(&path, &Entry::of(&counted, passed)).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["counts"]["encode"], &lines[1]["passed"]), (&1000.0.into(), &false.into()));
    }
}
