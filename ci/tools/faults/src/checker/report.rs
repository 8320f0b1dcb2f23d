//! Result of a session, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::facts::Facts;
use super::processes::memory_limit;
use super::violation::{Promise, Violation};
use crate::clock::MILLISECOND;
use crate::log;
use crate::plan::{Kind, Lie};

/// Fates of all accepted messages. Messages in none of these fields are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Messages received by at least one run of the recipient.
    pub arrived: u64,
    /// Messages in the inbox of a run that died, as far as the logs can tell.
    pub died_with_receiver: u64,
    /// Messages still in the outbox of a run that died.
    pub died_with_sender: u64,
    /// Messages that the sender's stop reported as not, or not certainly, delivered.
    pub undelivered: u64,
    /// Expired or best-effort messages that were counted as dropped.
    pub perished: u64,
    /// Messages that were not acknowledged when the recipient was removed.
    pub removed: u64,
    /// Messages behind a frame that a lie had broken.
    pub behind_lies: u64,
}

impl Account {
    /// Returns the number of all messages that are accounted for.
    pub fn total(&self) -> u64 {
        let Account { arrived, died_with_receiver, died_with_sender, undelivered, perished, removed, behind_lies } =
            *self;
        arrived + died_with_receiver + died_with_sender + undelivered + perished + removed + behind_lies
    }
}

/// Measured times, in nanoseconds.
#[derive(Debug, Default)]
pub struct Measured {
    /// Times from a fault to the `Down`, where one was expected.
    pub downs: BTreeMap<Kind, Vec<u64>>,
    /// Times from when a program ran to the first message, each way with each peer.
    pub resumes: Vec<u64>,
    /// Times from when a program ran to the first message, while earlier connections were replayed.
    pub resumes_replayed: Vec<u64>,
    pub down_events: u64,
}

/// Report of a session.
pub struct Report {
    pub seed: u64,
    pub servers: usize,
    pub runs: usize,
    pub injected: BTreeMap<Kind, u64>,
    /// Lies that were told, by kind.
    pub lies: BTreeMap<Lie, u64>,
    /// Number of times that a server was told of a reset of the streams with a peer.
    pub resets: usize,
    pub accepted: u64,
    pub account: Account,
    pub full: u64,
    pub received: u64,
    pub most_memory: u64,
    pub memory_limit: u64,
    pub stalls: usize,
    pub hitches: usize,
    pub long_starts: usize,
    pub ended_early: Option<String>,
    pub measured: Measured,
    /// Violations, by time.
    pub violations: Vec<Violation>,
}

impl Report {
    pub fn new(facts: &Facts, account: Account, measured: Measured, violations: Vec<Violation>) -> Report {
        let mut injected = BTreeMap::new();
        for fault in &facts.journal.faults {
            *injected.entry(fault.kind).or_default() += 1;
        }
        let mut lies = BTreeMap::new();
        for lie in &facts.journal.lies {
            *lies.entry(lie.lie).or_default() += 1;
        }
        let full = facts.runs.iter().flat_map(|run| run.sent.values()).map(|sent| sent.full.count()).sum();
        Report {
            seed: facts.journal.seed,
            servers: facts.journal.pids.len(),
            runs: facts.runs.len(),
            injected,
            lies,
            resets: facts
                .runs
                .iter()
                .flat_map(|run| &run.events)
                .filter(|event| event.kind == log::Kind::Reset)
                .count(),
            accepted: facts.runs.iter().map(|run| run.accepted(None)).sum(),
            account,
            full,
            received: facts.runs.iter().map(|run| run.received(None)).sum(),
            most_memory: facts.runs.iter().map(|run| run.most_memory).max().unwrap_or_default(),
            memory_limit: memory_limit(facts),
            stalls: facts.journal.stalls.len(),
            hitches: facts.journal.hitches.len(),
            long_starts: facts.journal.long_starts.len(),
            ended_early: facts.journal.ended_early.clone(),
            measured,
            violations,
        }
    }

    /// Returns the number of violations by promise.
    pub fn by_promise(&self) -> BTreeMap<Promise, u64> {
        let mut counts = BTreeMap::new();
        for violation in &self.violations {
            *counts.entry(violation.promise).or_default() += 1;
        }
        counts
    }

