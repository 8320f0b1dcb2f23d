//! Progress of the demonstration: a line that is redrawn on a terminal, and occasional lines elsewhere.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::output::say;

/// Progress report on standard error.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    /// Tells if a progress line is drawn on the terminal.
    drawn: bool,
    last: Instant,
}

impl Progress {
    pub fn new() -> Progress {
        Progress { terminal: io::stderr().is_terminal(), drawn: false, last: Instant::now() }
    }

    /// Prints that `done` of `all` are done, unless the last report was a moment ago.
    pub fn show(&mut self, what: impl fmt::Display, done: u64, all: u64) {
        let pause = if self.terminal { REDRAW } else { SPARSE };
        if self.last.elapsed() < pause {
            return;
        }
        self.last = Instant::now();
        let percent = done * 100 / all.max(1);
        if self.terminal {
            self.drawn = true;
            // Errors are ignored: progress matters only to a reader.
            let _ = write!(io::stderr(), "\r\x1b[K{what}: {done} of {all} ({percent} %)");
        } else {
            say(format_args!("{what}: {done} of {all} ({percent} %)"));
        }
    }

    /// Erases the progress line from the terminal, so that other output can follow.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

const REDRAW: Duration = Duration::from_millis(100);
const SPARSE: Duration = Duration::from_secs(5);
