//! Scenarios: one fault at a time, under load, with figures for each. They make the table of what the engine must show.

mod figures;
mod plans;

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use crate::checker;
use crate::failure::Failure;
use crate::options::Common;
use crate::output::{print, say};
use crate::plan::{Fault, Kind};
use crate::session;
use figures::Figure;

/// Fault that is injected.
#[derive(Subcommand, Debug)]
pub enum Scenario {
    /// Resets every connection once a second.
    Resets {
        /// Duration, in seconds.
        #[arg(long, default_value_t = 120)]
        seconds: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Kills one server after the other and starts it again.
    Kills {
        /// Number of kills.
        #[arg(long, default_value_t = 200)]
        times: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Pulls the cable of one server after the other, for four seconds each.
    Cuts {
        /// Number of cuts.
        #[arg(long, default_value_t = 10)]
        times: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Stops all servers at once for three seconds, as when a host is paused: nobody is gone then.
    Freezes {
        /// Number of freezes.
        #[arg(long, default_value_t = 5)]
        times: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Stops one server, and lets it go on; then the next.
    Stop {
        /// Duration, in seconds.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// Number of stops.
        #[arg(long, default_value_t = 5)]
        times: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Plays again what was said on connections: while the links are up, then with kills and restarts among it.
    Replays {
        /// Duration, in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Lies to two servers, five times a second.
    Lies {
        /// Duration, in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Lets the application of one server read nothing.
    Slow {
        /// Duration, in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        #[command(flatten)]
        common: Common,
    },
}

impl Scenario {
    fn common(&self) -> &Common {
        match self {
            Scenario::Resets { common, .. }
            | Scenario::Kills { common, .. }
            | Scenario::Cuts { common, .. }
            | Scenario::Freezes { common, .. }
            | Scenario::Stop { common, .. }
            | Scenario::Replays { common, .. }
            | Scenario::Lies { common, .. }
            | Scenario::Slow { common, .. } => common,
        }
    }

    /// Returns the faults, the seconds that they take, and the messages per second of each server.
    fn plan(&self) -> (Vec<Fault>, u64, u64) {
        let nodes = self.common().nodes as usize;
        let ((faults, seconds), rate) = match self {
            Scenario::Resets { seconds, .. } => (plans::resets(nodes, *seconds), 50_000),
            Scenario::Kills { times, .. } => (plans::kills(nodes, *times), 5_000),
            Scenario::Cuts { times, .. } => (plans::cuts(nodes, *times), 20_000),
            Scenario::Freezes { times, .. } => (plans::freezes(nodes, *times), 5_000),
            Scenario::Stop { seconds, times, .. } => (plans::stop(nodes, *seconds, *times), 10_000),
            Scenario::Replays { seconds, .. } => (plans::replays(nodes, *seconds), 5_000),
            Scenario::Lies { seconds, .. } => (plans::lies(nodes, *seconds), 5_000),
            Scenario::Slow { seconds, .. } => (plans::slow(*seconds), 50_000),
        };
        (faults, seconds, rate)
    }
}

/// Runs a scenario, checks every promise as well, and prints its figures.
pub fn run(scenario: &Scenario) -> Result<ExitCode, Failure> {
    let common = scenario.common();
    let (faults, seconds, rate) = scenario.plan();
    if common.loopback && faults.iter().any(|fault| fault.kind.needs_network()) {
        return Err(Failure(
            "this scenario takes a network of its own; leave --loopback out, and run as root".to_owned(),
        ));
    }
    let mut session = session::new(SEED, common, rate, Duration::from_secs(seconds), faults)?;
    say(format_args!("{} faults in {seconds} s, {}/s", session.faults.len(), session.rate));
    session.all_proxied |= session.faults.iter().any(|fault| fault.kind == Kind::Reset || fault.kind.is_of_proxy());
    let facts = session::run(&session)?;
    let report = checker::judge(&facts);
    let figures = match scenario {
        Scenario::Resets { .. } => figures::resets(&report),
        Scenario::Kills { .. } => figures::kills(&report),
        Scenario::Cuts { .. } => figures::cuts(&report),
        Scenario::Freezes { .. } => figures::freezes(&report),
        Scenario::Stop { .. } => figures::stop(&facts, &report, &session.folder)?,
        Scenario::Replays { .. } => figures::replays(&facts, &report),
        Scenario::Lies { .. } => figures::lies(&report),
        Scenario::Slow { .. } => figures::slow(&facts, &report),
    };
    let json = json!({
        "report": report.json(),
        "figures": figures.iter().map(|figure| (figure.name.to_owned(), json!(figure.value))).collect::<serde_json::Map<_, _>>(),
    });
    let verdict = session::finish(&session.folder, common, &report, json)?;
    for Figure { name, value, must } in &figures {
        let must = must.map(|must| must.to_string()).unwrap_or_default();
        print(format_args!("  {name:<56} {value:>12.3}  {must}"));
    }
    Ok(if figures.iter().all(Figure::is_kept) { verdict } else { ExitCode::FAILURE })
}

const SEED: u64 = 4;
