//! Lines of JSON between the conductor and its child processes: commands on standard input, replies on standard output.

use std::net::SocketAddr;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Transport;

/// Share of the mesh that one child process holds. The process gets it as its only argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Index of the first server of the share. The pid of a server is its index plus one.
    pub first: usize,
    /// Servers in this process.
    pub count: usize,
    /// Servers in the whole mesh.
    pub servers: usize,
    /// Messages that each server sends to every other one.
    pub messages: u64,
    /// Transport between the servers.
    pub transport: Transport,
}

/// Line that a child process reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Starts the servers; the addresses are those of the whole mesh, by index.
    Start(Vec<SocketAddr>),
    /// Sends and receives all messages.
    Send,
    /// Leaves the servers alone until `IdleEnd`.
    IdleBegin,
    /// Asks for the state at the end of the idle phase.
    IdleEnd,
    /// Stops the servers and exits.
    Stop,
}

/// Line that a child process writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The servers' listeners are bound to these addresses.
    Listening(Vec<SocketAddr>),
    /// Servers started so far.
    Starting(usize),
    /// All servers of the process run.
    Started,
    /// State of the exchange, about four times per second.
    Progress(Progress),
    /// All servers of the process have sent and received all messages.
    Exact(Exact),
    /// State at the beginning or at the end of the idle phase.
    Idle(Progress),
    /// Reason of a failure. The process then only waits for its end.
    Failed(String),
}

/// State of the servers of one process, or of all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Messages received and checked.
    pub delivered: u64,
    /// Servers that have received all messages.
    pub complete: usize,
    /// Events so far.
    pub events: EventCounts,
}

impl AddAssign for Progress {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.complete += other.complete;
        self.events += other.events;
    }
}

/// End of the exchange in one process. Times are those of `CLOCK_MONOTONIC`, which all processes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exact {
    /// Time of the first send, in nanoseconds.
    pub first_ns: u64,
    /// Time at which the last message was received, in nanoseconds.
    pub last_ns: u64,
    /// State at the time of the last message.
    pub progress: Progress,
}

/// Events of servers, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// Links that came up.
    pub up: u64,
    /// Links that went down.
    pub down: u64,
    /// Links that went down because nothing was received on them.
    #[serde(default)]
    pub down_silent: u64,
    /// Handshakes that a peer refused.
    pub refused: u64,
    /// Failures to accept a connection.
    pub accept_failed: u64,
    /// Envelopes that were dropped.
    pub dropped: u64,
    /// Events of any other kind.
    pub other: u64,
    /// Events that were lost because the queue was full.
    pub missed: u64,
}

impl AddAssign for EventCounts {
    fn add_assign(&mut self, other: Self) {
        self.up += other.up;
        self.down += other.down;
        self.down_silent += other.down_silent;
        self.refused += other.refused;
        self.accept_failed += other.accept_failed;
        self.dropped += other.dropped;
        self.other += other.other;
        self.missed += other.missed;
    }
}

/// Time between two reports of progress.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let address: SocketAddr = "127.0.0.1:8001".parse().unwrap();
        for command in [Command::Start(vec![address]), Command::Send, Command::IdleBegin, Command::Stop] {
            let line = serde_json::to_string(&command).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Command>(&line).unwrap(), command);
        }
        let exact = Exact { first_ns: 1, last_ns: 2, progress: Progress::default() };
        for reply in [Reply::Listening(vec![address]), Reply::Exact(exact), Reply::Failed("so\nand so".to_owned())] {
            let line = serde_json::to_string(&reply).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), reply);
        }
    }

    #[test]
    fn a_job_fits_into_an_argument() {
        let job = Job { first: 2, count: 2, servers: 5, messages: 10, transport: Transport::Tcp };
        assert_eq!(serde_json::from_str::<Job>(&serde_json::to_string(&job).unwrap()).unwrap(), job);
    }
}
