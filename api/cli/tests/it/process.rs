//! Processes that a test starts, and what they print.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The program with its arguments.
pub fn cluster(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
    command.args(arguments);
    command
}

/// Runs the program to its end.
pub fn output(arguments: &[&str]) -> Output {
    cluster(arguments).stdin(Stdio::null()).output().expect("the program starts")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program prints UTF-8")
}

/// The lines that a process has printed so far.
#[derive(Clone, Default)]
struct Lines {
    shared: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Lines {
    fn read(&self, from: impl Read + Send + 'static) {
        let lines = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines() {
                let (printed, changed) = &*lines.shared;
                printed.lock().unwrap().push(line.expect("the program prints UTF-8"));
                changed.notify_all();
            }
        });
    }

    fn now(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().clone()
    }

    fn wait_for(&self, is_there: impl Fn(&[String]) -> bool) -> bool {
        let (printed, changed) = &*self.shared;
        let waited = changed.wait_timeout_while(printed.lock().unwrap(), PATIENCE, |lines| !is_there(lines));
        !waited.expect("no reader panics with the lock").1.timed_out()
    }
}

/// A process whose output is read as it comes. Killed when dropped.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Lines,
    err: Lines,
}

impl Process {
    pub fn start(arguments: &[&str]) -> Process {
        let mut command = cluster(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (out, err) = (Lines::default(), Lines::default());
        out.read(child.stdout.take().expect("it was piped"));
        err.read(child.stderr.take().expect("it was piped"));
        Process { stdin: child.stdin.take(), child, out, err }
    }

    /// Types lines into it.
    pub fn write(&mut self, lines: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("its input is open");
        stdin.write_all(lines.as_ref()).and_then(|()| stdin.flush()).expect("the process reads");
    }

    /// Ends its input.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// What it has printed on standard output so far.
    pub fn lines(&self) -> Vec<String> {
        self.out.now()
    }

    /// Waits until it has printed such lines on standard output.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_there: impl Fn(&[String]) -> bool) {
        assert!(self.out.wait_for(is_there), "no {what}:\n{}", self.printed());
    }

    /// Waits until it has said this line on standard error.
    #[track_caller]
    pub fn wait_for_said(&self, line: &str) {
        let is_there = |lines: &[String]| lines.iter().any(|each| each.starts_with(line));
        assert!(self.err.wait_for(is_there), "no {line:?}:\n{}", self.printed());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.printed());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything that it has printed, for a failed test.
    pub fn printed(&self) -> String {
        format!("stdout: {:#?}\nstderr: {:#?}", self.out.now(), self.err.now())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Far more than anything takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
