//! A session made by hand. Times are milliseconds.

use cluster::Pid;

use crate::checker::facts::{Facts, RunFacts};
use crate::checker::judge;
use crate::checker::report::Report;
use crate::checker::violation::Promise;
use crate::clock::MILLISECOND;
use crate::journal::{End, Journal, Run};
use crate::log::{Kind, Record};
use crate::plan::{self, Injected};

#[derive(Default)]
pub struct Session {
    pub journal: Journal,
    /// Of which server and run.
    pub records: Vec<(Pid, u32, Record)>,
}

impl Session {
    /// Nothing has happened yet; two servers.
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

    /// Two servers that send each other ten messages, and stop.
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

    pub fn events(&mut self, pid: Pid, run: u32, records: Vec<Record>) {
        self.records.extend(records.into_iter().map(|record| (pid, run, record)));
    }

    pub fn fault(&mut self, kind: plan::Kind, pid: Pid, other: Option<Pid>, begin: u64, end: u64) {
        let (begin, end) = (begin * MILLISECOND, end * MILLISECOND);
        self.journal.faults.push(Injected { kind, pid, other, begin, end, amount: 0 });
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

    /// The promises that were broken.
    pub fn broken(&self) -> Vec<Promise> {
        self.report().violations.iter().map(|violation| violation.promise).collect()
    }
}

/// An entry at this millisecond.
pub fn entry(kind: Kind, peer: Pid, time: u64) -> Record {
    Record::about(kind, peer, time * MILLISECOND)
}
