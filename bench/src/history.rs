//! One line of JSON for each run, appended to a file: what the ratios were, and when, for people who look for a trend.

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
    /// Where and when.
    #[serde(flatten)]
    pub machine: &'a Machine,
    /// The seed of the order.
    pub seed: u64,
    /// How many rounds.
    pub rounds: usize,
    /// What else ran.
    pub noise: Noise,
    /// What came out.
    pub ratios: Vec<Measured<'a>>,
}

/// One ratio of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Measured<'a> {
    /// The case.
    pub case: Case,
    /// Bytes in a payload.
    pub size: usize,
    /// Whose.
    pub contender: &'a str,
    /// To whose.
    pub against: &'a str,
    /// With its interval.
    #[serde(flatten)]
    pub ratio: Ratio,
}

/// Appends `entry` to the file at `path`, which is made if it is not there.
pub fn append(path: &Path, entry: &Entry<'_>) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    File::options().create(true).append(true).open(path)?.write_all(&line)
}
