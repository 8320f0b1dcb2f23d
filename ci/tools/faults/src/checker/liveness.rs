//! Checks of time: a peer that is gone is noticed, a live one is not taken to be gone, and traffic resumes.
//!
//! Faults overlap. A pair of servers is checked only where exactly one of the faults, or none, can be the reason.

use std::collections::BTreeMap;

use cluster::Pid;

use super::facts::{Facts, RunFacts};
use super::report::Measured;
use super::violation::{Promise, Violation};
use crate::clock::{MILLISECOND, SECOND};
use crate::journal::End;
use crate::log;
use crate::plan::{Injected, Kind};

/// Checks every pair, and returns the measured times.
pub fn check(facts: &Facts, violations: &mut Vec<Violation>) -> Measured {
    let mut judge = Judge { facts, faults: faults(facts), measured: Measured::default(), violations };
    judge.downs();
    judge.false_downs();
    judge.resumes();
    judge.stillness();
    judge.measured
}

/// Returns the injected faults, and the crashes of servers as further faults.
fn faults(facts: &Facts) -> Vec<Injected> {
    let mut faults = facts.faults.clone();
    for run in facts.runs.iter().filter(|run| matches!(run.run.end, End::Crashed(_))) {
        let begin = run.run.ended.saturating_sub(SECOND);
        let (pid, end) = (run.run.pid, run.run.ended);
        faults.push(Injected { kind: Kind::Kill, pid, other: None, begin, in_force: begin, ends: end, end, amount: 0 });
    }
    faults
}

struct Judge<'a> {
    facts: &'a Facts,
    faults: Vec<Injected>,
    measured: Measured,
    violations: &'a mut Vec<Violation>,
}

