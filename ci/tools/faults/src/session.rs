//! A session from its plan to its report.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::checker::{self, Facts, Report};
use crate::conductor::{self, Session};
use crate::failure::{Context, Failure};
use crate::options::{Common, Session as Arguments};
use crate::output::{print, say};
use crate::plan::{Choice, Fault, Kind, draw};

/// Runs a session of random faults for some minutes.
pub fn random(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..) >> 32);
    let length = Duration::try_from_secs_f64(arguments.minutes * 60.0)
        .context(|| format!("--minutes {} is no length of time", arguments.minutes))?;
    let common = &arguments.common;
    // Resets, replays and lies are short, and kills are the hardest on the servers: these kinds are drawn more often.
    let often = [Kind::Reset, Kind::Reset, Kind::Kill, Kind::Replay, Kind::Lie];
    let kinds = Kind::ALL.into_iter().chain(often).filter(|kind| !common.loopback || !kind.needs_network()).collect();
    let milliseconds = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let faults = draw(&Choice { seed, nodes: common.nodes as usize, milliseconds, kinds });
    say(format_args!("seed {seed}: {} faults in {:.0} s", faults.len(), length.as_secs_f64()));
    let session = new(seed, common, RATE, length, faults)?;
    let report = checker::judge(&run(&session)?);
    finish(&session.folder, common, &report, report.json())
}

/// Returns a session with the given options; `rate` is used if the options have none.
pub fn new(seed: u64, common: &Common, rate: u64, length: Duration, faults: Vec<Fault>) -> Result<Session, Failure> {
    Ok(Session {
        seed,
        nodes: common.nodes as usize,
        rate: common.rate.unwrap_or(rate),
        length,
        faults,
        isolated: !common.loopback,
        all_proxied: common.loopback,
        folder: conductor::new_folder(common.logs.as_deref(), &seed.to_string())?,
    })
}

/// Runs a session, and reads its logs.
pub fn run(session: &Session) -> Result<Facts, Failure> {
    if let Err(failure) = conductor::conduct(session) {
        // A session that did not start has left an empty folder.
        if fs::remove_dir(&session.folder).is_err() {
            say(format_args!("the logs so far are in {}", session.folder.display()));
        }
        return Err(failure);
    }
    say("checking");
    checker::load(&session.folder)
}

/// Checks the logs of a session again.
pub fn check(folder: &Path) -> Result<ExitCode, Failure> {
    let report = checker::check(folder)?;
    print(report.table());
    Ok(verdict(&report))
}

/// Prints the report, and keeps the logs if they are needed.
pub fn finish(folder: &Path, common: &Common, report: &Report, json: Value) -> Result<ExitCode, Failure> {
    print(report.table());
    if let Some(path) = &common.json {
        let text = serde_json::to_string_pretty(&json)? + "\n";
        fs::write(path, text).context(|| format!("cannot write {}", path.display()))?;
    }
    if !report.violations.is_empty() || report.ended_early.is_some() || common.keep {
        print(format_args!("the logs are in {}", folder.display()));
    } else if let Err(error) = fs::remove_dir_all(folder) {
        say(format_args!("cannot remove {}: {error}", folder.display()));
    }
    Ok(verdict(report))
}

fn verdict(report: &Report) -> ExitCode {
    if let Some(why) = &report.ended_early {
        print(format_args!("ended early because of this: {why}"));
    }
    if report.violations.is_empty() {
        return if report.ended_early.is_some() { ExitCode::from(ENDED_EARLY) } else { ExitCode::SUCCESS };
    }
    print(format_args!("{} violations with seed {}; the first:", report.violations.len(), report.seed));
    for violation in report.violations.iter().take(SHOWN) {
        print(format_args!("  {violation}"));
    }
    ExitCode::FAILURE
}

/// Exit code of a session without a violation that ended early.
const ENDED_EARLY: u8 = 3;
const SHOWN: usize = 15;
const RATE: u64 = 2_000;
