//! Checks of the processes: their ends, their texts on standard error, and their memory.

use super::facts::Facts;
use super::violation::{Promise, Violation};
use crate::clock::{MILLISECOND, SECOND};
use crate::journal::End;

/// Checks the end and the memory of each run.
pub fn check(facts: &Facts, violations: &mut Vec<Violation>) {
    let limit = memory_limit(facts);
    for run in &facts.runs {
        let (name, time) = (format!("{} (run {})", run.run.pid, run.run.run), run.run.ended);
        match &run.run.end {
            End::Crashed(how) => {
                let text = format!("{name} ended by itself: {how}");
                violations.push(Violation { promise: Promise::NoCrash, time, text });
            }
            End::Stopped if !run.drained || run.stopped.is_none() => {
                let text = format!("{name} ended before it had read what had arrived");
                violations.push(Violation { promise: Promise::NoCrash, time, text });
            }
            _ => {}
        }
        if let Some(took) = run.stopped.filter(|took| *took > LONGEST_STOP) {
            let text = format!("{name} took {} ms to stop", took / MILLISECOND);
            violations.push(Violation { promise: Promise::StopInTime, time, text });
        }
        if run.most_memory > limit {
            let text = format!("{name} took {} MiB of {}", run.most_memory >> 20, limit >> 20);
            violations.push(Violation { promise: Promise::Memory, time, text });
        }
    }
    for complaint in &facts.journal.complaints {
        violations.push(Violation { promise: Promise::NoComplaint, time: 0, text: complaint.clone() });
    }
}

/// Returns the memory in bytes that a server may use: for each peer and lane its ring, its sends by reference, and the
/// inbox; and a constant part for the process.
pub fn memory_limit(facts: &Facts) -> u64 {
    let peers = facts.journal.pids.len().saturating_sub(1) as u64;
    let lane = facts.journal.outbox_bytes + BY_REFERENCE_BYTES + facts.journal.inbox_bytes;
    peers * LANES * lane + PROCESS_BYTES
}

/// Longest stop: the server waits two seconds for its peers, and needs some time beside that.
const LONGEST_STOP: u64 = 2 * SECOND + 500 * MILLISECOND;
const LANES: u64 = 2;
const BY_REFERENCE_BYTES: u64 = 4 << 20;
const PROCESS_BYTES: u64 = 64 << 20;
