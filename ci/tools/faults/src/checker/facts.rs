//! Facts of a session, folded together from its logs.

use std::collections::BTreeMap;

use cluster::Pid;

use super::spans::{Span, Spans};
use crate::clock::{MILLISECOND, SECOND};
use crate::journal::{End, Journal, Lost, Run};
use crate::log::{Kind, Record};
use crate::payload::Stream;
use crate::plan::{self, Injected};

/// Facts of a whole session.
pub struct Facts {
    pub journal: Journal,
    pub runs: Vec<RunFacts>,
    /// Injected faults. They include removals as the servers logged them, because servers remove peers in their own
    /// time. They include lies as the proxies logged them, because a server that does not read notices a broken frame
    /// late.
    pub faults: Vec<Injected>,
    /// Messages behind a frame that a lie has broken, with their recipient: each may be lost. The value is the index of
    /// the lie.
    pub lost: BTreeMap<(Lost, Pid), usize>,
}

/// Facts of one run of a server.
pub struct RunFacts {
    pub run: Run,
    /// Time at which its program ran, if it got that far.
    pub running: Option<u64>,
    /// Messages sent, by recipient and stream.
    pub sent: BTreeMap<(Pid, Stream), Sent>,
    /// Messages received, by sender, its run, and stream.
    pub received: BTreeMap<(Pid, u32, Stream), Spans>,
    /// Time of the first message from each run of a peer.
    pub first_received: BTreeMap<(Pid, u32), u64>,
    /// Messages received, by sender and second.
    pub per_second: BTreeMap<(Pid, u64), u64>,
    /// Events such as `Up` and `Down`.
    pub events: Vec<Record>,
    pub corrupt: Vec<Record>,
    /// Messages to, or from, servers that were not peers.
    pub strays: Vec<Record>,
    pub removals: Vec<Removal>,
    /// Messages to all during a change of this peer's membership: they may have gone to it.
    pub uncertain: BTreeMap<Pid, u64>,
    /// Messages that events reported as dropped, by peer and reason.
    pub dropped: BTreeMap<(Pid, u64), u64>,
    /// Messages that the stop could not deliver, by peer.
    pub undelivered: BTreeMap<Pid, u64>,
    /// Messages out and in by `stats`, by peer.
    pub statistics: BTreeMap<Pid, (u64, u64)>,
    /// Messages dropped by `stats`, by peer.
    pub losses: BTreeMap<Pid, Losses>,
    /// Nanoseconds that the stop took, if it was completed.
    pub stopped: Option<u64>,
    pub drained: bool,
    pub most_memory: u64,
}

/// Messages of one run to one peer on one stream.
#[derive(Default)]
pub struct Sent {
    /// Limit of the reserved numbers: numbers below it may have been used.
    pub reserved: u64,
    /// Messages accepted by the outbox. Their times are exact to [`COARSE`].
    pub accepted: Spans,
    pub full: Spans,
    pub given_back: Spans,
    /// Messages returned because the recipient was not a peer.
    pub unknown: Spans,
    pub flushes: Vec<Flush>,
}

/// Flush that found all messages acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Flush {
    /// Number up to which all messages were acknowledged.
    pub last: u64,
    pub time: u64,
}

/// Removal of a live peer.
#[derive(Clone, Copy, Debug)]
pub struct Removal {
    pub peer: Pid,
    /// Time before the removal. `removed` is the time after it, `added` the time after the peer was added again.
    pub begin: u64,
    pub removed: u64,
    pub added: u64,
    /// Messages that the peer had not acknowledged.
    pub messages: u64,
}

/// Messages dropped, by reason.
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

    /// Returns the runs of a server, the first one first.
    pub fn runs_of(&self, pid: Pid) -> impl Iterator<Item = &RunFacts> {
        self.runs.iter().filter(move |facts| facts.run.pid == pid)
    }

    /// Returns the run of a server that lived from one time to the other.
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

    /// Adds an entry of one of the run's logs.
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

    /// Returns the times at which the run was told that it and this peer reset their streams.
    pub fn resets_of(&self, peer: Pid) -> impl Iterator<Item = u64> {
        let of_peer = move |event: &&Record| event.kind == Kind::Reset && event.peer == peer;
        self.events.iter().filter(of_peer).map(|event| event.time)
    }

    /// Returns whether the run ended without an order to stop.
    pub fn died(&self) -> bool {
        matches!(self.run.end, End::Killed | End::Crashed(_))
    }

    /// Returns the number of messages that the outbox accepted, for this peer or for all.
    pub fn accepted(&self, to: Option<Pid>) -> u64 {
        let sent = self.sent.iter().filter(|((peer, _), _)| to.is_none_or(|to| to == *peer));
        sent.map(|(_, sent)| sent.accepted.count()).sum()
    }

    /// Returns the number of messages that the inbox delivered, from this peer or from all.
    pub fn received(&self, from: Option<Pid>) -> u64 {
        let received = self.received.iter().filter(|((peer, _, _), _)| from.is_none_or(|from| from == *peer));
        received.map(|(_, received)| received.count()).sum()
    }

    /// Returns the run's removals of this peer.
    pub fn removals_of(&self, peer: Pid) -> impl Iterator<Item = &Removal> {
        self.removals.iter().filter(move |removal| removal.peer == peer)
    }

    fn stream_to(&mut self, peer: Pid, stream: Stream) -> &mut Sent {
        self.sent.entry((peer, stream)).or_default()
    }
}

/// Precision of the time of an accepted message, in nanoseconds.
const COARSE: u64 = 100 * MILLISECOND;