impl Judge<'_> {
    /// Checks that peers that are gone are noticed.
    fn downs(&mut self) {
        let mut noticed: BTreeMap<Kind, Vec<u64>> = BTreeMap::new();
        for fault in &self.faults {
            for (observer, gone) in self.observers(fault) {
                let bound = bound(fault.kind);
                if fault.in_force + bound > self.facts.journal.quiet_at
                    || (lasts(fault.kind) && fault.ends < fault.in_force + bound)
                {
                    continue;
                }
                let from = fault.begin.saturating_sub(GRACE);
                if self.is_touched(observer, gone, from, fault.in_force + bound, Some(fault)) {
                    continue;
                }
                let Some(run) = self.facts.alive(observer, fault.begin.saturating_sub(SECOND), fault.in_force + bound)
                else {
                    continue;
                };
                if !was_up(run, gone, fault.begin) {
                    continue;
                }
                let down = run
                    .events
                    .iter()
                    .find(|event| event.kind == log::Kind::Down && event.peer == gone && event.time >= fault.begin);
                let took = down.map(|down| down.time.saturating_sub(fault.in_force));
                if let Some(took) = took {
                    noticed.entry(fault.kind).or_default().push(took);
                }
                if took.is_none_or(|took| took > bound) {
                    let how = took.map_or("not at all".to_owned(), |took| format!("after {} ms", took / MILLISECOND));
                    let text = format!("{observer} noticed {how} that {gone} was gone ({})", fault.kind.name());
                    let violation = Violation { promise: Promise::DownInTime, time: fault.begin, text };
                    self.violations.push(violation);
                }
            }
        }
        self.measured.downs = noticed;
    }

    /// Returns the pairs of a server that has to notice the fault and the peer that it misses.
    fn observers(&self, fault: &Injected) -> Vec<(Pid, Pid)> {
        let others = || self.facts.journal.pids.iter().copied().filter(|pid| *pid != fault.pid);
        match (fault.kind, fault.other) {
            (Kind::Kill | Kind::Leave | Kind::Stop, _) => others().map(|other| (other, fault.pid)).collect(),
            (Kind::LinkDown, _) => others().flat_map(|other| [(other, fault.pid), (fault.pid, other)]).collect(),
            (Kind::OneWay, Some(other)) => vec![(other, fault.pid)],
            _ => Vec::new(),
        }
    }

    /// Checks that live peers are not taken to be gone.
    fn false_downs(&mut self) {
        for run in &self.facts.runs {
            let quiet_at = self.facts.journal.quiet_at;
            // Events while all servers stop are expected.
            for event in run.events.iter().filter(|event| event.kind == log::Kind::Down && event.time < quiet_at) {
                self.measured.down_events += 1;
                let (from, to) = (event.time.saturating_sub(GRACE), event.time);
                if !self.is_touched(run.run.pid, event.peer, from, to, None) {
                    let text = format!(
                        "{} (run {}) took {} to be gone (reason {}), and no fault had touched them for {} s",
                        run.run.pid,
                        run.run.run,
                        event.peer,
                        event.first,
                        GRACE / SECOND
                    );
                    self.violations.push(Violation { promise: Promise::NoFalseDown, time: event.time, text });
                }
            }
        }
    }

    /// Checks that messages flow both ways soon after a restart.
    fn resumes(&mut self) {
        for run in self.facts.runs.iter().filter(|run| run.run.run > 1) {
            // Measured from when the program ran: before that, the machine was starting it.
            let (pid, spawned) = (run.run.pid, run.run.spawned);
            let begin = run.running.unwrap_or(spawned);
            let restart = self.faults.iter().find(|fault| {
                fault.kind.restarts() && fault.pid == pid && fault.begin <= spawned && spawned <= fault.end
            });
            for &peer in self.facts.journal.pids.iter().filter(|peer| **peer != pid) {
                let from = spawned.saturating_sub(SECOND);
                // A replayed greeting in the server's name may cost it one dial.
                let replayed = self.is_replayed(pid, peer, from, begin + RESUME);
                let bound = if replayed { RESUME_REPLAYED } else { RESUME };
                let end = begin + bound;
                let Some(other) = self.facts.alive(peer, from.saturating_sub(SECOND), end) else { continue };
                if end > self.facts.journal.quiet_at
                    || run.run.ended < end
                    || self.is_impeded(pid, peer, from, end, restart)
                {
                    continue;
                }
                let there = other.first_received.get(&(pid, run.run.run)).copied();
                let back = run.first_received.get(&(peer, other.run.run)).copied();
                for (arrived, direction) in [(there, "from"), (back, "to")] {
                    let took = arrived.map(|arrived| arrived.saturating_sub(begin));
                    let measured = &mut self.measured;
                    let times = if replayed { &mut measured.resumes_replayed } else { &mut measured.resumes };
                    times.extend(took);
                    if took.is_none_or(|took| took > bound) {
                        let how =
                            took.map_or("nothing".to_owned(), |took| format!("nothing for {} ms", took / MILLISECOND));
                        let text = format!("{how} {direction} {pid} (run {}), with {peer}", run.run.run);
                        self.violations.push(Violation { promise: Promise::ResumeInTime, time: begin, text });
                    }
                }
            }
        }
    }

    /// Checks that messages flow all the time between servers without faults.
    fn stillness(&mut self) {
        let pids = &self.facts.journal.pids;
        for (&from, &to) in pids.iter().flat_map(|from| pids.iter().map(move |to| (from, to))) {
            if from == to {
                continue;
            }
            for receiver in self.facts.runs_of(to) {
                let first = receiver.run.spawned / SECOND + 2;
                let last = receiver.run.ended.min(self.facts.journal.quiet_at) / SECOND;
                let mut second = first;
                while second + STILL_SECONDS < last {
                    let (begin, end) = (second * SECOND, (second + STILL_SECONDS) * SECOND);
                    let seconds = second..second + STILL_SECONDS;
                    let count = seconds.filter_map(|second| receiver.per_second.get(&(from, second))).count();
                    let sends = self.facts.alive(from, begin.saturating_sub(2 * SECOND), end).is_some();
                    if count == 0 && sends && !self.is_impeded(from, to, begin.saturating_sub(GRACE), end, None) {
                        let text = format!("nothing came from {from} to {to} for {STILL_SECONDS} s, without a fault");
                        self.violations.push(Violation { promise: Promise::Traffic, time: begin, text });
                    }
                    second += STILL_SECONDS;
                }
            }
        }
    }

    /// Returns whether a fault, other than `but`, may have cut the connection of two servers between two times.
    fn is_touched(&self, one: Pid, two: Pid, from: u64, to: u64, but: Option<&Injected>) -> bool {
        self.faults.iter().any(|fault| fault.kind.may_disconnect() && matters(fault, one, two, from, to, but))
            || self.was_stalled(from, to)
    }

    /// Returns whether a fault, other than `but`, may have kept messages from flowing between two times.
    fn is_impeded(&self, one: Pid, two: Pid, from: u64, to: u64, but: Option<&Injected>) -> bool {
        self.faults.iter().any(|fault| fault.kind.may_impede() && matters(fault, one, two, from, to, but))
            || self.was_stalled(from, to)
    }

    /// Returns whether a replay has greeted one of the two servers in the other's name.
    fn is_replayed(&self, one: Pid, two: Pid, from: u64, to: u64) -> bool {
        self.faults.iter().any(|fault| fault.kind == Kind::Replay && matters(fault, one, two, from, to, None))
    }

    fn was_stalled(&self, from: u64, to: u64) -> bool {
        self.facts.journal.stalls.iter().any(|(begin, end)| *begin <= to && *end >= from)
    }
}

fn matters(fault: &Injected, one: Pid, two: Pid, from: u64, to: u64, but: Option<&Injected>) -> bool {
    fault.touches(one, two) && fault.begin <= to && fault.end >= from && Some(fault) != but
}

/// Returns whether the observer's last event about the peer was `Up`.
fn was_up(run: &RunFacts, peer: Pid, at: u64) -> bool {
    let last = run
        .events
        .iter()
        .rfind(|event| event.peer == peer && event.time < at && matches!(event.kind, log::Kind::Up | log::Kind::Down));
    last.is_some_and(|last| last.kind == log::Kind::Up)
}

/// Returns the time within which a fault of this kind has to be noticed.
fn bound(kind: Kind) -> u64 {
    // A server that is told to stop first delivers its messages, for two seconds at most.
    if kind == Kind::Leave { DOWN + 2 * SECOND } else { DOWN }
}

/// Returns whether the fault has no effect after its end: one that ends before it must be noticed need not be noticed.
fn lasts(kind: Kind) -> bool {
    !kind.restarts()
}

const DOWN: u64 = 1_500 * MILLISECOND;
const RESUME: u64 = SECOND;
const RESUME_REPLAYED: u64 = RESUME + LONGEST_PAUSE;
/// Longest pause before a dial is repeated that a replayed greeting has thwarted.
const LONGEST_PAUSE: u64 = SECOND;
/// Time after its end in which a fault may still be the reason of a violation.
const GRACE: u64 = 3 * SECOND;
const STILL_SECONDS: u64 = 4;
