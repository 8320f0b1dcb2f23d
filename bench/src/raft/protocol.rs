//! Lines of JSON between the conductor and the processes of a group: commands on standard input, replies on standard
//! output.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::content::Summary;
use super::recorder::Figures;
use crate::usage::Usage;

/// Number of a node in its group, from 1. Node 1 leads.
pub type Id = u64;

/// Address of each node, in the form that the contender's network understands.
pub type Addresses = BTreeMap<Id, String>;

/// Library of consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Library {
    /// openraft, on tokio.
    Openraft,
    /// tikv's raft, on a thread of its own.
    RaftRs,
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Openraft => "openraft",
            Self::RaftRs => "raft-rs",
        })
    }
}

/// Nodes that one process holds. The process gets this as its only argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Library of consensus.
    pub library: Library,
    /// Name of the contender.
    pub contender: String,
    /// Nodes in this process.
    pub ids: Vec<Id>,
    /// Parameters of the group.
    pub settings: Settings,
}

/// Parameters of a group, the same for all contenders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Time between two heartbeats.
    pub heartbeat_ms: u64,
    /// Shortest time without a heartbeat after which a node wants to lead. The longest is twice that.
    pub election_ms: u64,
    /// Nodes that vote from the beginning; all others join later.
    pub voters: u64,
    /// Bytes that each voter's snapshot holds besides what clients have written. 0: snapshots at a fixed number of
    /// writes; otherwise only by command.
    pub ballast_bytes: usize,
}

/// Clients that write, each the next value when the last one was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Number of clients.
    pub clients: u32,
    /// Bytes of a value.
    pub size: usize,
}

/// Line that a process of a group reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Starts the nodes.
    Start(Addresses),
    /// Makes node 1 the leader of the voters.
    Lead,
    /// Lets clients write beside node 1 until `Rest`.
    Write(Load),
    /// Begins to measure.
    Begin,
    /// Ends the measurement.
    End,
    /// Ends the clients.
    Rest,
    /// Makes a snapshot of node 1, and leaves nothing else of its log.
    Compact,
    /// Adds a node to the group, which catches up.
    Join(Id),
    /// Waits until the nodes of this process have applied so many writes.
    Compare(u64),
    /// Stops the nodes and exits.
    Stop,
}

/// Line that a process of a group writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Addresses of the nodes of this process.
    Listening(Addresses),
    /// The nodes of this process run.
    Started,
    /// A node follows another leader, or itself, in a later term. Comes unasked.
    Follows(Follows),
    /// The first write was answered.
    Writing,
    /// The measurement has begun.
    Begun,
    /// End of the measurement.
    Measured(Measured),
    /// The clients have ended, after so many writes.
    Rested(u64),
    /// The snapshot is made.
    Compacted,
    /// The node has joined and caught up.
    Joined,
    /// Content of the nodes of this process.
    Contents(Vec<Compared>),
    /// Reason of a failure. The process then only waits for its end.
    Failed(String),
}

/// Leader that a node follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    /// Node that follows.
    pub node: Id,
    /// Node that leads.
    pub leader: Id,
    /// Term of the leader.
    pub term: u64,
    /// Time at which the node learned of it, in nanoseconds of `CLOCK_MONOTONIC`, which all processes share.
    pub at_ns: u64,
}

/// Resources used by one process, and writes of its clients, between two commands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Resources used.
    pub usage: Usage,
    /// Figures of the clients, if there are any beside this process.
    pub figures: Option<Figures>,
    /// Contacts of the leader with its followers, if it is in this process and its library shows them.
    pub contacts: Vec<Contacts>,
}

/// Answered messages of a leader to one follower.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contacts {
    /// Follower.
    pub node: Id,
    /// Appends without entries that the follower has answered: heartbeats, and news of what is committed.
    pub empty_appends: u64,
    /// Longest time between two answers of the follower.
    pub longest_gap_ns: u64,
}

/// Content of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Node.
    pub node: Id,
    /// Summary of the writes applied.
    pub summary: Summary,
    /// Hash over everything.
    pub digest: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let addresses = Addresses::from([(1, "127.0.0.1:1".to_owned())]);
        let load = Load { clients: 16, size: 64 };
        for command in [Command::Start(addresses.clone()), Command::Lead, Command::Write(load), Command::Join(3)] {
            let line = serde_json::to_string(&command).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Command>(&line).unwrap(), command);
        }
        let figures = Figures { writes: 3, seconds: 0.5, p50_us: 1.5, p99_us: 2.0, p999_us: 3.0, longest_us: 4.0 };
        let measured =
            Measured { usage: Usage::default(), figures: Some(figures), contacts: vec![Contacts::default()] };
        let follows = Follows { node: 2, leader: 1, term: 1, at_ns: 7 };
        for reply in [Reply::Listening(addresses), Reply::Measured(measured), Reply::Follows(follows)] {
            let line = serde_json::to_string(&reply).unwrap();
            assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), reply);
        }
    }
}
