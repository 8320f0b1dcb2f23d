//! What servers say about themselves: their statistics, what came back, what a stop could not deliver.

use super::facts::{Facts, RunFacts};
use super::violation::{Promise, Violation};
use crate::journal::End;

/// Compares what each run said with what it did.
pub fn check(facts: &Facts, violations: &mut Vec<Violation>) {
    for run in &facts.runs {
        let name = format!("{} (run {})", run.run.pid, run.run.run);
        for ((peer, stream), sent) in &run.sent {
            if let Some(span) = sent.given_back.iter().next() {
                let text = format!("{stream:?} {name} -> {peer}: {}..={} came back", span.first, span.last);
                violations.push(Violation { promise: Promise::OnlyFull, time: span.time, text });
            }
        }
        for record in &run.corrupt {
            let text = format!("{name} got {} bytes from {} that nobody sent so", record.first, record.peer);
            violations.push(Violation { promise: Promise::Intact, time: record.time, text });
        }
        if run.run.end == End::Stopped {
            check_statistics(run, &name, violations);
            check_end(facts, run, &name, violations);
        }
    }
}

fn check_statistics(run: &RunFacts, name: &str, violations: &mut Vec<Violation>) {
    for (peer, (out, taken)) in &run.statistics {
        let corrupt = run.corrupt.iter().filter(|record| record.peer == *peer).count() as u64;
        for (what, says, is) in [
            ("sent to", *out, run.accepted(Some(*peer))),
            ("received from", *taken, run.received(Some(*peer)) + corrupt),
        ] {
            if says != is {
                let text = format!("{name} has {what} {peer} {is} messages, and its statistics say {says}");
                violations.push(Violation { promise: Promise::Statistics, time: run.run.ended, text });
            }
        }
    }
}

fn check_end(facts: &Facts, run: &RunFacts, name: &str, violations: &mut Vec<Violation>) {
    // Earlier stops are faults, and may find peers that are not there.
    if run.run.ended < facts.journal.quiet_at {
        return;
    }
    for (peer, count) in &run.undelivered {
        let text = format!("{name} could not deliver {count} messages to {peer}, with every fault over for seconds");
        violations.push(Violation { promise: Promise::AllDelivered, time: run.run.ended, text });
    }
}
