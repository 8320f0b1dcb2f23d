//! An idle group: what heartbeats cost.

use std::time::Duration;

use serde::Serialize;

use super::rounds::{PROMPT, rounds};
use crate::raft::compare::Options;
use crate::raft::contenders::Contender;
use crate::raft::group::Group;
use crate::raft::protocol::Library;
use crate::statistics::Spread;
use crate::table::Table;

/// Resources of an idle group of three with a heartbeat every 100 ms.
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    /// Library of consensus.
    pub library: Library,
    /// Contender.
    pub contender: &'static str,
    /// Processor time of all nodes in one second, in microseconds: the median of the rounds.
    pub cpu_us_per_second: f64,
    /// Lowest of the rounds.
    pub lowest_cpu_us_per_second: f64,
    /// Highest of the rounds.
    pub highest_cpu_us_per_second: f64,
    /// Context switches of all nodes in one second: the median of the rounds.
    pub context_switches_per_second: f64,
}

/// Measures each contender's idle group. Passes a line for each to `tell`, and each failure to `fail`.
pub fn idle(options: &Options, mut tell: impl FnMut(&str), mut fail: impl FnMut(String)) -> Vec<Idle> {
    let measured = rounds(
        options,
        &mut fail,
        "idle",
        |_| true,
        |contender| {
            tell(&format!("idle, {}, {}", contender.library, contender.name));
            let mut group = Group::start(contender, &PROMPT)?;
            group.watch(SETTLING)?;
            let (usage, seconds) = (group.measure(IDLE)?.usage, IDLE.as_secs_f64());
            group.stop();
            let switches = (usage.switches + usage.preemptions) as f64;
            Ok([usage.processor.as_secs_f64() * 1e6 / seconds, switches / seconds])
        },
    );
    let row = |(contender, [cpu, switches]): (&'static Contender, [Spread; 2])| Idle {
        library: contender.library,
        contender: contender.name,
        cpu_us_per_second: cpu.median(),
        lowest_cpu_us_per_second: cpu.min(),
        highest_cpu_us_per_second: cpu.max(),
        context_switches_per_second: switches.median(),
    };
    measured.into_iter().map(row).collect()
}

/// Returns the idle groups as a table.
pub fn idle_table(rows: &[Idle]) -> Table {
    let mut table = Table::new(["idle", "contender", "cpu µs/s", "lowest", "highest", "switches/s"]);
    for row in rows {
        table.row([
            row.library.to_string(),
            row.contender.to_owned(),
            format!("{:.0}", row.cpu_us_per_second),
            format!("{:.0}", row.lowest_cpu_us_per_second),
            format!("{:.0}", row.highest_cpu_us_per_second),
            format!("{:.0}", row.context_switches_per_second),
        ]);
    }
    table
}

/// Time after the start of a group before it is idle.
const SETTLING: Duration = Duration::from_secs(1);
/// Time for which an idle group is measured.
const IDLE: Duration = Duration::from_secs(5);
