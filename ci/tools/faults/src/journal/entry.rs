//! Journal on disk: a line for each action of the conductor, written when it happens. A session that ends early can
//! therefore be checked up to its end.

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

/// One line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Entry {
    /// Parameters of the session; the first line.
    Session { at: u64, seed: u64, rate: u64, pids: Vec<Pid>, inbox_bytes: u64, outbox_bytes: u64 },
    /// A process is about to be started.
    Spawned { at: u64, pid: Pid, run: u32 },
    /// A process is known to have ended.
    Ended { at: u64, pid: Pid, run: u32, end: End },
    /// A fault is about to be injected; faults are counted from 0.
    Began { fault: usize, injected: Injected },
    /// A fault has begun.
    InForce { fault: usize, at: u64 },
    /// A fault is about to be ended.
    Ends { fault: usize, at: u64 },
    /// A fault has ended.
    Over { fault: usize, at: u64 },
    /// A core did not run the conductor's thread.
    Stalled { from: u64, to: u64 },
    /// The conductor is running. Written every second, so that the time of its death is known if it is killed.
    Alive { at: u64 },
    /// A server was not up in time; `text` has the state of the machine at that time.
    LongStart { at: u64, pid: Pid, run: u32, text: String },
    /// The conductor could not do something.
    Hitch { at: u64, text: String },
    /// The servers are told to send nothing more.
    Quiet { at: u64 },
    /// The session has ended as planned.
    Finished { at: u64 },
    /// The session has ended early.
    EndedEarly { at: u64, why: String },
}

impl Entry {
    /// Returns the earliest time at which the entry can have been written.
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

    /// Returns the entry as a line, with its line break.
    pub fn line(&self) -> Result<Vec<u8>, Failure> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Writer of a journal. Each entry is one plain write: completed writes are in the kernel, and outlive this process.
pub struct Writer {
    file: RefCell<File>,
    /// Number of faults begun.
    faults: Cell<usize>,
}

impl Writer {
    pub fn create(folder: &Path) -> Result<Writer, Failure> {
        let path = folder.join(FILE);
        let file = File::create_new(&path).context(|| format!("cannot make {}", path.display()))?;
        Ok(Writer { file: RefCell::new(file), faults: Cell::new(0) })
    }

    /// Writes an entry. A session ends if this fails: without a journal it cannot be checked.
    pub fn write(&self, entry: &Entry) -> Result<(), Failure> {
        let line = entry.line()?;
        self.file.borrow_mut().write_all(&line).context(|| "cannot write the journal".to_owned())
    }

    /// Writes that a fault is about to be injected, and returns its number.
    pub fn begin(&self, injected: Injected) -> Result<usize, Failure> {
        let fault = self.faults.replace(self.faults.get() + 1);
        self.write(&Entry::Began { fault, injected })?;
        Ok(fault)
    }

    /// Writes and reports that the conductor could not do something; the session goes on.
    pub fn hitch(&self, failure: &Failure) -> Result<(), Failure> {
        say(format_args!("hitch: {failure}"));
        self.write(&Entry::Hitch { at: now(), text: failure.to_string() })
    }
}
