//! Checks that peers are told of a restart, once, before they are told that the new run is up.

use std::collections::BTreeMap;

use super::facts::{Facts, RunFacts};
use super::violation::{Promise, Violation};
use crate::log::Kind;

/// Checks the events of each run.
pub fn check(facts: &Facts, violations: &mut Vec<Violation>) {
    for run in &facts.runs {
        // A run that missed events may have missed a restart.
        if !run.events.iter().any(|event| event.kind == Kind::Missed) {
            check_run(run, violations);
        }
    }
}

fn check_run(run: &RunFacts, violations: &mut Vec<Violation>) {
    // Incarnations by peer: the one that was last up, and the one of the last reported restart.
    let mut up = BTreeMap::new();
    let mut told = BTreeMap::new();
    for event in &run.events {
        let (peer, incarnation) = (event.peer, (event.first, event.second));
        let wrong = match event.kind {
            Kind::Restarted => {
                told.insert(peer, incarnation);
                (up.get(&peer) == Some(&incarnation)).then_some("was told of a restart that was none")
            }
            Kind::Up => {
                let before = up.insert(peer, incarnation);
                let changed = before.is_some_and(|before| before != incarnation);
                (changed && told.get(&peer) != Some(&incarnation)).then_some("was not told of a restart")
            }
            Kind::RemovedEvent => {
                // The next link to this peer is a new one, which has not met any incarnation yet.
                up.remove(&peer);
                told.remove(&peer);
                None
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            let text = format!("{} (run {}) {wrong} of {peer}", run.run.pid, run.run.run);
            violations.push(Violation { promise: Promise::Restarts, time: event.time, text });
        }
    }
}
