//! Session made by hand. Times are milliseconds.

use cluster::Pid;

use crate::checker::facts::{Facts, RunFacts};
use crate::checker::judge;
use crate::checker::report::Report;
use crate::checker::violation::Promise;
use crate::clock::MILLISECOND;
use crate::journal::{End, Journal, Run, ToldLie};
use crate::log::{Kind, Record};
use crate::node::{BEST_EFFORT, EXPIRED, PEER_REMOVED};
use crate::payload::Stream;
use crate::plan::{self, Injected, Lie};

#[derive(Default)]
pub struct Session {
    pub journal: Journal,
    /// Log entries, each with its server and run.
    pub records: Vec<(Pid, u32, Record)>,
}

impl Session {
    /// Returns a session of two servers without any entries.
    pub fn empty() -> Session {
        let journal = Journal {
            pids: vec![1, 2],
            inbox_bytes: 4 << 20,
            outbox_bytes: 1 << 20,
            quiet_at: 2_500 * MILLISECOND,
            ..Journal::default()
        };
        Session { journal, records: Vec::new() }
    }

    /// Returns a session of two servers that send each other ten messages, and stop.
    pub fn exchange() -> Session {
        let mut session = Session::empty();
        session.lives(1, 1, 0, 9_000, End::Stopped);
        session.lives(2, 1, 0, 9_000, End::Stopped);
        for (from, to) in [(1, 2), (2, 1)] {
            session.sends(from, 1, to, 1, 10, 1_000);
            session.gets(to, 1, (from, 1), 1, 10, 1_001);
        }
        session
    }

    pub fn lives(&mut self, pid: Pid, run: u32, spawned: u64, ended: u64, end: End) {
        if end == End::Stopped {
            let stopped = entry(Kind::Stopped, 0, ended).with(MILLISECOND, 0);
            self.events(pid, run, vec![stopped, entry(Kind::Drained, 0, ended)]);
        }
        let (spawned, ended) = (spawned * MILLISECOND, ended * MILLISECOND);
        self.journal.runs.push(Run { pid, run, spawned, ended, end });
    }

    pub fn crash(&mut self, pid: Pid, run: u32, ended: u64) {
        for each in self.journal.runs.iter_mut().filter(|each| (each.pid, each.run) == (pid, run)) {
            (each.ended, each.end) = (ended * MILLISECOND, End::Crashed("by itself".to_owned()));
        }
    }

    pub fn sends(&mut self, pid: Pid, run: u32, to: Pid, first: u64, last: u64, time: u64) {
        let reserved = entry(Kind::Reserved, to, time).with(last + 100, 0);
        self.events(pid, run, vec![reserved, entry(Kind::Accepted, to, time).with(first, last)]);
    }

    pub fn gets(&mut self, pid: Pid, run: u32, from: (Pid, u32), first: u64, last: u64, time: u64) {
        let record = Record { run: from.1, ..entry(Kind::Received, from.0, time).with(first, last) };
        self.events(pid, run, vec![record]);
    }

    /// Adds messages that the first run of a server sends on a stream.
    pub fn sends_on(&mut self, stream: Stream, pid: Pid, to: Pid, first: u64, last: u64, time: u64) {
        let reserved = entry(Kind::Reserved, to, time).with(last + 100, 0);
        let accepted = entry(Kind::Accepted, to, time).with(first, last);
        self.events(pid, 1, [reserved, accepted].map(|record| Record { stream, ..record }).to_vec());
    }

    pub fn gets_on(&mut self, stream: Stream, pid: Pid, from: Pid, first: u64, last: u64, time: u64) {
        let record = Record { run: 1, stream, ..entry(Kind::Received, from, time).with(first, last) };
        self.events(pid, 1, vec![record]);
    }

    /// Adds a removal by the first run of a server: the peer had not acknowledged `messages` messages, and is added
    /// again.
    pub fn removes(&mut self, pid: Pid, peer: Pid, time: u64, messages: u64, added: u64) {
        let removed = entry(Kind::Removed, peer, time + 1).with(messages, 0);
        let records = vec![entry(Kind::Removing, peer, time), removed, entry(Kind::Added, peer, added)];
        self.events(pid, 1, records);
    }

    /// Adds the messages that the first run of a server has dropped, by statistics and events: expired, best effort,
    /// removed.
    pub fn losses(&mut self, pid: Pid, peer: Pid, expired: u64, best_effort: u64, removed: u64) {
        let counts = [(EXPIRED, expired), (BEST_EFFORT, best_effort), (PEER_REMOVED, removed)];
        let told = counts.map(|(reason, count)| entry(Kind::Dropped, peer, 8_000).with(count, reason));
        self.events(pid, 1, told.to_vec());
        let perished = entry(Kind::Perished, peer, 9_000).with(expired, best_effort);
        self.events(pid, 1, vec![perished, entry(Kind::GivenUp, peer, 9_000).with(removed, 0)]);
    }

    pub fn flushes(&mut self, pid: Pid, peer: Pid, last: u64, time: u64) {
        self.events(pid, 1, vec![entry(Kind::Flushed, peer, time).with(last, time * MILLISECOND)]);
    }

    pub fn events(&mut self, pid: Pid, run: u32, records: Vec<Record>) {
        self.records.extend(records.into_iter().map(|record| (pid, run, record)));
    }

    pub fn fault(&mut self, kind: plan::Kind, pid: Pid, other: Option<Pid>, begin: u64, end: u64) {
        let (begin, end) = (begin * MILLISECOND, end * MILLISECOND);
        self.journal.faults.push(Injected { kind, pid, other, begin, in_force: begin, ends: end, end, amount: 0 });
    }

    /// Adds a lie to server 2 in the name of server 1, on a connection that ends at once.
    pub fn lie(&mut self, lie: Lie, time: u64) -> &mut ToldLie {
        let at = time * MILLISECOND;
        let lie = ToldLie { at, from: 1, to: 2, lie, lost_bytes: 0, lost: Vec::new(), ended: Some(at + MILLISECOND) };
        self.journal.lies.push(lie);
        let last = self.journal.lies.len() - 1;
        &mut self.journal.lies[last]
    }

    pub fn report(&self) -> Report {
        let runs = self.journal.runs.iter().map(|run| {
            let mut facts = RunFacts::new(run.clone());
            let own = self.records.iter().filter(|(pid, number, _)| (*pid, *number) == (run.pid, run.run));
            own.for_each(|(_, _, record)| facts.take(record));
            facts
        });
        judge(&Facts::new(self.journal.clone(), runs.collect()))
    }

    /// Returns the promises that were broken.
    pub fn broken(&self) -> Vec<Promise> {
        self.report().violations.iter().map(|violation| violation.promise).collect()
    }
}

/// Returns an entry at this millisecond.
pub fn entry(kind: Kind, peer: Pid, time: u64) -> Record {
    Record::about(kind, peer, time * MILLISECOND)
}
