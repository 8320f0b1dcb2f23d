//! Starts the servers, injects the faults of a plan, and ends the session in order.

mod evidence;
mod inject;
mod progress;
mod servers;
mod stalls;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::clock::{SECOND, nanoseconds, now};
use crate::failure::{Context, Failure};
use crate::journal::{Entry, Writer};
use crate::network::Network;
use crate::output::say;
use crate::plan::Fault;
use inject::Injector;
use progress::Progress;
use servers::Servers;
use stalls::Stalls;

/// Session: its servers and its plan.
pub struct Session {
    pub seed: u64,
    pub nodes: usize,
    /// Messages per second of each server.
    pub rate: u64,
    pub length: Duration,
    pub faults: Vec<Fault>,
    /// True for servers in namespaces, false for servers on the loopback.
    pub isolated: bool,
    /// True if every pair's connection goes through a proxy; otherwise about half of them do.
    pub all_proxied: bool,
    /// Folder of the logs; exists, and is empty.
    pub folder: PathBuf,
}

/// Runs a session, to its end or as far as it gets. The logs and the journal are in its folder afterwards.
///
/// # Errors
/// Only if no server was started. Otherwise there are logs to check, and the journal has the reason for an early end.
pub fn conduct(session: &Session) -> Result<(), Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, interrupted.clone()).context(|| "cannot listen to signals".to_owned())?;
    }
    let network = if session.isolated { Network::isolated(session.nodes)? } else { Network::loopback() };
    let journal = Writer::create(&session.folder)?;
    let stalls = stalls::watch()?;
    let mut servers = Servers::start(session, &network, &journal)?;
    let ended = play(session, &network, &mut servers, &journal, &stalls, &interrupted);
    let ended = ended.and_then(|()| note_stalls(&stalls, &journal));
    if let Err(failure) = ended {
        say(format_args!("ends early: {failure}"));
        // If the entry cannot be written, a journal without an end has the same meaning.
        let _ = journal.write(&Entry::EndedEarly { at: now(), why: failure.to_string() });
        return Ok(());
    }
    journal.write(&Entry::Finished { at: now() })
}

fn play(
    session: &Session,
    network: &Network,
    servers: &mut Servers<'_>,
    journal: &Writer,
    stalls: &Stalls,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let begin = now();
    // For people: the journal has the same facts.
    let mut diary = File::create(session.folder.join("faults.log"))?;
    let mut injector = Injector::new(&session.faults, begin, journal);
    let mut progress = Progress::new(begin);
    let end = begin + nanoseconds(session.length);
    let mut alive_due = begin;
    while now() < end {
        servers.look()?;
        while let Some(line) = injector.turn(now(), servers, network)? {
            let _ = writeln!(diary, "{line}");
        }
        if let Err(failure) = progress.turn(servers, &injector) {
            journal.hitch(&failure)?;
        }
        note_stalls(stalls, journal)?;
        if now() >= alive_due {
            journal.write(&Entry::Alive { at: now() })?;
            alive_due = now() + SECOND;
        }
        if interrupted.load(Ordering::Relaxed) {
            return Err(Failure("interrupted".to_owned()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    injector.end_all(servers, network)?;
    journal.write(&Entry::Quiet { at: now() })?;
    servers.all_quiet()?;
    settle(servers, &mut progress, journal)?;
    servers.stop_all()
}

fn note_stalls(stalls: &Stalls, journal: &Writer) -> Result<(), Failure> {
    stalls.take().into_iter().try_for_each(|(from, to)| journal.write(&Entry::Stalled { from, to }))
}

/// Waits until no more messages arrive.
fn settle(servers: &mut Servers<'_>, progress: &mut Progress, journal: &Writer) -> Result<(), Failure> {
    let begin = now();
    let mut received = progress.received();
    let mut changed = begin;
    while now() < begin + LONGEST_SETTLING && now() < changed + QUIET {
        thread::sleep(Duration::from_millis(100));
        servers.look()?;
        if let Err(failure) = progress.read(servers) {
            journal.hitch(&failure)?;
        }
        if progress.received() != received {
            (received, changed) = (progress.received(), now());
        }
    }
    say(format_args!("quiet after {:.1} s", (changed - begin) as f64 / SECOND as f64));
    Ok(())
}

/// Makes a new folder for the logs of a session.
pub fn new_folder(parent: Option<&Path>, name: &str) -> Result<PathBuf, Failure> {
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
    let folder = parent.join(format!("cluster-faults-{}-{name}", std::process::id()));
    fs::create_dir_all(&parent)
        .and_then(|()| fs::create_dir(&folder))
        .context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

const QUIET: u64 = 2 * SECOND;
const LONGEST_SETTLING: u64 = 40 * SECOND;
