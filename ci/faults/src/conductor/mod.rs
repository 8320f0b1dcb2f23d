//! Starts the servers, injects the faults of a plan, and brings everything to a quiet end.

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
use crate::journal::Journal;
use crate::network::Network;
use crate::output::say;
use crate::plan::Fault;
use inject::Injector;
use progress::Progress;
use servers::Servers;

/// One session: so many servers, this plan.
pub struct Session {
    pub seed: u64,
    pub nodes: usize,
    /// Messages each second of each server.
    pub rate: u64,
    pub length: Duration,
    pub faults: Vec<Fault>,
    /// In namespaces, or on the loopback.
    pub isolated: bool,
    /// Every pair's connection goes through a proxy; otherwise about half of them do.
    pub all_proxied: bool,
    /// Where the logs go; made, and empty.
    pub folder: PathBuf,
}

/// Runs a session to its end. The logs and the journal are in its folder then.
pub fn conduct(session: &Session) -> Result<Journal, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, interrupted.clone()).context(|| "cannot listen to signals".to_owned())?;
    }
    let network = if session.isolated { Network::isolated(session.nodes)? } else { Network::loopback() };
    let mut servers = Servers::start(session, &network)?;
    let stalls = stalls::watch()?;
    let begin = now();
    let mut diary = File::create(session.folder.join("faults.log"))?;
    let mut injector = Injector::new(&session.faults, begin);
    let mut progress = Progress::new(begin);
    let end = begin + nanoseconds(session.length);
    while now() < end {
        servers.look()?;
        while let Some(line) = injector.turn(now(), &mut servers, &network)? {
            writeln!(diary, "{line}")?;
        }
        progress.turn(&servers, &injector)?;
        if interrupted.load(Ordering::Relaxed) {
            return Err(Failure("interrupted".to_owned()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    injector.end_all(&mut servers, &network)?;
    let quiet_at = now();
    servers.all_quiet()?;
    settle(&mut servers, &mut progress)?;
    servers.stop_all()?;
    let journal = Journal {
        seed: session.seed,
        rate: session.rate,
        pids: servers.pids(),
        inbox_bytes: servers.config().inbox_bytes,
        outbox_bytes: servers.config().outbox_bytes,
        quiet_at,
        complaints: servers.complaints()?,
        runs: servers.into_runs(),
        faults: injector.into_injected(),
        stalls: stalls.take(),
    };
    journal.write(&session.folder)?;
    Ok(journal)
}

/// Waits until nothing arrives any more.
fn settle(servers: &mut Servers<'_>, progress: &mut Progress) -> Result<(), Failure> {
    let begin = now();
    let mut received = progress.received();
    let mut changed = begin;
    while now() < begin + LONGEST_SETTLING && now() < changed + QUIET {
        thread::sleep(Duration::from_millis(100));
        servers.look()?;
        progress.read(servers)?;
        if progress.received() != received {
            (received, changed) = (progress.received(), now());
        }
    }
    say(format_args!("quiet after {:.1} s", (changed - begin) as f64 / SECOND as f64));
    Ok(())
}

/// A new folder for the logs of a session.
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
