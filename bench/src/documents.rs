//! The raw figures as files: what was measured, on what, and what else ran meanwhile.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::compare;
use crate::machine::Machine;
use crate::noise::Noise;
use crate::{mesh, open_loop, raft_mix, scaling};

/// Of a comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// Where and when.
    pub machine: Machine,
    /// The command that this came from.
    pub command: String,
    /// The seed of the order.
    pub seed: u64,
    /// How many rounds.
    pub rounds: usize,
    /// Whether each server had a process of its own.
    #[serde(default)]
    pub processes: bool,
    /// What else ran.
    pub noise: Noise,
    /// What failed, and why.
    pub failures: Vec<String>,
    /// What came out.
    pub rows: Vec<compare::Row>,
}

/// Of messages at a fixed rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lateness {
    /// Where and when.
    pub machine: Machine,
    /// The seed of the order.
    pub seed: u64,
    /// What else ran.
    pub noise: Noise,
    /// Messages each second.
    pub rate: u64,
    /// Bytes in a payload.
    pub size: usize,
    /// What failed, and why.
    pub failures: Vec<String>,
    /// What came out.
    pub rows: Vec<open_loop::Row>,
}

/// Of how throughput grows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scaling {
    /// Where and when.
    pub machine: Machine,
    /// The seed of the order.
    pub seed: u64,
    /// What else ran.
    pub noise: Noise,
    /// What failed, and why.
    pub failures: Vec<String>,
    /// What came out.
    pub rows: Vec<scaling::Row>,
}

/// Of heartbeats beside appends and snapshots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mix {
    /// Where and when.
    pub machine: Machine,
    /// What else ran.
    pub noise: Noise,
    /// What came out.
    pub result: raft_mix::Outcome,
}

/// Of a full mesh of many servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mesh {
    /// Where and when.
    pub machine: Machine,
    /// The command that this came from.
    pub command: String,
    /// What else ran.
    pub noise: Noise,
    /// What was asked for.
    pub options: mesh::Options,
    /// What came out, with what failed.
    pub outcome: mesh::Outcome,
}

/// A file of JSON.
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
