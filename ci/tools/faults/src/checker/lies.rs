//! Checks that each lie is noticed, and costs no more than it may.

use std::collections::BTreeSet;

use cluster::Pid;

use super::facts::Facts;
use super::violation::{Promise, Violation};
use crate::clock::SECOND;
use crate::journal::ToldLie;
use crate::log::Kind;
use crate::plan;

/// Checks the consequences of each lie, and the reason of each reset.
pub fn check(facts: &Facts, violations: &mut Vec<Violation>) {
    for lie in &facts.journal.lies {
        // A lie in a greeting may not matter to the receiver. Its other consequences are checked as part of delivery.
        let ended = lie.ended.is_some_and(|ended| ended <= lie.at + NOTICED);
        if ended || lie.lie.is_of_greeting() || lie.at + NOTICED > facts.journal.quiet_at || !was_heard(facts, lie) {
            continue;
        }
        let text = format!("{} seemed to say to {}: {}; the connection went on", lie.from, lie.to, lie.lie.name());
        violations.push(Violation { promise: Promise::LiesNoticed, time: lie.at, text });
    }
    for run in &facts.runs {
        for event in run.events.iter().filter(|event| event.kind == Kind::Reset) {
            if reason_of_reset(facts, run.run.pid, event.peer, event.time).is_none() {
                let text =
                    format!("{} (run {}) and {} began anew, and nobody had lied", run.run.pid, run.run.run, event.peer);
                violations.push(Violation { promise: Promise::Resets, time: event.time, text });
            }
        }
    }
}

/// Checks that the losses of these lies, given by their index, are in a `Down` of the receiver. A receiver whose
/// session ended before it had read the lie is told nothing: a lie near another fault is therefore not checked.
pub fn check_counted(facts: &Facts, lies: &BTreeSet<usize>, violations: &mut Vec<Violation>) {
    let lies = lies.iter().filter_map(|index| facts.journal.lies.get(*index));
    for lie in lies.filter(|lie| was_heard(facts, lie)) {
        let (from, to, bytes) = (lie.from, lie.to, lie.lost_bytes);
        let was_counted = facts.runs_of(to).flat_map(|run| &run.events).any(|event| match event.kind {
            Kind::Missed => true,
            Kind::Down => event.time >= lie.at && (event.peer, event.second) == (from, bytes),
            _ => false,
        });
        if !was_counted {
            let text = format!("{bytes} bytes from {from} are lost, and {to} was not told");
            violations.push(Violation { promise: Promise::LiesNoticed, time: lie.at, text });
        }
    }
}

/// Returns the lie after which two servers may have reset their streams at `time`: the first one that is near enough,
/// or separated from `time` only by faults.
pub fn reason_of_reset(facts: &Facts, one: Pid, two: Pid, time: u64) -> Option<&ToldLie> {
    let between = |lie: &&ToldLie| (lie.from, lie.to) == (one, two) || (lie.from, lie.to) == (two, one);
    let mut lies: Vec<&ToldLie> = facts.journal.lies.iter().filter(between).collect();
    lies.sort_by_key(|lie| lie.at);
    let mut lies = lies.into_iter().filter(|lie| lie.lie.may_reset() && lie.at <= time);
    lies.find(|lie| time <= lie.at + ANEW || is_disturbed(facts, one, two, lie.at.saturating_sub(GRACE), time))
}

/// Returns whether the receiver must have received and read the lie.
fn was_heard(facts: &Facts, lie: &ToldLie) -> bool {
    let (from, to) = (lie.at.saturating_sub(GRACE), lie.at + NOTICED);
    let lived = [lie.from, lie.to].iter().all(|pid| facts.alive(*pid, from, to).is_some());
    lived && !is_disturbed(facts, lie.from, lie.to, from, to)
}

/// Returns whether a fault other than lies may have disturbed the connection of the two.
fn is_disturbed(facts: &Facts, one: Pid, two: Pid, from: u64, to: u64) -> bool {
    let others = facts.faults.iter().filter(|fault| fault.kind.may_impede() && fault.kind != plan::Kind::Lie);
    let mut between = others.filter(|fault| fault.touches(one, two));
    let stalled = facts.journal.stalls.iter().any(|(begin, end)| *begin <= to && *end >= from);
    stalled || between.any(|fault| fault.begin <= to && fault.end >= from)
}

/// Time within which a lie ends its connection.
const NOTICED: u64 = SECOND;
/// Time within which two servers that can talk find that they contradict each other.
const ANEW: u64 = 5 * SECOND;
/// Time after its end in which a fault may still be the reason of a violation.
const GRACE: u64 = 3 * SECOND;
