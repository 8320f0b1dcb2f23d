//! The history of a mock cluster: messages with their outcomes, starts, stops and faults.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use cluster_engine::mock::Packet;

use super::Fault;
use crate::{Lane, Pid};

/// History of a mock cluster, in order: from [`Cluster::history`](super::Cluster::history).
///
/// Three forms are available: values ([`entries`](History::entries), [`messages`](History::messages)), text
/// (`to_string`), and a sequence diagram ([`to_svg`](History::to_svg)).
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    pub(super) seed: u64,
    pub(super) entries: Vec<Entry>,
    pub(super) forgotten: u64,
}

/// Entry of the history.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry {
    /// A message was sent.
    Sent(Sent),
    /// A server started.
    Started {
        /// Time of the start, since the cluster was made.
        at: Duration,
        /// Pid of the server.
        pid: Pid,
    },
    /// A server stopped, crashed or was removed.
    Stopped {
        /// Time of the stop, since the cluster was made.
        at: Duration,
        /// Pid of the server.
        pid: Pid,
    },
    /// A fault was injected.
    Fault {
        /// Time of the fault, since the cluster was made.
        at: Duration,
        /// Injected fault.
        fault: Box<Fault>,
    },
}

/// Message to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Time of departure, since the cluster was made.
    pub at: Duration,
    /// Pid of the sender.
    pub from: Pid,
    /// Pid of the recipient.
    pub to: Pid,
    /// Lane of the message.
    pub lane: Lane,
    /// Message id.
    pub msg_id: i64,
    /// Bytes of the message; only the beginning of a message longer than 1 KiB.
    pub msg: Bytes,
    /// Length of the whole message, in bytes.
    pub bytes: usize,
    /// `true` for the second copy of a duplicated message.
    pub is_duplicate: bool,
    /// Outcome of the message.
    pub fate: Fate,
}

/// Outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The message is in flight.
    UnderWay,
    /// The message waits until its recipient can be reached.
    Held,
    /// The message is in the recipient's inbox.
    Delivered {
        /// Time of delivery, since the cluster was made.
        at: Duration,
    },
    /// The message was dropped.
    Dropped {
        /// Time of the drop, since the cluster was made.
        at: Duration,
        /// Reason of the drop.
        reason: DropReason,
    },
}

/// Reason why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// [`Conditions::drop`](super::Conditions::drop) dropped it.
    Chance,
    /// A partition, an isolation or a cut separated sender and recipient.
    Cut,
    /// The recipient did not run.
    NotRunning,
    /// The sender ended while the message was held.
    SenderGone,
    /// The message was for another incarnation of the recipient.
    OtherIncarnation,
}

impl History {
    /// All entries, in the order in which they began.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns an iterator over the messages.
    pub fn messages(&self) -> impl Iterator<Item = &Sent> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Sent(sent) => Some(sent),
            _ => None,
        })
    }

    /// Number of earlier entries that were not kept: see [`Cluster::keep_history`](super::Cluster::keep_history).
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Returns the entries that began at `begin` or later, and before `end`.
    pub fn between(&self, begin: Duration, end: Duration) -> History {
        let entries = self.entries.iter().filter(|entry| (begin..end).contains(&entry.at())).cloned().collect();
        History { seed: self.seed, entries, forgotten: self.forgotten }
    }

    /// Returns the messages that these servers sent to each other, their starts and stops, and all faults.
    pub fn among(&self, pids: &[Pid]) -> History {
        let wanted = |entry: &&Entry| match entry {
            Entry::Sent(sent) => pids.contains(&sent.from) && pids.contains(&sent.to),
            Entry::Started { pid, .. } | Entry::Stopped { pid, .. } => pids.contains(pid),
            Entry::Fault { .. } => true,
        };
        let entries = self.entries.iter().filter(wanted).cloned().collect();
        History { seed: self.seed, entries, forgotten: self.forgotten }
    }
}

