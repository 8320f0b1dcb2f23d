//! Index of all releases, in the page that lists the reports: a table between two marks, and a chart.

use std::error::Error;
use std::fs;
use std::path::Path;

use super::releases::{Release, find};
use super::{PAGE, TREND, trend};
use crate::compare::{BARS, Verdict};

/// Rewrites table and chart from the raw figures of all releases below `reports`. Text outside the marks is kept.
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