    /// Returns a table for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<42} {value:>14}");
        };
        line("seed", &self.seed);
        line("servers", &self.servers);
        line("processes", &self.runs);
        for (kind, count) in &self.injected {
            line(&format!("fault: {}", kind.name()), count);
        }
        line("faults", &self.injected.values().sum::<u64>());
        for (lie, count) in &self.lies {
            line(&format!("lie: {}", lie.name()), count);
        }
        line("messages accepted", &self.accepted);
        line("  that arrived", &self.account.arrived);
        line("  in the inbox of a process that was killed", &self.account.died_with_receiver);
        line("  in the outbox of one that was killed", &self.account.died_with_sender);
        line("  that a stop reported as undelivered", &self.account.undelivered);
        line("  given up: stale, or best effort", &self.account.perished);
        line("  given up with a removed peer", &self.account.removed);
        line("  behind a frame that a lie had broken", &self.account.behind_lies);
        line("messages given back: no room", &self.full);
        line("messages received and checked", &self.received);
        line("Down events", &self.measured.down_events);
        line("Reset events", &self.resets);
        for (kind, times) in &self.measured.downs {
            let name = format!("Down judged: {} (most, ms)", kind.name());
            line(&name, &format!("{} ({})", times.len(), most(times)));
        }
        let resumes = &self.measured.resumes;
        line("resumes judged (most, ms)", &format!("{} ({})", resumes.len(), most(resumes)));
        let replayed = &self.measured.resumes_replayed;
        line("resumes judged while replayed (most, ms)", &format!("{} ({})", replayed.len(), most(replayed)));
        line(
            "memory, most of a server (limit, MiB)",
            &format!("{} ({})", self.most_memory >> 20, self.memory_limit >> 20),
        );
        line("stalls of the machine", &self.stalls);
        line("servers not up after 250 ms", &self.long_starts);
        line("hitches of the conductor", &self.hitches);
        for (promise, count) in self.by_promise() {
            line(&format!("violations: {}", promise.name()), &count);
        }
        line("violations", &self.violations.len());
        text
    }

    /// Returns the report as JSON for programs.
    pub fn json(&self) -> Value {
        let injected: BTreeMap<String, u64> = self.injected.iter().map(|(kind, count)| (name(kind), *count)).collect();
        let violated: BTreeMap<String, u64> =
            self.by_promise().iter().map(|(promise, count)| (name(promise), *count)).collect();
        let downs: BTreeMap<String, Value> = (self.measured.downs.iter())
            .map(|(kind, times)| (name(kind), json!({"judged": times.len(), "most_ms": most(times)})))
            .collect();
        json!({
            "seed": self.seed,
            "servers": self.servers,
            "processes": self.runs,
            "faults": injected,
            "lies": self.lies.iter().map(|(lie, count)| (name(lie), *count)).collect::<BTreeMap<String, u64>>(),
            "resets": self.resets,
            "messages": {
                "accepted": self.accepted,
                "arrived": self.account.arrived,
                "died_with_receiver": self.account.died_with_receiver,
                "died_with_sender": self.account.died_with_sender,
                "undelivered": self.account.undelivered,
                "perished": self.account.perished,
                "removed": self.account.removed,
                "behind_lies": self.account.behind_lies,
                "full": self.full,
                "received": self.received,
            },
            "down_events": self.measured.down_events,
            "downs": downs,
            "resumes": {"judged": self.measured.resumes.len(), "most_ms": most(&self.measured.resumes)},
            "memory_bytes": {"most": self.most_memory, "limit": self.memory_limit},
            "stalls": self.stalls,
            "hitches": self.hitches,
            "long_starts": self.long_starts,
            "ended_early": self.ended_early,
            "violations": violated,
            "first_violations": self.violations.iter().take(20).map(Violation::to_string).collect::<Vec<String>>(),
        })
    }
}

/// Returns the name that serde gives a variant.
fn name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Returns the longest of these times, in milliseconds.
pub fn most(times: &[u64]) -> u64 {
    times.iter().max().copied().unwrap_or_default() / MILLISECOND
}
