//! Actions of the conductor, as the checker reads them.

mod entry;
mod lies;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cluster::Pid;
use serde::{Deserialize, Serialize};

pub use entry::{Entry, Writer};
pub use lies::{LieWriter, Lost, ToldLie, lies_path};

use crate::failure::{Context, Failure};
use crate::plan::Injected;

/// Journal of one session of faults.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    pub seed: u64,
    /// Messages per second of each server.
    pub rate: u64,
    pub pids: Vec<Pid>,
    pub inbox_bytes: u64,
    pub outbox_bytes: u64,
    /// Time at which the servers were told to send nothing more. Later events belong to the end of the session.
    pub quiet_at: u64,
    pub runs: Vec<Run>,
    pub faults: Vec<Injected>,
    /// Times at which a core did not run the conductor's thread: the whole machine was stalled then.
    pub stalls: Vec<(u64, u64)>,
    /// Lies that were told, by the proxy that told them, in order.
    pub lies: Vec<ToldLie>,
    /// Texts of servers on standard error; correct servers write none.
    pub complaints: Vec<String>,
    /// Failures of the conductor to act as planned. They do not concern the servers.
    pub hitches: Vec<String>,
    /// Servers that were not up in time: time, pid, run, and the state of the machine at that time.
    pub long_starts: Vec<(u64, Pid, u32, String)>,
    /// Reason for which the session ended early. All earlier events are checked.
    pub ended_early: Option<String>,
}

/// One process of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub pid: Pid,
    /// Number of the run, counted from 1 for each server.
    pub run: u32,
    pub spawned: u64,
    /// Time at which the process was known to have ended.
    pub ended: u64,
    pub end: End,
}

/// End of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The process still runs.
    Running,
    /// The conductor killed it with SIGKILL.
    Killed,
    /// The process stopped as ordered.
    Stopped,
    /// The process ended by itself, or did not stop when ordered.
    Crashed(String),
}

impl Journal {
    /// Reads the journal of a session from disk, however the session ended.
    pub fn read(folder: &Path) -> Result<Journal, Failure> {
        let path = folder.join(FILE);
        let text = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
        let mut journal = Journal::from_lines(&text).context(|| path.display().to_string())?;
        for pid in journal.pids.clone() {
            journal.lies.extend(lies::read(folder, pid)?);
            let said = match fs::read(errors_path(folder, pid)) {
                Ok(said) => said,
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(Failure(format!("cannot read what {pid} said: {error}"))),
            };
            if !said.is_empty() {
                journal.complaints.push(format!("{pid}: {}", String::from_utf8_lossy(&said).trim()));
            }
        }
        Ok(journal)
    }

    fn from_lines(text: &[u8]) -> Result<Journal, Failure> {
        let mut journal = Journal::default();
        let mut finished = false;
        let mut latest = 0;
        // Bytes after the last line break were being written when the conductor was killed.
        for line in text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            let entry: Entry = serde_json::from_slice(line)?;
            latest = latest.max(entry.time());
            finished |= matches!(entry, Entry::Finished { .. });
            journal.take(entry);
        }
        if !finished && journal.ended_early.is_none() {
            journal.ended_early = Some("the conductor was killed: its journal has no end".to_owned());
        }
        if journal.quiet_at == 0 {
            journal.quiet_at = latest;
        }
        // Processes and faults end with the conductor.
        for run in journal.runs.iter_mut().filter(|run| run.end == End::Running) {
            (run.ended, run.end) = (latest, End::Killed);
        }
        for fault in journal.faults.iter_mut().filter(|fault| fault.end == u64::MAX) {
            fault.end = latest.max(fault.begin);
            fault.ends = fault.ends.min(fault.end);
        }
        Ok(journal)
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Session { seed, rate, pids, inbox_bytes, outbox_bytes, .. } => {
                (self.seed, self.rate, self.pids) = (seed, rate, pids);
                (self.inbox_bytes, self.outbox_bytes) = (inbox_bytes, outbox_bytes);
            }
            Entry::Spawned { at, pid, run } => {
                self.runs.push(Run { pid, run, spawned: at, ended: u64::MAX, end: End::Running });
            }
            Entry::Ended { at, pid, run, end } => {
                for each in self.runs.iter_mut().filter(|each| (each.pid, each.run) == (pid, run)) {
                    (each.ended, each.end) = (at, end.clone());
                }
            }
            Entry::Began { injected, .. } => self.faults.push(injected),
            Entry::InForce { fault, at } => {
                if let Some(fault) = self.faults.get_mut(fault) {
                    fault.in_force = at;
                }
            }
            Entry::Ends { fault, at } => {
                if let Some(fault) = self.faults.get_mut(fault) {
                    fault.ends = fault.ends.min(at);
                }
            }
            Entry::Over { fault, at } => {
                if let Some(fault) = self.faults.get_mut(fault) {
                    (fault.ends, fault.end) = (fault.ends.min(at), at);
                }
            }
            Entry::Stalled { from, to } => self.stalls.push((from, to)),
            Entry::LongStart { at, pid, run, text } => self.long_starts.push((at, pid, run, text)),
            Entry::Hitch { text, .. } => self.hitches.push(text),
            Entry::Quiet { at } => self.quiet_at = at,
            Entry::EndedEarly { at, why } => {
                if self.quiet_at == 0 {
                    self.quiet_at = at;
                }
                self.ended_early = Some(why);
            }
            Entry::Alive { .. } | Entry::Finished { .. } => {}
        }
    }
}

