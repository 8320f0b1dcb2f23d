//! What happened: who sent what to whom, when, and what became of it.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use cluster_engine::mock::Packet;

use super::Fault;
use crate::{Lane, Pid};

/// What happened in a mock cluster, in order: from [`Cluster::history`](super::Cluster::history).
///
/// As values ([`entries`](History::entries), [`messages`](History::messages)), as text (`to_string`), and as a sequence
/// diagram ([`to_svg`](History::to_svg)).
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    pub(super) seed: u64,
    pub(super) entries: Vec<Entry>,
    pub(super) forgotten: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry {
    /// A message was sent.
    Sent(Sent),
    /// A server started.
    Started {
        /// When, since the cluster was made.
        at: Duration,
        /// Which.
        pid: Pid,
    },
    /// A server stopped.
    Stopped {
        /// When, since the cluster was made.
        at: Duration,
        /// Which.
        pid: Pid,
    },
    /// A fault.
    Fault {
        /// When, since the cluster was made.
        at: Duration,
        /// Which.
        fault: Box<Fault>,
    },
}

/// A message, to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// When it left, since the cluster was made.
    pub at: Duration,
    /// Who sent it.
    pub from: Pid,
    /// Who was to get it.
    pub to: Pid,
    /// On which lane.
    pub lane: Lane,
    /// The message id.
    pub msg_id: i64,
    /// The message; of one longer than 1 KiB, its beginning.
    pub msg: Bytes,
    /// The bytes of the whole message.
    pub bytes: usize,
    /// Whether it is the second of a message that was duplicated.
    pub is_duplicate: bool,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// Nothing yet: it is on its way.
    UnderWay,
    /// It waits until its recipient can be reached.
    Held,
    /// It is in the recipient's inbox.
    Delivered {
        /// Since when.
        at: Duration,
    },
    /// It is gone.
    Dropped {
        /// Since when.
        at: Duration,
        /// Why.
        reason: DropReason,
    },
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// By [`Conditions::drop`](super::Conditions::drop).
    Chance,
    /// Sender and recipient were cut off.
    Cut,
    /// The recipient did not run.
    NotRunning,
    /// Its sender ended while it was held.
    SenderGone,
    /// It was for another incarnation of the recipient.
    OtherIncarnation,
}

impl History {
    /// Everything, in the order in which it began.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The messages.
    pub fn messages(&self) -> impl Iterator<Item = &Sent> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Sent(sent) => Some(sent),
            _ => None,
        })
    }

    /// How many earlier entries were not kept: see [`Cluster::keep_history`](super::Cluster::keep_history).
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// What began from `begin` on and before `end`.
    pub fn between(&self, begin: Duration, end: Duration) -> History {
        let entries = self.entries.iter().filter(|entry| (begin..end).contains(&entry.at())).cloned().collect();
        History { seed: self.seed, entries, forgotten: self.forgotten }
    }

    /// What these servers sent to each other, and all faults.
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
    /// A message that leaves now. The history does not keep all of a long one alive.
    pub(super) fn new(at: Duration, packet: &Packet, is_duplicate: bool) -> Sent {
        let Packet { from, to, lane, id, ref payload, .. } = *packet;
        let bytes = payload.len();
        let msg = if bytes > KEPT_WHOLE { Bytes::copy_from_slice(&payload[..KEPT]) } else { payload.clone() };
        Sent { at, from, to, lane, msg_id: id, msg, bytes, is_duplicate, fate: Fate::UnderWay }
    }

    /// The first bytes of the message, so that people can read them.
    pub(super) fn excerpt(&self) -> String {
        let shown = self.msg[..self.msg.len().min(SHOWN)].escape_ascii();
        if self.bytes > SHOWN { format!("\"{shown}…\" ({} bytes)", self.bytes) } else { format!("\"{shown}\"") }
    }
}

impl Entry {
    /// When it happened, or began.
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

/// Writes the history while it happens, and forgets the oldest of it.
#[derive(Debug)]
pub(super) struct Recorder {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    kept: usize,
}

impl Recorder {
    pub(super) fn new(kept: usize) -> Recorder {
        Recorder { entries: VecDeque::new(), first: 0, kept }
    }

    /// Keeps so many entries from now on.
    pub(super) fn keep(&mut self, kept: usize) {
        self.kept = kept;
        self.forget();
    }

    /// Returns the entry's number.
    pub(super) fn write(&mut self, entry: Entry) -> u64 {
        self.entries.push_back(entry);
        let number = self.first + self.entries.len() as u64 - 1;
        self.forget();
        number
    }

    /// What became of a message, if it has not been forgotten.
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

/// A longer message is kept in part.
const KEPT_WHOLE: usize = 1024;
const KEPT: usize = 64;
/// So many bytes of a message are shown.
const SHOWN: usize = 24;
