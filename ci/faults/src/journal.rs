//! What the conductor did, as the checker reads it.

use std::fs;
use std::path::Path;

use cluster::Pid;
use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure};
use crate::plan::Injected;

/// One session of faults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Journal {
    pub seed: u64,
    /// Messages each second of each server.
    pub rate: u64,
    pub pids: Vec<Pid>,
    pub inbox_bytes: u64,
    pub outbox_bytes: u64,
    /// When the servers were told to send nothing more. What happens afterwards belongs to the end of the session.
    pub quiet_at: u64,
    pub runs: Vec<Run>,
    pub faults: Vec<Injected>,
    /// Times at which the conductor itself was not let run: the whole machine had no time then.
    pub stalls: Vec<(u64, u64)>,
    /// What servers said on standard error: they have nothing to say.
    pub complaints: Vec<String>,
}

/// One process of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub pid: Pid,
    /// 1, 2, 3 … for each server.
    pub run: u32,
    pub spawned: u64,
    /// When it was known to be gone.
    pub ended: u64,
    pub end: End,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It runs.
    Running,
    /// By our SIGKILL.
    Killed,
    /// As it was told to.
    Stopped,
    /// By itself, or because it did not stop.
    Crashed(String),
}

impl Journal {
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        let path = folder.join(FILE);
        fs::write(&path, serde_json::to_string_pretty(self)?).context(|| format!("cannot write {}", path.display()))
    }

    pub fn read(folder: &Path) -> Result<Journal, Failure> {
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }
}

const FILE: &str = "journal.json";
