//! The journal on disk: a line for each thing that happens, written when it happens, so that a session that does not come
//! to its end can be judged as far as it came.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use cluster::Pid;
use serde::{Deserialize, Serialize};

use super::{End, FILE};
use crate::clock::now;
use crate::failure::{Context, Failure};
use crate::output::say;
use crate::plan::Injected;

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Entry {
    /// The first one.
    Session { at: u64, seed: u64, rate: u64, pids: Vec<Pid>, inbox_bytes: u64, outbox_bytes: u64 },
    /// A process is about to be started.
    Spawned { at: u64, pid: Pid, run: u32 },
    /// A process is known to be gone.
    Ended { at: u64, pid: Pid, run: u32, end: End },
    /// A fault is about to be injected; faults are counted from 0.
    Began { fault: usize, injected: Injected },
    /// A fault has begun.
    InForce { fault: usize, at: u64 },
    /// A fault is about to be ended.
    Ends { fault: usize, at: u64 },
    /// A fault has ended.
    Over { fault: usize, at: u64 },
    /// A core did not let the conductor run.
    Stalled { from: u64, to: u64 },
    /// The conductor goes on; written every second, so that it is known when it was killed.
    Alive { at: u64 },
    /// A server was not up in time; what could be seen then.
    LongStart { at: u64, pid: Pid, run: u32, text: String },
    /// The conductor could not do something.
    Hitch { at: u64, text: String },
    /// Nobody is to send any more.
    Quiet { at: u64 },
    /// The end, as planned.
    Finished { at: u64 },
    /// The end, not as planned.
    EndedEarly { at: u64, why: String },
}

impl Entry {
    /// When it was written, at the earliest.
    pub fn time(&self) -> u64 {
        match self {
            Entry::Began { injected, .. } => injected.begin,
            Entry::Stalled { to, .. } => *to,
            Entry::Session { at, .. }
            | Entry::Spawned { at, .. }
            | Entry::Ended { at, .. }
            | Entry::InForce { at, .. }
            | Entry::Ends { at, .. }
            | Entry::Over { at, .. }
            | Entry::LongStart { at, .. }
            | Entry::Alive { at }
            | Entry::Hitch { at, .. }
            | Entry::Quiet { at }
            | Entry::Finished { at }
            | Entry::EndedEarly { at, .. } => *at,
        }
    }

    /// The line, with its end.
    pub fn line(&self) -> Result<Vec<u8>, Failure> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Writes a journal. Each entry is one plain write: it is in the kernel, and outlives this process.
pub struct Writer {
    file: RefCell<File>,
    /// Faults that were begun.
    faults: Cell<usize>,
}

impl Writer {
    pub fn create(folder: &Path) -> Result<Writer, Failure> {
        let path = folder.join(FILE);
        let file = File::create_new(&path).context(|| format!("cannot make {}", path.display()))?;
        Ok(Writer { file: RefCell::new(file), faults: Cell::new(0) })
    }

    /// Writes an entry. Without a journal there is nothing to judge by: a session ends when this fails.
    pub fn write(&self, entry: &Entry) -> Result<(), Failure> {
        let line = entry.line()?;
        self.file.borrow_mut().write_all(&line).context(|| "cannot write the journal".to_owned())
    }

    /// Writes down that a fault is about to be injected, and returns its number.
    pub fn begin(&self, injected: Injected) -> Result<usize, Failure> {
        let fault = self.faults.replace(self.faults.get() + 1);
        self.write(&Entry::Began { fault, injected })?;
        Ok(fault)
    }

    /// Writes down, and says, that the conductor could not do something; the session goes on.
    pub fn hitch(&self, failure: &Failure) -> Result<(), Failure> {
        say(format_args!("hitch: {failure}"));
        self.write(&Entry::Hitch { at: now(), text: failure.to_string() })
    }
}
