//! Checks of what servers report: their statistics, returned messages, and undelivered messages of a stop.

use super::facts::{Facts, RunFacts};
use super::violation::{Promise, Violation};
use crate::journal::End;
use crate::log::Kind;
use crate::node;

/// Compares the reports of each run with its logs.
pub fn check(facts: &Facts, violations: &mut Vec<Violation>) {
    for run in &facts.runs {
        let name = format!("{} (run {})", run.run.pid, run.run.run);
        for ((peer, stream), sent) in &run.sent {
            if let Some(span) = sent.given_back.iter().next() {
                let text = format!("{stream:?} {name} -> {peer}: {}..={} came back", span.first, span.last);
                violations.push(Violation { promise: Promise::OnlyFull, time: span.time, text });
            }
        }
        for record in &run.strays {
            let what = if record.kind == Kind::Uninvited { "received from" } else { "was allowed to send to" };
            let text =
                format!("{:?} {name} {what} {}, which it had removed: {}", record.stream, record.peer, record.first);
            violations.push(Violation { promise: Promise::Membership, time: record.time, text });
        }
        for record in &run.corrupt {
            let text = format!("{name} got {} bytes from {} that nobody sent so", record.first, record.peer);
            violations.push(Violation { promise: Promise::Intact, time: record.time, text });
        }
        if run.run.end == End::Stopped {
            check_statistics(run, &name, violations);
            check_losses(run, &name, violations);
            check_end(facts, run, &name, violations);
        }
    }
}

fn check_statistics(run: &RunFacts, name: &str, violations: &mut Vec<Violation>) {
    for (peer, (out, taken)) in &run.statistics {
        let corrupt = run.corrupt.iter().filter(|record| record.peer == *peer).count() as u64;
        let uncertain = run.uncertain.get(peer).copied().unwrap_or_default();
        for (what, says, is, perhaps) in [
            ("sent to", *out, run.accepted(Some(*peer)), uncertain),
            ("received from", *taken, run.received(Some(*peer)) + corrupt, 0),
        ] {
            if !(is..=is + perhaps).contains(&says) {
                let text = format!("{name} has {what} {peer} {is} messages, and its statistics say {says}");
                violations.push(Violation { promise: Promise::Statistics, time: run.run.ended, text });
            }
        }
    }
}

/// Checks that the statistics of dropped messages agree with events, removals and the stop.
fn check_losses(run: &RunFacts, name: &str, violations: &mut Vec<Violation>) {
    let missed = run.events.iter().any(|event| event.kind == Kind::Missed);
    for (peer, losses) in &run.losses {
        let told = |reason| run.dropped.get(&(*peer, reason)).copied().unwrap_or_default();
        let removed: u64 = run.removals_of(*peer).map(|removal| removal.messages).sum();
        let undelivered = run.undelivered.get(peer).copied().unwrap_or_default();
        let by_events = [
            ("stale (by events)", losses.expired, told(node::EXPIRED)),
            ("best effort (by events)", losses.best_effort, told(node::BEST_EFFORT)),
            ("of a removed peer (by events)", losses.removed, told(node::PEER_REMOVED)),
        ];
        let by_calls = [("of a removed peer", losses.removed, removed), ("at the stop", losses.stopped, undelivered)];
        for (what, says, is) in by_events.into_iter().filter(|_| !missed).chain(by_calls) {
            if says != is {
                let text = format!("{name} gave up {is} messages to {peer} {what}, and its statistics say {says}");
                violations.push(Violation { promise: Promise::Perished, time: run.run.ended, text });
            }
        }
    }
}

fn check_end(facts: &Facts, run: &RunFacts, name: &str, violations: &mut Vec<Violation>) {
    // Earlier stops are faults, and may find peers absent.
    if run.run.ended < facts.journal.quiet_at {
        return;
    }
    for (peer, count) in &run.undelivered {
        let text = format!("{name} could not deliver {count} messages to {peer}, with every fault over for seconds");
        violations.push(Violation { promise: Promise::AllDelivered, time: run.run.ended, text });
    }
}
