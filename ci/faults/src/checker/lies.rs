//! Lies: each is noticed, and costs what it may and nothing else.

use std::collections::BTreeSet;

use cluster::Pid;

use super::facts::Facts;
use super::violation::{Promise, Violation};
use crate::clock::SECOND;
use crate::journal::ToldLie;
use crate::log::Kind;
use crate::plan;

/// Looks at what became of each lie, and at the reason of each reset.
pub fn check(facts: &Facts, violations: &mut Vec<Violation>) {
    for lie in &facts.journal.lies {
        // What a greeting says may not matter to the listener; whatever else it does, delivery is checked.
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

/// What was lost with these lies, by their index, is in a `Down` of who has read it. Whose session was over before it
/// had read that is told nothing: so where something else may have ended it, nobody is judged.
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

/// The lie after which two servers may have begun anew at this time: the first one that lies near enough, or with
/// nothing but faults between.
pub fn reason_of_reset(facts: &Facts, one: Pid, two: Pid, time: u64) -> Option<&ToldLie> {
    let between = |lie: &&ToldLie| (lie.from, lie.to) == (one, two) || (lie.from, lie.to) == (two, one);
    let mut lies: Vec<&ToldLie> = facts.journal.lies.iter().filter(between).collect();
    lies.sort_by_key(|lie| lie.at);
    let mut lies = lies.into_iter().filter(|lie| lie.lie.may_reset() && lie.at <= time);
    lies.find(|lie| time <= lie.at + ANEW || is_disturbed(facts, one, two, lie.at.saturating_sub(GRACE), time))
}

/// Whether nothing kept the two from hearing, and reading, what was said.
fn was_heard(facts: &Facts, lie: &ToldLie) -> bool {
    let (from, to) = (lie.at.saturating_sub(GRACE), lie.at + NOTICED);
    let lived = [lie.from, lie.to].iter().all(|pid| facts.alive(*pid, from, to).is_some());
    lived && !is_disturbed(facts, lie.from, lie.to, from, to)
}

/// Whether something else than lies may have kept the two from speaking.
fn is_disturbed(facts: &Facts, one: Pid, two: Pid, from: u64, to: u64) -> bool {
    let others = facts.faults.iter().filter(|fault| fault.kind.may_impede() && fault.kind != plan::Kind::Lie);
    let mut between = others.filter(|fault| fault.touches(one, two));
    let stalled = facts.journal.stalls.iter().any(|(begin, end)| *begin <= to && *end >= from);
    stalled || between.any(|fault| fault.begin <= to && fault.end >= from)
}

/// A lie ends its connection within this time.
const NOTICED: u64 = SECOND;
/// So soon two servers find that they contradict each other, if they can speak.
const ANEW: u64 = 5 * SECOND;
/// For so long after its end a fault may be the reason of something.
const GRACE: u64 = 3 * SECOND;
