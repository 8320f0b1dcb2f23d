//! The loss of a leader: time until the survivors have another one.

use serde::Serialize;

use super::rounds::{PROMPT, rounds};
use crate::raft::compare::Options;
use crate::raft::contenders::Contender;
use crate::raft::group::Group;
use crate::raft::protocol::{Library, Load};
use crate::statistics::Spread;
use crate::table::Table;

/// Time from the death of a leader until another node knew that it follows a survivor.
#[derive(Debug, Clone, Serialize)]
pub struct Failover {
    /// Library of consensus.
    pub library: Library,
    /// Contender.
    pub contender: &'static str,
    /// Deaths of leaders.
    pub deaths: usize,
    /// Median time.
    pub new_leader_ms: f64,
    /// Shortest time.
    pub shortest_ms: f64,
    /// Longest time.
    pub longest_ms: f64,
}

/// Kills leaders. Passes a line for each to `tell`, and each failure to `fail`.
pub fn failover(options: &Options, mut tell: impl FnMut(&str), mut fail: impl FnMut(String)) -> Vec<Failover> {
    let rounds_of_deaths = Options { rounds: options.rounds * DEATHS, ..options.clone() };
    let is_network = |contender: &Contender| !contender.is_one_process;
    let measured = rounds(&rounds_of_deaths, &mut fail, "failover", is_network, |contender| {
        tell(&format!("failover, {}, {}", contender.library, contender.name));
        let mut group = Group::start(contender, &PROMPT)?;
        group.write(Load { clients: 1, size: 64 })?;
        group.rest()?;
        let time = group.kill_leader()?;
        Ok([time.as_secs_f64() * 1e3])
    });
    let row = |(contender, [time]): (&'static Contender, [Spread; 1])| Failover {
        library: contender.library,
        contender: contender.name,
        deaths: time.in_order().len(),
        new_leader_ms: time.median(),
        shortest_ms: time.min(),
        longest_ms: time.max(),
    };
    measured.into_iter().map(row).collect()
}

/// Returns the losses of leaders as a table.
pub fn failover_table(rows: &[Failover]) -> Table {
    let mut table = Table::new(["new leader", "contender", "deaths", "median ms", "shortest", "longest"]);
    for row in rows {
        table.row([
            row.library.to_string(),
            row.contender.to_owned(),
            row.deaths.to_string(),
            format!("{:.0}", row.new_leader_ms),
            format!("{:.0}", row.shortest_ms),
            format!("{:.0}", row.longest_ms),
        ]);
    }
    table
}

/// Deaths of leaders in each round.
const DEATHS: usize = 3;
