//! One line of JSON for each run, appended to a file: its ratios and its time, for people who look for a trend.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::case::Case;
use crate::machine::Machine;
use crate::noise::Noise;
use crate::statistics::Ratio;

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Entry<'a> {
    /// Machine and time of the run.
    #[serde(flatten)]
    pub machine: &'a Machine,
    /// Seed of the order of contenders.
    pub seed: u64,
    /// Number of rounds.
    pub rounds: usize,
    /// Load of the machine by other processes.
    pub noise: Noise,
    /// Measured ratios.
    pub ratios: Vec<Measured<'a>>,
}

/// One ratio of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Measured<'a> {
    /// Measured case.
    pub case: Case,
    /// Bytes in a payload.
    pub size: usize,
    /// Contender in the numerator.
    pub contender: &'a str,
    /// Contender in the denominator.
    pub against: &'a str,
    /// Ratio with its confidence interval.
    #[serde(flatten)]
    pub ratio: Ratio,
}

/// Appends `entry` to the file at `path`, and creates the file if it does not exist.
pub fn append(path: &Path, entry: &Entry<'_>) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    File::options().create(true).append(true).open(path)?.write_all(&line)
}
