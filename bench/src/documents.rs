//! Raw figures as files: the results, the machine, and its load by other processes.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::compare;
use crate::machine::Machine;
use crate::noise::Noise;
use crate::{mesh, open_loop, raft_mix, scaling};

/// File of a comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// Machine and time of the run.
    pub machine: Machine,
    /// Command line of the run.
    pub command: String,
    /// Seed of the order of contenders.
    pub seed: u64,
    /// Number of rounds.
    pub rounds: usize,
    /// True if each server had a process of its own.
    #[serde(default)]
    pub processes: bool,
    /// Load of the machine by other processes.
    pub noise: Noise,
    /// Failures with their reasons.
    pub failures: Vec<String>,
    /// Results, one for each case, size and contender.
    pub rows: Vec<compare::Row>,
}

/// File of an open-loop run, with messages at a fixed rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lateness {
    /// Machine and time of the run.
    pub machine: Machine,
    /// Seed of the order of contenders.
    pub seed: u64,
    /// Load of the machine by other processes.
    pub noise: Noise,
    /// Messages per second.
    pub rate: u64,
    /// Bytes in a payload.
    pub size: usize,
    /// Failures with their reasons.
    pub failures: Vec<String>,
    /// Results, one for each contender.
    pub rows: Vec<open_loop::Row>,
}

/// File of a scaling run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scaling {
    /// Machine and time of the run.
    pub machine: Machine,
    /// Seed of the order of points.
    pub seed: u64,
    /// Load of the machine by other processes.
    pub noise: Noise,
    /// Failures with their reasons.
    pub failures: Vec<String>,
    /// Results, one for each point.
    pub rows: Vec<scaling::Row>,
}

/// File of a run of heartbeats beside appends and snapshots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mix {
    /// Machine and time of the run.
    pub machine: Machine,
    /// Load of the machine by other processes.
    pub noise: Noise,
    /// Latencies of the heartbeats.
    pub result: raft_mix::Outcome,
}

/// File of a run of a full mesh of many servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mesh {
    /// Machine and time of the run.
    pub machine: Machine,
    /// Command line of the run.
    pub command: String,
    /// Load of the machine by other processes.
    pub noise: Noise,
    /// Parameters of the run.
    pub options: mesh::Options,
    /// Result of the run, with its failures.
    pub outcome: mesh::Outcome,
}

/// File of JSON.
pub trait Document: Serialize + DeserializeOwned {
    /// Reads the file at `path`. An error names the file and the place in it.
    fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Writes the file at `path`.
    fn write(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
    }
}

impl Document for Comparison {}
impl Document for Lateness {}
impl Document for Mesh {}
impl Document for Mix {}
impl Document for Scaling {}
