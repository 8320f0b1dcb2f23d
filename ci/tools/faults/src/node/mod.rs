//! One server under test, in a process of its own. Commands come as lines on standard input: `quiet`, `pause`,
//! `resume`, `remove PID`, `add PID`, `stop`. The end of the input and SIGTERM stop the server too.

mod listen;
mod membership;
mod receiver;
mod sender;

pub use receiver::histogram;

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use clap::Args;
use cluster::{Config, DownReason, DropReason, Pid, Split};
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use crate::clock::now;
use crate::failure::{Context, Failure};
use crate::log::{Kind, Log, Record};

/// Job of a server.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Pid of the server in the configuration.
    #[arg(long)]
    pub pid: Pid,
    /// Number of its starts, this one included.
    #[arg(long)]
    pub run: u32,
    #[arg(long)]
    pub config: PathBuf,
    /// Folder for the logs.
    #[arg(long)]
    pub logs: PathBuf,
    /// Messages each second, to all peers together.
    #[arg(long)]
    pub rate: u64,
}

/// Order for the server's own thread.
enum Order {
    Remove(Pid),
    Add(Pid),
    Stop,
}

/// Switches that commands set and threads read.
#[derive(Default)]
struct Switches {
    /// True if nothing more is to be sent.
    quiet: AtomicBool,
    /// True while nothing is to be read.
    paused: AtomicBool,
    /// Current peers.
    roster: membership::Roster,
}

/// Returns the path of a log of a run.
pub fn log_path(folder: &Path, pid: Pid, run: u32, what: &str) -> PathBuf {
    folder.join(format!("{pid}-{run}.{what}"))
}

/// Returns the code of a reason in a log.
pub fn reason(reason: &DownReason) -> u64 {
    match reason {
        DownReason::Closed => 1,
        DownReason::Silent => 2,
        DownReason::Stopped => 3,
        DownReason::Violation(_) => 4,
        _ => 5,
    }
}

/// Returns the code of a reason for drops in a log.
pub fn drop_reason(reason: &DropReason) -> u64 {
    match reason {
        DropReason::Expired => EXPIRED,
        DropReason::BestEffort => BEST_EFFORT,
        DropReason::PeerRemoved => PEER_REMOVED,
        _ => 4,
    }
}

/// Runs the server until it is stopped.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Without the conductor, no other process would stop this one.
    set_parent_process_death_signal(Some(Signal::KILL)).context(|| "cannot be bound to the conductor".to_owned())?;
    let log = |what| Log::create(&log_path(&arguments.logs, arguments.pid, arguments.run, what));
    let (sent, received, mut events_log) = (log("sent")?, log("received")?, log("events")?);
    let mut members_log = log("members")?;
    events_log.write(Record::at(Kind::Running, now()))?;
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

    let orders = orders(&switches, signals)?;
    // A closed channel is an order to stop, too.
    while let Ok(order) = orders.recv() {
        match order {
            Order::Remove(pid) => membership::remove(&mut handle, pid, &switches.roster, &mut members_log)?,
            Order::Add(pid) => membership::add(&mut handle, pid, &config, &switches.roster, &mut members_log)?,
            Order::Stop => break,
        }
    }
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
        log.add(Record::about(Kind::Perished, peer.pid, now()).with(peer.dropped_expired, peer.dropped_best_effort));
        log.add(Record::about(Kind::GivenUp, peer.pid, now()).with(peer.dropped_removed, peer.dropped_stopped));
    }
    log.write(Record::at(Kind::Stopped, now()).with(took, 0))?;
    Ok(())
}

/// Returns the orders of the commands, which end with `stop`.
fn orders(switches: &Arc<Switches>, mut signals: Signals) -> Result<Receiver<Order>, Failure> {
    let (order, orders) = channel();
    let by_signal = order.clone();
    spawn("signals", move || {
        if signals.forever().next().is_some() {
            let _ = by_signal.send(Order::Stop);
        }
    })?;
    let switches = switches.clone();
    spawn("commands", move || obey(&switches, &order))?;
    Ok(orders)
}

fn obey(switches: &Switches, order: &Sender<Order>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        // A failed send means that a signal has stopped the server before.
        let _ = match words[..] {
            ["quiet"] => {
                switches.quiet.store(true, Ordering::Relaxed);
                continue;
            }
            ["pause"] => {
                switches.paused.store(true, Ordering::Relaxed);
                continue;
            }
            ["resume"] => {
                switches.paused.store(false, Ordering::Relaxed);
                continue;
            }
            [what, pid] => match (what, pid.parse()) {
                ("remove", Ok(pid)) => order.send(Order::Remove(pid)),
                ("add", Ok(pid)) => order.send(Order::Add(pid)),
                _ => break,
            },
            _ => break,
        };
    }
    let _ = order.send(Order::Stop);
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

/// Codes of the reasons for drops in a log.
pub const EXPIRED: u64 = 1;
pub const BEST_EFFORT: u64 = 2;
pub const PEER_REMOVED: u64 = 3;
