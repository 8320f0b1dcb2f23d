//! All releases, in the page that lists the reports: a table between two marks, and a chart.

use std::error::Error;
use std::fs;
use std::path::Path;

use super::{COMPARISON, PAGE, TREND, trend};
use crate::compare::{BARS, Verdict};
use crate::documents::{Comparison, Document};

/// One release, with what was measured of it.
pub(super) struct Release {
    /// Its version.
    pub(super) name: String,
    /// What was measured.
    pub(super) comparison: Comparison,
}

/// Writes table and chart anew from the raw figures of all releases below `reports`. What is beside the marks stays.
pub(super) fn renew(reports: &Path) -> Result<(), Box<dyn Error>> {
    let releases = find(reports)?;
    let path = reports.join(PAGE);
    let page = fs::read_to_string(&path).unwrap_or_else(|_| format!("# Performance reports\n\n{BEGIN}\n{END}\n"));
    let (before, rest) = page.split_once(BEGIN).ok_or_else(|| missing(&path, BEGIN))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| missing(&path, END))?;
    fs::write(reports.join(TREND), trend::draw(&releases))?;
    fs::write(&path, format!("{before}{BEGIN}\n{}\n{END}{after}", table(&releases)))?;
    Ok(())
}

/// The folders whose names are versions, the oldest first. Other folders hold what came before the releases.
fn find(reports: &Path) -> Result<Vec<Release>, Box<dyn Error>> {
    let mut releases = Vec::new();
    for entry in fs::read_dir(reports).map_err(|error| format!("{}: {error}", reports.display()))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if version(&name).is_some() {
            releases.push(Release { name, comparison: Comparison::read(&entry.path().join(COMPARISON))? });
        }
    }
    releases.sort_by(|left, right| version(&left.name).cmp(&version(&right.name)));
    Ok(releases)
}

/// The numbers of a version; whether it is a release, and what it is called if it is not.
fn version(name: &str) -> Option<([u64; 3], bool, &str)> {
    let (numbers, candidate) = name.split_once('-').unwrap_or((name, ""));
    let numbers: Option<Vec<u64>> = numbers.split('.').map(|number| number.parse().ok()).collect();
    Some((numbers?.try_into().ok()?, candidate.is_empty(), candidate))
}

fn table(releases: &[Release]) -> String {
    let mut text = String::from("\n| release | measured | on | bars kept |");
    let key: Vec<_> = trend::key_bars().collect();
    for bar in &key {
        text += &format!(" {} / ZeroMQ, asked for {} |", bar.what, bar.bound);
    }
    text += &format!("\n| --- | --- | --- | ---: |{}\n", " ---: |".repeat(key.len()));
    for Release { name, comparison } in releases {
        let (machine, rows) = (&comparison.machine, &comparison.rows);
        let kept = BARS.iter().filter(|bar| matches!(bar.verdict(rows), Verdict::Kept(_))).count();
        let day = machine.date.split('T').next().unwrap_or_default();
        text += &format!(
            "| [{name}]({name}/{PAGE}) | {day} | {}, {} cores | {kept} of {} |",
            machine.cpu,
            machine.cores,
            BARS.len()
        );
        for bar in &key {
            text += &match bar.verdict(rows) {
                Verdict::Kept(ratio) => format!(" {ratio} |"),
                Verdict::Missed(ratio) => format!(" **missed**: {ratio} |"),
                Verdict::NotMeasured => " |".to_owned(),
            };
        }
        text.push('\n');
    }
    text + &format!("\n![Ratios to ZeroMQ over releases]({TREND})\n")
}

fn missing(path: &Path, mark: &str) -> String {
    format!("{}: the line `{mark}` is missing; add it where the releases are to be listed", path.display())
}

const BEGIN: &str = "<!-- releases: written by `cluster-bench report` -->";
const END: &str = "<!-- end of releases -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_an_order_and_other_names_none() {
        let mut names = ["0.10.0", "0.2.0", "0.2.0-rc.1", "0.1.0"];
        names.sort_by_key(|name| version(name));
        assert_eq!(names, ["0.1.0", "0.2.0-rc.1", "0.2.0", "0.10.0"]);
        assert!(["first", "0.1", "1.2.x", ""].iter().all(|name| version(name).is_none()));
    }
}
