//! A child process of the conductor: started with pipes, driven by commands, and always ended by its id.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{self, ChildStdin, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use super::protocol::{Command, Job, Reply};

/// A child process. Dropping it kills the process if it has not ended.
pub struct Child {
    process: process::Child,
    /// `None` once closed, which makes the process exit.
    input: Option<ChildStdin>,
}

impl Child {
    /// Starts a process that holds the servers of `job`. Its replies go to `replies` with `index`; the last one is
    /// `None`.
    pub fn member(index: usize, job: &Job, replies: Sender<(usize, Option<Reply>)>) -> io::Result<Self> {
        let mut child = Self::start(&[MEMBER, &serde_json::to_string(job)?], Stdio::piped())?;
        let output =
            child.process.stdout.take().ok_or_else(|| io::Error::other("a process without standard output"))?;
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                let unreadable = |error| Reply::Failed(format!("a process wrote {line:?}: {error}"));
                let reply = serde_json::from_str(&line).unwrap_or_else(unreadable);
                if replies.send((index, Some(reply))).is_err() {
                    return;
                }
            }
            let _ = replies.send((index, None));
        });
        Ok(child)
    }

    /// Starts a process that keeps every core busy until it is dropped.
    pub fn load() -> io::Result<Self> {
        Self::start(&[LOAD], Stdio::null())
    }

    fn start(arguments: &[&str], output: Stdio) -> io::Result<Self> {
        let mut command = process::Command::new(env::current_exe()?);
        let mut process = command.args(arguments).stdin(Stdio::piped()).stdout(output).spawn()?;
        let input = process.stdin.take();
        Ok(Self { process, input })
    }

    /// Id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Writes a command to the process. Errors are ignored: the end of a process shows at its output.
    pub fn tell(&mut self, command: &[u8]) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(command).and_then(|()| input.write_all(b"\n"));
        }
    }

    /// Waits until the process has exited, at most until `deadline`. Returns whether it has exited.
    pub fn exits_by(&mut self, deadline: Instant) -> bool {
        loop {
            match self.process.try_wait() {
                Ok(Some(_)) => return true,
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                _ => return false,
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.input = None;
        // Killing a process that has exited already fails, which is harmless.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns a command as the line that a process reads.
pub fn line(command: &Command) -> Vec<u8> {
    serde_json::to_vec(command).expect("every command can be written as JSON")
}

/// Runs a load process: spins with a thread for each core until its standard input ends.
pub fn spin() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..cores {
        thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    process::exit(0);
}

/// Subcommand of this program that holds servers of a mesh.
pub const MEMBER: &str = "mesh-member";
/// Subcommand of this program that keeps every core busy.
pub const LOAD: &str = "mesh-load";
