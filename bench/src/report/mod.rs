//! Report of a release: measured in one run, kept as raw figures, and drawn from those.
//!
//! Drawings follow from the files alone, so that a better chart can be made of an old measurement.

mod bars;
mod curves;
mod growth;
mod index;
mod multiples;
mod page;
mod releases;
mod scale;
mod svg;
mod throughput;
mod trend;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::documents::{Comparison, Document, Lateness, Mix, Scaling};
use crate::machine::Machine;
use crate::noise::Watch;
use crate::runner::Place;
use crate::{compare, histograms, open_loop, raft_mix, scaling};

/// Options of the measurements.
#[derive(Debug, Clone)]
pub struct Options {
    /// Command line of this run, for the report.
    pub command: String,
    /// Options of the comparison of all contenders.
    pub comparison: compare::Options,
    /// Options of the open-loop run, in which contenders send at a fixed rate.
    pub lateness: open_loop::Options,
    /// Options of the scaling run.
    pub scaling: scaling::Options,
    /// Time for which heartbeats are sent, once alone and once beside appends and snapshots.
    pub heartbeats: Duration,
}

/// Raw figures of a report.
#[derive(Debug, Clone)]
struct Raw {
    comparison: Comparison,
    lateness: Lateness,
    mix: Option<Mix>,
    scaling: Option<Scaling>,
    /// True if the folder has a file of histograms, which is kept for other tools.
    has_histograms: bool,
}

/// Measures, and writes each set of raw figures into `folder` as soon as it is complete.
pub fn measure(options: &Options, folder: &Path, mut progress: impl FnMut(&str)) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let (machine, watch) = (Machine::look(), Watch::begin());
    let compare::Outcome { rows, failures, mut histograms } = compare::run(&options.comparison, &mut progress);
    let (command, seed, rounds) = (options.command.clone(), options.comparison.seed, options.comparison.rounds);
    let processes = options.comparison.place == Place::Processes;
    Comparison { machine, command, seed, rounds, processes, noise: watch.end(), failures, rows }
        .write(&folder.join(COMPARISON))?;

    progress("heartbeats beside appends and snapshots");
    let (machine, watch) = (Machine::look(), Watch::begin());
    match raft_mix::run(options.heartbeats) {
        Ok(result) => Mix { machine, noise: watch.end(), result }.write(&folder.join(MIX))?,
        Err(error) => {
            progress(&format!("heartbeats FAILED: {error}"));
            // Figures of an earlier run do not belong to this one.
            let _ = fs::remove_file(folder.join(MIX));
        }
    }

    progress("scaling");
    let (machine, watch) = (Machine::look(), Watch::begin());
    let (rows, failures) = scaling::run(&options.scaling, &mut progress);
    let seed = options.scaling.seed;
    Scaling { machine, seed, noise: watch.end(), failures, rows }.write(&folder.join(SCALING))?;

    // The open-loop run is the last: a contender that hangs in it would disturb any later measurement.
    let (machine, watch) = (Machine::look(), Watch::begin());
    let open_loop::Outcome { rows, failures, histograms: late } = open_loop::run(&options.lateness, &mut progress);
    histograms.extend(late);
    histograms::write(&folder.join(HISTOGRAMS), &histograms)?;
    let open_loop::Options { rate, size, seed, .. } = options.lateness;
    Lateness { machine, seed, noise: watch.end(), rate, size, failures, rows }.write(&folder.join(LATENESS))
}

/// Copies the raw figures of the report in `from` into `folder`. If both are one folder, does nothing.
pub fn adopt(from: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    if from.canonicalize()? == folder.canonicalize()? {
        return Ok(());
    }
    for name in [COMPARISON, LATENESS, MIX, SCALING, HISTOGRAMS] {
        let path = from.join(name);
        if [COMPARISON, LATENESS].contains(&name) || path.exists() {
            fs::copy(&path, folder.join(name)).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

/// Draws the report of `release` from the raw figures in its folder below `reports`, and renews the index of all
/// releases.
pub fn render(reports: &Path, release: &str) -> Result<(), Box<dyn Error>> {
    let folder = reports.join(release);
    let raw = Raw::read(&folder)?;
    let rows = &raw.comparison.rows;
    let page = folder.join(PAGE);
    let earlier = fs::read_to_string(&page).unwrap_or_default();
    for (name, text) in [
        (CURVES, curves::draw(&raw.lateness)),
        (GROWTH, growth::draw(raw.scaling.as_ref().map_or(&[], |scaling| &scaling.rows))),
        (BARS, bars::draw(rows, 64)),
        (THROUGHPUT, throughput::draw_sizes(rows)),
        (PATTERNS, throughput::draw_patterns(rows)),
        (MULTIPLES, multiples::draw(rows)),
        (PAGE, page::write(release, &raw, page::notes(&earlier))),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    index::renew(reports)
}

impl Raw {
    fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let (mix, scaling) = (folder.join(MIX), folder.join(SCALING));
        Ok(Self {
            comparison: Comparison::read(&folder.join(COMPARISON))?,
            lateness: Lateness::read(&folder.join(LATENESS))?,
            mix: if mix.exists() { Some(Mix::read(&mix)?) } else { None },
            scaling: if scaling.exists() { Some(Scaling::read(&scaling)?) } else { None },
            has_histograms: folder.join(HISTOGRAMS).exists(),
        })
    }
}

const PAGE: &str = "README.md";
const COMPARISON: &str = "compare.json";
const LATENESS: &str = "open-loop.json";
const MIX: &str = "raft-mix.json";
const SCALING: &str = "scaling.json";
const HISTOGRAMS: &str = "histograms.hlog";
const GROWTH: &str = "scaling.svg";
const CURVES: &str = "open-loop.svg";
const BARS: &str = "round-trip.svg";
const THROUGHPUT: &str = "one-way.svg";
const PATTERNS: &str = "patterns.svg";
const MULTIPLES: &str = "ratios.svg";
const TREND: &str = "releases.svg";

#[cfg(test)]
mod tests;
