//! Progress of a session: a line every few seconds, from the logs as they grow.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use super::inject::Injector;
use super::servers::Servers;
use crate::clock::{SECOND, now};
use crate::failure::Failure;
use crate::log::{Kind, tail};
use crate::output::say;

/// Progress so far.
pub struct Progress {
    began: u64,
    due: u64,
    files: HashMap<PathBuf, Option<File>>,
    received: u64,
}

impl Progress {
    pub fn new(began: u64) -> Progress {
        Progress { began, due: began + EVERY, files: HashMap::new(), received: 0 }
    }

    /// Messages received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Writes a line of progress, if it is due.
    pub fn turn(&mut self, servers: &Servers<'_>, injector: &Injector<'_>) -> Result<(), Failure> {
        if now() < self.due {
            return Ok(());
        }
        self.due += EVERY;
        let before = self.received;
        self.read(servers)?;
        say(format_args!(
            "{:>5} s: {} servers up, {} faults so far ({} now), {} messages received ({}/s)",
            (now() - self.began) / SECOND,
            servers.running(),
            injector.count(),
            injector.active(),
            self.received,
            (self.received - before) * SECOND / EVERY
        ));
        Ok(())
    }

    /// Reads the new entries of the logs.
    pub fn read(&mut self, servers: &Servers<'_>) -> Result<(), Failure> {
        for path in servers.received_logs() {
            let file = self.files.entry(path.clone()).or_default();
            if file.is_none() {
                *file = File::open(&path).ok();
            }
            if let Some(file) = file {
                let received = &mut self.received;
                tail(file, &path, |record| {
                    if record.kind == Kind::Received {
                        *received += record.second - record.first + 1;
                    }
                })?;
            }
        }
        // Logs of earlier runs have been read, except perhaps for their last moments.
        let current = servers.received_logs();
        self.files.retain(|path, _| current.contains(path));
        Ok(())
    }
}

const EVERY: u64 = 5 * SECOND;
