//! Child processes of a benchmark: the same program, started with a job, driven by commands, and ended by their ids.
//!
//! A command is a line of JSON on the standard input of the process, a reply a line on its standard output.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{self, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Message of a child process to its parent. The last one is `End`.
#[derive(Debug)]
pub enum Heard<R> {
    /// Reply of the process.
    Reply(R),
    /// Line that is no reply, with the reason.
    Unreadable(String),
    /// End of the standard output: the process has ended, or is about to.
    End,
}

/// A child process. Dropping it kills the process if it has not ended.
pub struct Child {
    process: process::Child,
    /// `None` once closed, which makes the process exit.
    input: Option<ChildStdin>,
}

impl Child {
    /// Starts this program with `subcommand` and `job` as its arguments. Its replies go to `replies` with `index`.
    pub fn member<R: DeserializeOwned + Send + 'static>(
        subcommand: &str,
        job: &impl Serialize,
        index: usize,
        replies: Sender<(usize, Heard<R>)>,
    ) -> io::Result<Self> {
        let mut child = Self::start(&[subcommand, &serde_json::to_string(job)?], Stdio::piped())?;
        let output =
            child.process.stdout.take().ok_or_else(|| io::Error::other("a process without standard output"))?;
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                let unreadable = |error| Heard::Unreadable(format!("a process wrote {line:?}: {error}"));
                let heard = serde_json::from_str(&line).map_or_else(unreadable, Heard::Reply);
                if replies.send((index, heard)).is_err() {
                    return;
                }
            }
            let _ = replies.send((index, Heard::End));
        });
        Ok(child)
    }

    /// Starts this program with `subcommand`. It writes nothing, and runs until it is dropped.
    pub fn silent(subcommand: &str) -> io::Result<Self> {
        Self::start(&[subcommand], Stdio::null())
    }

    fn start(arguments: &[&str], output: Stdio) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut process = command.args(arguments).stdin(Stdio::piped()).stdout(output).spawn()?;
        let input = process.stdin.take();
        Ok(Self { process, input })
    }

    /// Id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Writes a command to the process. Errors are ignored: the end of a process shows at its output.
    pub fn tell(&mut self, command: &impl Serialize) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(line(command).as_bytes());
        }
    }

    /// Kills the process (SIGKILL) and waits for its end.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
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

/// Returns the commands of the parent, in a child process. The process exits when its standard input ends.
pub fn commands<C: DeserializeOwned + Send + 'static>() -> Receiver<C> {
    let (give, take) = channel();
    thread::spawn(move || {
        for line in io::stdin().lines() {
            let Some(command) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
            let _ = give.send(command);
        }
        // The parent has ended.
        process::exit(1);
    });
    take
}

/// Writes a reply to the parent, in a child process. Errors are ignored: if the parent has ended, standard input ends.
pub fn reply(reply: &impl Serialize) {
    let _ = io::stdout().lock().write_all(line(reply).as_bytes());
}

fn line(what: &impl Serialize) -> String {
    let mut line = serde_json::to_string(what).expect("every command and reply can be written as JSON");
    line.push('\n');
    line
}
