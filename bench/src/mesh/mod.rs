//! Full mesh of many servers with default settings. Every server broadcasts, and checks that it receives all messages
//! exactly once and in order. Then the servers are left alone while the processor time of the idle mesh is measured.
//!
//! - [`run`] starts child processes of this program, each with a share of the servers, and leads them (`conductor`).
//! - [`serve`] is a child process (`member`), which talks with the conductor by lines of JSON (`protocol`).
//! - A child process holds servers of the engine (`servers`), or bare TCP connections as a floor (`raw`), and drives
//!   both through one interface (`endpoints`).
//! - `load` keeps the machine busy beside the mesh.

mod conductor;
mod endpoints;
mod load;
mod member;
mod protocol;
mod raw;
mod servers;

use serde::{Deserialize, Serialize};

pub use conductor::run;
pub use load::spin;
pub use member::serve;
pub use protocol::EventCounts;

use crate::proc::Footprint;
use crate::table::Table;

/// Transport between the servers of a mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Memory between servers of one process, TCP between processes.
    Memory,
    /// TCP between all servers.
    Tcp,
    /// Bare TCP connections without servers.
    Raw,
}

/// Parameters of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Servers in the mesh.
    pub servers: usize,
    /// Servers in each process; the last process may have fewer.
    pub per_process: usize,
    /// Transport between the servers.
    pub transport: Transport,
    /// Messages that each server sends to every other one.
    pub messages: u64,
    /// Seconds for which the processor time of the idle mesh is measured.
    pub idle_seconds: u64,
    /// True if another process keeps every core busy until all messages have arrived.
    pub beside_load: bool,
    /// Seconds from the start of the servers by which all messages must have arrived.
    pub limit_seconds: u64,
    /// Limit on the processor time of the idle mesh, in percent of one core.
    pub limit_idle_percent: Option<f64>,
}

impl Options {
    /// Messages that all servers together have to receive.
    pub fn expected(&self) -> u64 {
        let servers = self.servers as u64;
        servers * (servers - 1) * self.messages
    }
}

/// Result of a run. A field that is `None` was not reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Reasons why the run has failed.
    pub failures: Vec<String>,
    /// Number of child processes that held the servers.
    pub processes: usize,
    /// Seconds until every server had started.
    pub started_s: Option<f64>,
    /// Seconds from the first send until every server had received all messages.
    pub exact_s: Option<f64>,
    /// Seconds from the start of the servers until every server had received all messages.
    pub exact_from_start_s: Option<f64>,
    /// Messages that all servers together have to receive.
    pub expected: u64,
    /// Messages received and checked before the idle phase.
    pub delivered: u64,
    /// Events of all servers.
    pub events: EventCounts,
    /// Processor time of all processes while idle, in percent of one core.
    pub idle_percent: Option<f64>,
    /// Links that went down while idle.
    pub idle_down: Option<u64>,
    /// Messages received while idle: none by servers; over bare connections, those sent in place of heartbeats.
    pub idle_messages: Option<u64>,
    /// Memory, descriptors and threads of all processes at the end.
    pub footprint: Footprint,
}

impl Outcome {
    /// Returns the result as a table.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["", "mesh"]);
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        let seconds = |value: Option<f64>| value.map_or_else(unknown, |value| format!("{value:.3}"));
        let count = |value: Option<u64>| value.map_or_else(unknown, thousands);
        let mebibytes = |kibibytes: u64| format!("{:.1}", kibibytes as f64 / 1024.0);
        row("processes", thousands(self.processes as u64));
        row("started after, s", seconds(self.started_s));
        row("exact after, s", seconds(self.exact_s));
        row("exact after, from the start, s", seconds(self.exact_from_start_s));
        row("expected", thousands(self.expected));
        row("delivered", thousands(self.delivered));
        row("Up", thousands(self.events.up));
        row("Down", thousands(self.events.down));
        row("Down, silent", thousands(self.events.down_silent));
        row("Refused", thousands(self.events.refused));
        row("AcceptFailed", thousands(self.events.accept_failed));
        row("Dropped", thousands(self.events.dropped));
        row("other events", thousands(self.events.other));
        row("missed events", thousands(self.events.missed));
        row("idle, % of a core", self.idle_percent.map_or_else(unknown, |percent| format!("{percent:.2}")));
        row("idle, Down", count(self.idle_down));
        row("idle, messages", count(self.idle_messages));
        row("peak RSS, MiB", mebibytes(self.footprint.peak_rss_kib));
        row("page tables, MiB", mebibytes(self.footprint.page_tables_kib));
        row("PSS, MiB", mebibytes(self.footprint.pss_kib));
        row("descriptors", thousands(self.footprint.descriptors));
        row("threads", thousands(self.footprint.threads));
        table
    }

    /// Adds the failures that follow from the figures.
    fn judge(&mut self, options: &Options) {
        let (down, missed) = (self.events.down, self.events.missed);
        if down > 0 {
            self.failures.push(format!("{} links went down", thousands(down)));
        }
        if missed > 0 {
            self.failures.push(format!("{} events were missed", thousands(missed)));
        }
        if let (Some(percent), Some(limit)) = (self.idle_percent, options.limit_idle_percent)
            && percent > limit
        {
            self.failures.push(format!("the idle mesh used {percent:.2} % of a core, above the limit of {limit} %"));
        }
    }
}

fn unknown() -> String {
    "-".to_owned()
}

/// Formats a number as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Subcommand of this program that holds servers of a mesh.
pub const MEMBER: &str = "mesh-member";
/// Subcommand of this program that keeps every core busy.
pub const LOAD: &str = "mesh-load";

#[cfg(test)]
mod tests {
    use super::*;

    fn options(limit_idle_percent: Option<f64>) -> Options {
        Options {
            servers: 300,
            per_process: 300,
            transport: Transport::Memory,
            messages: 10,
            idle_seconds: 5,
            beside_load: false,
            limit_seconds: 120,
            limit_idle_percent,
        }
    }

    #[test]
    fn every_server_receives_from_every_other_one() {
        assert_eq!(thousands(options(None).expected()), "897,000");
        assert_eq!((thousands(0), thousands(1000)), ("0".to_owned(), "1,000".to_owned()));
    }

    #[test]
    fn what_must_not_happen_is_a_failure() {
        let good = Outcome { idle_percent: Some(2.5), ..Outcome::default() };
        let failures = |mut outcome: Outcome, limit| {
            outcome.judge(&options(limit));
            outcome.failures
        };
        assert!(failures(good.clone(), None).is_empty() && failures(good.clone(), Some(2.5)).is_empty());
        let expected = ["the idle mesh used 2.50 % of a core, above the limit of 2 %"];
        assert_eq!(failures(good.clone(), Some(2.0)), expected);
        let events = EventCounts { down: 1, missed: 2, ..EventCounts::default() };
        assert_eq!(failures(Outcome { events, ..good }, None), ["1 links went down", "2 events were missed"]);
    }
}
