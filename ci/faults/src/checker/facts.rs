//! What the logs say, folded together.

use std::collections::BTreeMap;

use cluster::Pid;

use super::spans::{Span, Spans};
use crate::clock::{MILLISECOND, SECOND};
use crate::journal::{End, Journal, Lost, Run};
use crate::log::{Kind, Record};
use crate::payload::Stream;
use crate::plan::{self, Injected};

/// A whole session.
pub struct Facts {
    pub journal: Journal,
    pub runs: Vec<RunFacts>,
    /// Faults that were injected; removals also as the servers wrote them down, who do them in their own time, and lies
    /// as the proxies did: who reads nothing notices a broken frame late.
    pub faults: Vec<Injected>,
    /// Messages that stand behind a frame that a lie has broken: each may be lost, and with which lie.
    pub lost: BTreeMap<(Lost, Pid), usize>,
}

/// One run of a server.
pub struct RunFacts {
    pub run: Run,
    /// When its program ran, if it came to that.
    pub running: Option<u64>,
    /// By recipient.
    pub sent: BTreeMap<(Pid, Stream), Sent>,
    /// By sender and its run.
    pub received: BTreeMap<(Pid, u32, Stream), Spans>,
    /// When the first message of each run of a peer came.
    pub first_received: BTreeMap<(Pid, u32), u64>,
    /// Messages by sender and second.
    pub per_second: BTreeMap<(Pid, u64), u64>,
    /// `Up`, `Down` and the like.
    pub events: Vec<Record>,
    pub corrupt: Vec<Record>,
    /// What went to, or came from, somebody who was no peer.
    pub strays: Vec<Record>,
    pub removals: Vec<Removal>,
    /// Messages to all, of which this peer may be one.
    pub uncertain: BTreeMap<Pid, u64>,
    /// What events said to be given up, by peer and reason.
    pub dropped: BTreeMap<(Pid, u64), u64>,
    /// What the stop could not deliver.
    pub undelivered: BTreeMap<Pid, u64>,
    /// Messages out and in, as `stats` says.
    pub statistics: BTreeMap<Pid, (u64, u64)>,
    /// Messages given up, as `stats` says.
    pub losses: BTreeMap<Pid, Losses>,
    /// How long the stop took, if it came to its end.
    pub stopped: Option<u64>,
    pub drained: bool,
    pub most_memory: u64,
}

/// What one run sent to one peer on one stream.
#[derive(Default)]
pub struct Sent {
    /// Numbers below this may have been used.
    pub reserved: u64,
    /// With the times at which they were given to the outbox, to [`COARSE`].
    pub accepted: Spans,
    pub full: Spans,
    pub given_back: Spans,
    /// The recipient was no peer.
    pub unknown: Spans,
    pub flushes: Vec<Flush>,
}

/// A flush that found everything acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Flush {
    /// Everything up to this number.
    pub last: u64,
    pub time: u64,
}

/// A peer that was removed while it lived.
#[derive(Clone, Copy, Debug)]
pub struct Removal {
    pub peer: Pid,
    /// From before the removal to after it, and until after the peer was added again.
    pub begin: u64,
    pub removed: u64,
    pub added: u64,
    /// What it had not acknowledged.
    pub messages: u64,
}

/// Messages that were given up, by reason.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    pub expired: u64,
    pub best_effort: u64,
    pub removed: u64,
    pub stopped: u64,
}

impl Facts {
    pub fn new(journal: Journal, mut runs: Vec<RunFacts>) -> Facts {
        runs.sort_by_key(|facts| (facts.run.pid, facts.run.run));
        let mut faults = journal.faults.clone();
        for run in &runs {
            faults.extend(run.removals.iter().map(|removal| Injected {
                kind: plan::Kind::Remove,
                pid: run.run.pid,
                other: Some(removal.peer),
                begin: removal.begin,
                in_force: removal.removed,
                ends: removal.added.min(run.run.ended),
                end: removal.added.min(run.run.ended),
                amount: 0,
            }));
        }
        faults.extend(journal.lies.iter().map(|lie| {
            let end = lie.ended.unwrap_or(u64::MAX).min(journal.quiet_at).max(lie.at);
            let (pid, other) = (lie.from, Some(lie.to));
            Injected { kind: plan::Kind::Lie, pid, other, begin: lie.at, in_force: lie.at, ends: end, end, amount: 0 }
        }));
        let lies = journal.lies.iter().enumerate();
        let lost = lies.flat_map(|(index, lie)| lie.lost.iter().map(move |lost| ((*lost, lie.to), index))).collect();
        Facts { journal, runs, faults, lost }
    }

    /// The runs of a server, the first one first.
    pub fn runs_of(&self, pid: Pid) -> impl Iterator<Item = &RunFacts> {
        self.runs.iter().filter(move |facts| facts.run.pid == pid)
    }

    /// The run of a server that lived from one time to another.
    pub fn alive(&self, pid: Pid, from: u64, to: u64) -> Option<&RunFacts> {
        self.runs_of(pid).find(|facts| facts.run.spawned <= from && facts.run.ended >= to)
    }
}

