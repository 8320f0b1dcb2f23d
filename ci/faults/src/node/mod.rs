//! One server under test, in a process of its own. Commands come as lines on standard input: `quiet`, `pause`, `resume`,
//! `stop`; the end of the input, and SIGTERM, stop it too.

mod listen;
mod receiver;
mod sender;

pub use receiver::histogram;

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use clap::Args;
use cluster::{Config, DownReason, Pid, Split};
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use crate::clock::now;
use crate::failure::{Context, Failure};
use crate::log::{Kind, Log, Record};

/// What a server is to do.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Which server of the configuration.
    #[arg(long)]
    pub pid: Pid,
    /// How often it was started, this time included.
    #[arg(long)]
    pub run: u32,
    #[arg(long)]
    pub config: PathBuf,
    /// Where the logs go.
    #[arg(long)]
    pub logs: PathBuf,
    /// Messages each second, to all peers together.
    #[arg(long)]
    pub rate: u64,
}

/// Switches that the commands set and the threads look at.
#[derive(Default)]
struct Switches {
    /// Send nothing more.
    quiet: AtomicBool,
    /// Read nothing for now.
    paused: AtomicBool,
}

/// The path of a log of a run.
pub fn log_path(folder: &Path, pid: Pid, run: u32, what: &str) -> PathBuf {
    folder.join(format!("{pid}-{run}.{what}"))
}

/// A reason as it stands in a log.
pub fn reason(reason: &DownReason) -> u64 {
    match reason {
        DownReason::Closed => 1,
        DownReason::Silent => 2,
        DownReason::Stopped => 3,
        DownReason::Violation(_) => 4,
        _ => 5,
    }
}

/// Runs the server until it is told to stop.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Without the conductor nobody would ever stop it.
    set_parent_process_death_signal(Some(Signal::KILL)).context(|| "cannot be bound to the conductor".to_owned())?;
    let log = |what| Log::create(&log_path(&arguments.logs, arguments.pid, arguments.run, what));
    let (sent, received, mut events_log) = (log("sent")?, log("received")?, log("events")?);
    let signals = Signals::new([SIGTERM]).context(|| "cannot listen to signals".to_owned())?;
    let config = Config::from_file(&arguments.config).map_err(|error| Failure(error.to_string()))?;
    let node = cluster::start(arguments.pid, &config).map_err(|error| Failure(error.to_string()))?;
    events_log.write(Record::at(Kind::Started, now()))?;
    let Split { inbox, outbox, events, mut handle } = node.split();

    let switches = Arc::new(Switches::default());
    let sending = sender::Plan { pid: arguments.pid, run: arguments.run, rate: arguments.rate };
    let peers = handle.peers().to_vec();
    let sender = spawn("sender", {
        let switches = switches.clone();
        move || sender::send(outbox, &peers, &sending, sent, &switches)
    })?;
    let receiver = spawn("receiver", {
        let switches = switches.clone();
        move || receiver::receive(inbox, received, &switches)
    })?;
    let listening = Arc::new(AtomicBool::new(true));
    let listener = spawn("events", {
        let listening = listening.clone();
        move || listen::listen(events, events_log, &listening)
    })?;

    wait_for_stop(&switches, signals)?;
    switches.quiet.store(true, Ordering::Relaxed);
    switches.paused.store(false, Ordering::Relaxed);
    joined(sender.join())?;
    let begin = now();
    let stopped = handle.stop();
    let took = now() - begin;
    joined(receiver.join())?;
    listening.store(false, Ordering::Relaxed);
    let mut log = joined(listener.join())?;
    if let Err(error) = stopped {
        for each in error.undelivered() {
            log.add(Record::about(Kind::Undelivered, each.pid, now()).with(each.messages, each.bytes));
        }
    }
    for peer in handle.stats() {
        log.add(Record::about(Kind::Account, peer.pid, now()).with(peer.messages_out, peer.messages_in));
    }
    log.write(Record::at(Kind::Stopped, now()).with(took, 0))?;
    Ok(())
}

/// Does what the commands say, until one says stop.
fn wait_for_stop(switches: &Arc<Switches>, mut signals: Signals) -> Result<(), Failure> {
    let (stop, stopped) = channel();
    let by_signal = stop.clone();
    spawn("signals", move || {
        if signals.forever().next().is_some() {
            let _ = by_signal.send(());
        }
    })?;
    let switches = switches.clone();
    spawn("commands", move || obey(&switches, &stop))?;
    let _ = stopped.recv();
    Ok(())
}

fn obey(switches: &Switches, stop: &Sender<()>) {
    for line in io::stdin().lock().lines() {
        match line.as_deref() {
            Ok("quiet") => switches.quiet.store(true, Ordering::Relaxed),
            Ok("pause") => switches.paused.store(true, Ordering::Relaxed),
            Ok("resume") => switches.paused.store(false, Ordering::Relaxed),
            _ => break,
        }
    }
    // Nobody listens any more when a signal came first.
    let _ = stop.send(());
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, Failure> {
    thread::Builder::new().name(name.to_owned()).spawn(work).context(|| format!("no thread for the {name}"))
}

fn joined<T>(result: thread::Result<Result<T, Failure>>) -> Result<T, Failure> {
    result.unwrap_or_else(|_| Err(Failure("a thread of the server panicked; its words stand above".to_owned())))
}
