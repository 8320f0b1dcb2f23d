//! Committed counts, and their comparison with new ones.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Key in [`Baseline::taken_with`] for the processor.
pub const PROCESSOR: &str = "processor";

/// Counts by name, and the versions that they were taken with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Unit of the counts, for people who read the file.
    pub unit: String,
    /// Allowed growth of a count in per cent. `allowed_beside` is allowed in addition, in the unit of the counts.
    pub allowed_percent: f64,
    pub allowed_beside: f64,
    /// Versions on which the counts depend, and the processor if they depend on it: libraries choose instructions by
    /// it.
    pub taken_with: BTreeMap<String, String>,
    pub counts: BTreeMap<String, f64>,
}

impl Baseline {
    /// Reads a committed baseline.
    pub fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Writes the baseline so that a diff has a line for each count.
    pub fn write(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Compares the counts `now` with this baseline, whose allowance applies.
    pub fn compare(&self, now: &Baseline) -> Comparison {
        let names = self.counts.keys().chain(now.counts.keys());
        let mut lines: Vec<Line> = names
            .map(|name| Line::of(name, self.counts.get(name).copied(), now.counts.get(name).copied(), self))
            .collect();
        lines.sort_by(|left, right| left.name.cmp(&right.name));
        lines.dedup_by(|left, right| left.name == right.name);
        let mut versions = Vec::new();
        for (tool, version) in &self.taken_with {
            let found = now.taken_with.get(tool).map_or("none", String::as_str);
            if found != version {
                versions.push(format!("the baseline was taken with {tool} {version}, this is {found}"));
            }
        }
        Comparison { unit: self.unit.clone(), lines, versions }
    }
}

/// Returns the first line of a program's `--version`.
pub fn version(program: &str) -> Result<String, Box<dyn Error>> {
    let output = Command::new(program).arg("--version").output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Result of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    unit: String,
    lines: Vec<Line>,
    /// Differences in the versions on which the counts depend. With any such difference, growth is not judged.
    versions: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Line {
    name: String,
    before: Option<f64>,
    now: Option<f64>,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    /// Less, by more than the allowed growth. A baseline that stays above would hide the same growth later.
    Fell,
    Grew,
    /// Counted now, and not in the baseline: its growth would go unnoticed.
    New,
    /// In the baseline, and no longer counted: a check has disappeared.
    Gone,
}

impl Line {
    fn of(name: &str, before: Option<f64>, now: Option<f64>, baseline: &Baseline) -> Self {
        let verdict = match (before, now) {
            (Some(before), Some(now)) => {
                let allowed = before * baseline.allowed_percent / 100.0 + baseline.allowed_beside;
                match now - before {
                    growth if growth > allowed => Verdict::Grew,
                    growth if growth < -allowed => Verdict::Fell,
                    _ => Verdict::Same,
                }
            }
            (None, _) => Verdict::New,
            (_, None) => Verdict::Gone,
        };
        Self { name: name.to_owned(), before, now, verdict }
    }
}

impl Comparison {
    /// Returns whether no count is new or gone, and none has grown. Growth is let pass if versions differ.
    pub fn passed(&self) -> bool {
        let is_fine = |verdict| match verdict {
            Verdict::Same | Verdict::Fell => true,
            Verdict::Grew => !self.versions.is_empty(),
            Verdict::New | Verdict::Gone => false,
        };
        self.lines.iter().all(|line| is_fine(line.verdict))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
        writeln!(f, "{:<width$}  {:>12}  {:>12}  {:>8}", self.unit, "baseline", "now", "")?;
        for line in &self.lines {
            let cell = |count: Option<f64>| count.map_or_else(String::new, |count| format!("{count}"));
            let change = match (line.before, line.now) {
                (Some(before), Some(now)) if before > 0.0 => format!("{:+.2} %", (now / before - 1.0) * 100.0),
                _ => String::new(),
            };
            let verdict = match line.verdict {
                Verdict::Same => "",
                Verdict::Fell => "  less; update the baseline to keep it",
                Verdict::Grew => "  GREW",
                Verdict::New => "  NOT IN THE BASELINE",
                Verdict::Gone => "  NO LONGER COUNTED",
            };
            writeln!(
                f,
                "{:<width$}  {:>12}  {:>12}  {change:>8}{verdict}",
                line.name,
                cell(line.before),
                cell(line.now)
            )?;
        }
        for version in &self.versions {
            writeln!(f, "NOT JUDGED: {version}; renew it there")?;
        }
        if !self.passed() {
            writeln!(f, "FAILED. If the change is wanted: cargo run --release -p cluster-bench-counts -- update")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(counts: &[(&str, f64)]) -> Baseline {
        Baseline {
            unit: "instructions".to_owned(),
            allowed_percent: 1.0,
            allowed_beside: 0.5,
            taken_with: BTreeMap::from([("rustc".to_owned(), "1.0".to_owned())]),
            counts: counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn growth_beyond_what_is_allowed_fails() {
        let before = baseline(&[("encode", 1000.0)]);
        assert!(before.compare(&baseline(&[("encode", 1010.5)])).passed());
        let grown = before.compare(&baseline(&[("encode", 1011.0)]));
        assert!(!grown.passed() && grown.to_string().contains("GREW"));
    }

    #[test]
    fn a_fall_passes_and_is_told() {
        let fallen = baseline(&[("encode", 1000.0)]).compare(&baseline(&[("encode", 900.0)]));
        assert!(fallen.passed() && fallen.to_string().contains("update the baseline"));
    }

    #[test]
    fn what_only_one_side_counts_fails() {
        let one = baseline(&[("encode", 1000.0)]);
        let two = baseline(&[("encode", 1000.0), ("decode", 1.0)]);
        assert!(!one.compare(&two).passed());
        assert!(!two.compare(&one).passed());
    }

    #[test]
    fn growth_with_another_compiler_or_processor_is_not_judged() {
        let on = |processor: &str, count| {
            let mut counted = baseline(&[("encode", count)]);
            counted.taken_with.insert(PROCESSOR.to_owned(), processor.to_owned());
            counted
        };
        assert!(!on("one", 1000.0).compare(&on("one", 2000.0)).passed());
        let other = on("one", 1000.0).compare(&on("two", 2000.0));
        assert!(other.passed() && other.to_string().contains("NOT JUDGED"));
    }

    #[test]
    fn another_compiler_is_named() {
        let mut now = baseline(&[]);
        now.taken_with.insert("rustc".to_owned(), "2.0".to_owned());
        assert!(baseline(&[]).compare(&now).to_string().contains("taken with rustc 1.0, this is 2.0"));
    }
}
