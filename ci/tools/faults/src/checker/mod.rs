//! Decides from the logs and the journal whether the servers kept their promises.

mod account;
mod delivery;
mod facts;
mod lies;
mod liveness;
mod missing;
mod processes;
mod report;
mod restarts;
mod spans;
#[cfg(test)]
mod tests;
mod violation;

use std::path::Path;

use crate::failure::Failure;
use crate::journal::Journal;
use crate::log;
use crate::node::log_path;
pub use facts::{Facts, RunFacts};
pub use report::Report;
pub use violation::Promise;

/// Checks the session whose logs are in `folder`.
pub fn check(folder: &Path) -> Result<Report, Failure> {
    Ok(judge(&load(folder)?))
}

/// Reads the logs of a session.
pub fn load(folder: &Path) -> Result<Facts, Failure> {
    let journal = Journal::read(folder)?;
    let mut runs = Vec::new();
    for run in &journal.runs {
        let mut facts = RunFacts::new(run.clone());
        for what in ["sent", "received", "events", "members"] {
            log::read(&log_path(folder, run.pid, run.run, what), |record| facts.take(&record))?;
        }
        runs.push(facts);
    }
    Ok(Facts::new(journal, runs))
}

/// Checks all promises.
pub fn judge(facts: &Facts) -> Report {
    let mut violations = Vec::new();
    let account = delivery::check(facts, &mut violations);
    account::check(facts, &mut violations);
    processes::check(facts, &mut violations);
    restarts::check(facts, &mut violations);
    lies::check(facts, &mut violations);
    let measured = liveness::check(facts, &mut violations);
    violations.sort_by_key(|violation| violation.time);
    Report::new(facts, account, measured, violations)
}