/// Returns the path of a server's standard error.
pub fn errors_path(folder: &Path, pid: Pid) -> PathBuf {
    folder.join(format!("{pid}.stderr"))
}

const FILE: &str = "journal.jsonl";

#[cfg(test)]
mod tests {
    use super::{End, Entry, Journal};
    use crate::plan::{Injected, Kind};

    fn lines(entries: &[Entry]) -> Vec<u8> {
        entries.iter().flat_map(|entry| entry.line().unwrap()).collect()
    }

    fn entries() -> Vec<Entry> {
        let injected = Injected {
            kind: Kind::Kill,
            pid: 1,
            other: None,
            begin: 20,
            in_force: 20,
            ends: u64::MAX,
            end: u64::MAX,
            amount: 0,
        };
        vec![
            Entry::Session { at: 5, seed: 9, rate: 100, pids: vec![1, 2], inbox_bytes: 1, outbox_bytes: 2 },
            Entry::Spawned { at: 10, pid: 1, run: 1 },
            Entry::Spawned { at: 11, pid: 2, run: 1 },
            Entry::Began { fault: 0, injected },
            Entry::Ended { at: 21, pid: 1, run: 1, end: End::Killed },
            Entry::Spawned { at: 30, pid: 1, run: 2 },
            Entry::InForce { fault: 0, at: 22 },
            Entry::Ends { fault: 0, at: 29 },
            Entry::Over { fault: 0, at: 31 },
            Entry::Began { fault: 1, injected: Injected { begin: 40, ..injected } },
            Entry::Stalled { from: 41, to: 44 },
            Entry::Hitch { at: 45, text: "cannot".to_owned() },
            Entry::Alive { at: 50 },
        ]
    }

    #[test]
    fn a_journal_without_an_end_says_so_and_can_be_judged() {
        let mut text = lines(&entries());
        let whole = Journal::from_lines(&text).unwrap();
        assert_eq!((whole.seed, whole.quiet_at, whole.hitches.len()), (9, 50, 1));
        assert_eq!(whole.stalls, [(41, 44)]);
        let runs: Vec<_> = whole.runs.iter().map(|run| (run.pid, run.run, run.ended, run.end.clone())).collect();
        assert_eq!(runs, [(1, 1, 21, End::Killed), (2, 1, 50, End::Killed), (1, 2, 50, End::Killed)]);
        let times: Vec<_> = whole.faults.iter().map(|fault| (fault.begin, fault.in_force, fault.end)).collect();
        assert_eq!(times, [(20, 22, 31), (40, 20, 50)]);
        assert!(whole.ended_early.unwrap().contains("no end"));
        // The conductor was killed in the middle of a line.
        text.extend_from_slice(b"{\"what\":\"alive\",\"at\":6");
        assert_eq!(Journal::from_lines(&text).unwrap().quiet_at, 50);
    }

    #[test]
    fn a_journal_that_ended_early_has_the_reason() {
        let mut entries = entries();
        entries.push(Entry::EndedEarly { at: 60, why: "tc is gone".to_owned() });
        entries.push(Entry::Ended { at: 61, pid: 2, run: 1, end: End::Killed });
        let journal = Journal::from_lines(&lines(&entries)).unwrap();
        assert_eq!((journal.ended_early.as_deref(), journal.quiet_at), (Some("tc is gone"), 60));
    }

    #[test]
    fn a_journal_with_an_end_has_nothing_to_say() {
        let mut entries = entries();
        entries.extend([Entry::Quiet { at: 60 }, Entry::Finished { at: 70 }]);
        let journal = Journal::from_lines(&lines(&entries)).unwrap();
        assert_eq!((journal.ended_early, journal.quiet_at), (None, 60));
    }
}