impl RunFacts {
    pub fn new(run: Run) -> RunFacts {
        RunFacts {
            run,
            running: None,
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            first_received: BTreeMap::new(),
            per_second: BTreeMap::new(),
            events: Vec::new(),
            corrupt: Vec::new(),
            strays: Vec::new(),
            removals: Vec::new(),
            uncertain: BTreeMap::new(),
            dropped: BTreeMap::new(),
            undelivered: BTreeMap::new(),
            statistics: BTreeMap::new(),
            losses: BTreeMap::new(),
            stopped: None,
            drained: false,
            most_memory: 0,
        }
    }

    /// Takes in an entry of one of its logs.
    pub fn take(&mut self, record: &Record) {
        let Record { kind, stream, run, peer, time, first, second } = *record;
        let span = Span { first, last: second, time };
        match kind {
            Kind::Reserved => self.stream_to(peer, stream).reserved = first,
            Kind::Accepted => self.stream_to(peer, stream).accepted.add(span, COARSE),
            Kind::Full => self.stream_to(peer, stream).full.add(span, COARSE),
            Kind::GivenBack => self.stream_to(peer, stream).given_back.add(span, COARSE),
            Kind::Received => {
                self.received.entry((peer, run, stream)).or_default().add(span, u64::MAX);
                self.first_received.entry((peer, run)).or_insert(time);
                *self.per_second.entry((peer, time / SECOND)).or_default() += span.count();
            }
            Kind::Corrupt => self.corrupt.push(*record),
            Kind::Misaddressed | Kind::Uninvited => self.strays.push(*record),
            Kind::Unknown => self.stream_to(peer, stream).unknown.add(span, COARSE),
            Kind::Uncertain => *self.uncertain.entry(peer).or_default() += span.count(),
            Kind::Flushed => self.stream_to(peer, stream).flushes.push(Flush { last: first, time }),
            Kind::Up
            | Kind::Down
            | Kind::Restarted
            | Kind::Refused
            | Kind::Shortage
            | Kind::Missed
            | Kind::AddedEvent
            | Kind::RemovedEvent
            | Kind::Reset => self.events.push(*record),
            Kind::Dropped => *self.dropped.entry((peer, second)).or_default() += first,
            Kind::Removing => {
                let removal = Removal { peer, begin: time, removed: u64::MAX, added: u64::MAX, messages: 0 };
                self.removals.push(removal);
            }
            Kind::Removed => {
                if let Some(removal) = self.removals.iter_mut().rfind(|removal| removal.peer == peer) {
                    (removal.removed, removal.messages) = (time, first);
                }
            }
            Kind::Added => {
                if let Some(removal) = self.removals.iter_mut().rfind(|removal| removal.peer == peer) {
                    removal.added = time;
                }
            }
            Kind::Memory => self.most_memory = self.most_memory.max(first),
            Kind::Undelivered => *self.undelivered.entry(peer).or_default() += first,
            Kind::Account => drop(self.statistics.insert(peer, (first, second))),
            Kind::Perished => {
                let losses = self.losses.entry(peer).or_default();
                (losses.expired, losses.best_effort) = (first, second);
            }
            Kind::GivenUp => {
                let losses = self.losses.entry(peer).or_default();
                (losses.removed, losses.stopped) = (first, second);
            }
            Kind::Stopped => self.stopped = Some(first),
            Kind::Drained => self.drained = true,
            Kind::Running => self.running = Some(time),
            Kind::Started | Kind::Latency | Kind::Quiet => {}
        }
    }

    /// When it was told that it and this peer begin anew.
    pub fn resets_of(&self, peer: Pid) -> impl Iterator<Item = u64> {
        let of_peer = move |event: &&Record| event.kind == Kind::Reset && event.peer == peer;
        self.events.iter().filter(of_peer).map(|event| event.time)
    }

    /// Whether it ended without having been told to.
    pub fn died(&self) -> bool {
        matches!(self.run.end, End::Killed | End::Crashed(_))
    }

    /// Messages that its outbox took, for this peer or for all.
    pub fn accepted(&self, to: Option<Pid>) -> u64 {
        let sent = self.sent.iter().filter(|((peer, _), _)| to.is_none_or(|to| to == *peer));
        sent.map(|(_, sent)| sent.accepted.count()).sum()
    }

    /// Messages that came out of its inbox, from this peer or from all.
    pub fn received(&self, from: Option<Pid>) -> u64 {
        let received = self.received.iter().filter(|((peer, _, _), _)| from.is_none_or(|from| from == *peer));
        received.map(|(_, received)| received.count()).sum()
    }

    /// Its removals of this peer.
    pub fn removals_of(&self, peer: Pid) -> impl Iterator<Item = &Removal> {
        self.removals.iter().filter(move |removal| removal.peer == peer)
    }

    fn stream_to(&mut self, peer: Pid, stream: Stream) -> &mut Sent {
        self.sent.entry((peer, stream)).or_default()
    }
}

/// How exactly the time of an accepted message is kept.
const COARSE: u64 = 100 * MILLISECOND;
