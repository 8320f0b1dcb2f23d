//! What is seen while the demonstration runs: a line that changes, on a terminal; elsewhere a line now and then.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::output::say;

/// How far things have come, on standard error.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    /// A line that changes stands on the terminal.
    drawn: bool,
    last: Instant,
}

impl Progress {
    pub fn new() -> Progress {
        Progress { terminal: io::stderr().is_terminal(), drawn: false, last: Instant::now() }
    }

    /// Shows that `done` of `all` are done, if it is time to.
    pub fn show(&mut self, what: impl fmt::Display, done: u64, all: u64) {
        let pause = if self.terminal { REDRAW } else { SPARSE };
        if self.last.elapsed() < pause {
            return;
        }
        self.last = Instant::now();
        let percent = done * 100 / all.max(1);
        if self.terminal {
            self.drawn = true;
            // Progress is for people; if nobody can read it, nothing is lost.
            let _ = write!(io::stderr(), "\r\x1b[K{what}: {done} of {all} ({percent} %)");
        } else {
            say(format_args!("{what}: {done} of {all} ({percent} %)"));
        }
    }

    /// Takes the line that changes away, so that something else can stand there.
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
