//! System calls, allocations and copies of fixed workloads, for a thousand messages each.

pub mod allocations;
pub mod system_calls;

use std::collections::BTreeMap;
use std::error::Error;

use clap::ValueEnum;

use crate::baseline::{Baseline, version};
use crate::valgrind;
use crate::workloads::{Payload, Workload};
use allocations::Allocations;

/// Counts all workloads.
pub fn count() -> Result<Baseline, Box<dyn Error>> {
    let mut counts = BTreeMap::new();
    for &workload in Workload::value_variants() {
        let mut keep = |what: &str, per_message: f64| {
            // Two decimals suffice for all counts.
            counts.insert(format!("{}: {what}", workload.name()), (per_message * 100_000.0).round() / 100.0);
        };
        let used = allocations_of(workload)?;
        keep("allocations", used.count as f64 / workload.messages() as f64);
        keep("allocated bytes", used.bytes as f64 / workload.messages() as f64);
        let copies = valgrind::copies(workload)?;
        keep("copies", copies.count / 1000.0);
        keep("copied bytes", copies.bytes / 1000.0);
        if workload.has_steady_calls() {
            let calls = match workload.waits() {
                true => system_calls::count_in_turns(workload, workload.messages())?,
                false => system_calls::count(workload, workload.messages())?,
            };
            keep("enters into the ring", calls.get("io_uring_enter").copied().unwrap_or(0.0));
            keep("system calls", calls.values().sum());
        }
    }
    Ok(Baseline {
        unit: "for 1000 messages".to_owned(),
        allowed_percent: 1.0,
        allowed_beside: 0.5,
        taken_with: BTreeMap::from([("rustc".to_owned(), version("rustc")?)]),
        counts,
    })
}

fn allocations_of(workload: Workload) -> Result<Allocations, Box<dyn Error>> {
    let mut pair = workload.connect(Payload::Short)?;
    let before = Allocations::so_far();
    pair.run(workload.messages())?;
    Ok(Allocations::so_far() - before)
}