impl Sent {
    /// Records a message that departs now. A long message is copied in part, so that the history does not keep it
    /// alive.
    pub(super) fn new(at: Duration, packet: &Packet, is_duplicate: bool) -> Sent {
        let Packet { from, to, lane, id, ref payload, .. } = *packet;
        let bytes = payload.len();
        let msg = if bytes > KEPT_WHOLE { Bytes::copy_from_slice(&payload[..KEPT]) } else { payload.clone() };
        Sent { at, from, to, lane, msg_id: id, msg, bytes, is_duplicate, fate: Fate::UnderWay }
    }

    /// Formats the first bytes of the message for people to read.
    pub(super) fn excerpt(&self) -> String {
        let shown = self.msg[..self.msg.len().min(SHOWN)].escape_ascii();
        if self.bytes > SHOWN { format!("\"{shown}…\" ({} bytes)", self.bytes) } else { format!("\"{shown}\"") }
    }
}

impl Entry {
    /// Time of the entry, since the cluster was made. For a message, this is the departure.
    pub fn at(&self) -> Duration {
        match self {
            Entry::Sent(Sent { at, .. })
            | Entry::Started { at, .. }
            | Entry::Stopped { at, .. }
            | Entry::Fault { at, .. } => *at,
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        if self.forgotten > 0 {
            writeln!(f, "({} earlier entries were not kept)", self.forgotten)?;
        }
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>13.6}  ", self.at().as_secs_f64())?;
        match self {
            Entry::Sent(sent) => sent.fmt(f),
            Entry::Started { pid, .. } => write!(f, "{pid} starts"),
            Entry::Stopped { pid, .. } => write!(f, "{pid} stops"),
            Entry::Fault { fault, .. } => write!(f, "-- {fault}"),
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}  #{} {}", self.from, self.to, self.msg_id, self.excerpt())?;
        if self.lane == Lane::Urgent {
            f.write_str(" urgent")?;
        }
        if self.is_duplicate {
            f.write_str(" again")?;
        }
        match self.fate {
            Fate::UnderWay => f.write_str("  under way"),
            Fate::Held => f.write_str("  held"),
            Fate::Delivered { at } => write!(f, "  delivered {:.6}", at.as_secs_f64()),
            Fate::Dropped { at, reason } => write!(f, "  dropped {:.6}: {reason}", at.as_secs_f64()),
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DropReason::Chance => "lost",
            DropReason::Cut => "cut off",
            DropReason::NotRunning => "not running",
            DropReason::SenderGone => "its sender ended",
            DropReason::OtherIncarnation => "for another incarnation",
        })
    }
}

/// Recorder of the history. It drops the oldest entries beyond its limit.
#[derive(Debug)]
pub(super) struct Recorder {
    entries: VecDeque<Entry>,
    /// Number of the first entry.
    first: u64,
    kept: usize,
}

impl Recorder {
    pub(super) fn new(kept: usize) -> Recorder {
        Recorder { entries: VecDeque::new(), first: 0, kept }
    }

    /// Keeps at most `kept` entries from now on.
    pub(super) fn keep(&mut self, kept: usize) {
        self.kept = kept;
        self.forget();
    }

    /// Appends an entry and returns its number.
    pub(super) fn write(&mut self, entry: Entry) -> u64 {
        self.entries.push_back(entry);
        let number = self.first + self.entries.len() as u64 - 1;
        self.forget();
        number
    }

    /// Sets the outcome of a message, if its entry is still kept.
    pub(super) fn settle(&mut self, number: u64, fate: Fate) {
        let index = number.checked_sub(self.first).and_then(|index| self.entries.get_mut(index as usize));
        if let Some(Entry::Sent(sent)) = index {
            sent.fate = fate;
        }
    }

    pub(super) fn read(&self, seed: u64) -> History {
        History { seed, entries: self.entries.iter().cloned().collect(), forgotten: self.first }
    }

    fn forget(&mut self) {
        while self.entries.len() > self.kept {
            self.entries.pop_front();
            self.first += 1;
        }
    }
}

/// Longest message that the history keeps whole, in bytes. Of longer ones it keeps the first [`KEPT`] bytes.
const KEPT_WHOLE: usize = 1024;
const KEPT: usize = 64;
/// Most bytes of a message that [`Sent::excerpt`] shows.
const SHOWN: usize = 24;
