//! `cluster demo`: servers in this process that exchange messages over TCP and check every one.
//!
//! | file | what it is |
//! | --- | --- |
//! | `servers` | starts them and connects them |
//! | `sender`, `receiver` | the two threads of each server |
//! | `payload` | what a message carries |
//! | `checker` | whether what arrives is what was sent |
//! | `latencies` | how long messages are on their way |
//! | `news` | what the threads tell this one, and for how long it waits for that |
//! | `progress` | what is seen meanwhile |
//! | `resources` | what so many servers take of the machine |
//! | `report` | what came of it |

mod checker;
mod latencies;
mod news;
mod payload;
mod progress;
mod receiver;
mod report;
mod resources;
mod sender;
mod servers;

use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use cluster::Pid;

use self::latencies::Latencies;
use self::news::{Desk, News};
use self::payload::TIMED;
use self::progress::Progress;
use self::receiver::Tallies;
use self::report::Report;
use self::sender::Sender;
use self::servers::Started;
use crate::arguments::Demo;
use crate::failure::Failure;
use crate::output::{print, say};

/// What the demonstration is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub servers: usize,
    /// How many each server broadcasts.
    pub messages: u64,
    /// The bytes of each.
    pub size: usize,
    pub patience: Duration,
}

impl Plan {
    /// How many messages are sent one at a time.
    pub fn alone(&self) -> u64 {
        (ALONE_BYTES / self.size as u64).clamp(FEW_ALONE, ALONE)
    }

    /// How many messages have to arrive, at all servers together.
    pub fn expected(&self) -> u64 {
        self.expected_by_server() * self.servers as u64
    }

    /// How many messages have to arrive at each server.
    pub fn expected_by_server(&self) -> u64 {
        self.messages * (self.servers as u64 - 1)
    }

    /// The pid of a server: 100, 200, 300 …
    pub fn pid(&self, index: usize) -> Pid {
        (index as Pid + 1) * 100
    }

    /// Which server that is.
    pub fn index(&self, pid: Pid) -> Option<usize> {
        let index = usize::try_from(pid / 100).ok()?.checked_sub(1)?;
        (pid.is_multiple_of(100) && index < self.servers).then_some(index)
    }
}

pub fn demo(arguments: &Demo) -> Result<ExitCode, Failure> {
    let plan = Plan {
        servers: arguments.servers.into(),
        messages: arguments.messages.into(),
        size: arguments.size as usize,
        patience: Duration::from_secs(arguments.patience.into()),
    };
    let begun = Instant::now();
    let mut progress = Progress::new();
    let buffers = resources::reserve(&plan)?;
    let mut started = servers::start(&plan, &buffers)?;
    servers::connect(&plan, &mut started, &mut progress)?;

    let mut desk = Desk::new(plan.patience);
    let tallies = receiver::tallies(&plan);
    let mut senders = Vec::new();
    for (index, Started { inbox, outbox, handle, .. }) in started.into_iter().enumerate() {
        receiver::spawn(index, inbox, tallies.clone(), desk.address(), begun)?;
        senders.push(Sender { plan, pid: plan.pid(index), outbox, handle, begun });
    }
    let alone = one_at_a_time(&plan, &mut senders, &desk, &mut progress)?;
    let stop = Arc::new(Barrier::new(plan.servers + 1));
    let (seconds, complete) = all_at_once(senders, &stop, &tallies, &mut desk, &mut progress)?;
    if complete {
        // What arrives twice may do so until the end.
        stop.wait();
        desk.wait_for_the_end(plan.servers)?;
    }
    progress.clear();

    let report = Report::new(&plan, seconds, &tallies, alone);
    print(if arguments.json { report.json() } else { report.table() })?;
    if report.holds() {
        Ok(ExitCode::SUCCESS)
    } else {
        report.complaints(&tallies).iter().for_each(|complaint| say(format_args!("error: {complaint}")));
        Ok(ExitCode::FAILURE)
    }
}

/// One message at a time from one server to one other, each when the one before has arrived and all is quiet again.
fn one_at_a_time(
    plan: &Plan,
    senders: &mut [Sender],
    desk: &Desk,
    progress: &mut Progress,
) -> Result<Latencies, Failure> {
    let mut latencies = Latencies::new();
    if plan.size < TIMED {
        return Ok(latencies);
    }
    for number in 0..plan.alone() {
        let from = number as usize % plan.servers;
        let to = (from + 1 + number as usize / plan.servers % (plan.servers - 1)) % plan.servers;
        senders[from].send_alone(plan.pid(to), number)?;
        let way = format!("message {number}, sent alone from server {} to server {},", plan.pid(from), plan.pid(to));
        match desk.next() {
            Some(News::Alone { from: pid, at, number: Some(arrived), nanos })
                if (pid, at, arrived) == (plan.pid(from), plan.pid(to), number) =>
            {
                latencies.record(nanos);
            }
            Some(other) => return Err(Failure::Other(format!("instead of {way} this was seen: {other:?}"))),
            None => {
                let patience = plan.patience.as_secs();
                return Err(Failure::Other(format!(
                    "{way} did not arrive within {patience} s; is the machine overloaded? --patience waits longer"
                )));
            }
        }
        progress.show("one at a time", number + 1, plan.alone());
        thread::sleep(QUIET);
    }
    Ok(latencies)
}

/// Every server broadcasts all of its messages, as fast as they are taken. Returns how long that took, and whether
/// everything arrived.
fn all_at_once(
    senders: Vec<Sender>,
    stop: &Arc<Barrier>,
    tallies: &Arc<Tallies>,
    desk: &mut Desk,
    progress: &mut Progress,
) -> Result<(f64, bool), Failure> {
    let plan = *tallies.plan();
    let start = Arc::new(Barrier::new(plan.servers + 1));
    for sender in senders {
        sender.spawn(start.clone(), stop.clone(), desk.address())?;
    }
    start.wait();
    let started = Instant::now();
    let mut looked = started;
    let mut complete = 0;
    while complete < plan.servers {
        match desk.next_within(GLANCE) {
            Some(News::Complete) => complete += 1,
            Some(News::Failed { pid, error }) => {
                return Err(Failure::Other(format!("server {pid} could not send: {error}")));
            }
            Some(other @ News::Alone { .. }) => {
                return Err(Failure::Other(format!("a message that was sent alone arrived twice: {other:?}")));
            }
            Some(News::Stopped { .. } | News::Ended) | None => {}
        }
        if looked.elapsed() >= GLANCE {
            looked = Instant::now();
            let delivered = tallies.findings().delivered;
            progress.show("messages delivered", delivered, plan.expected());
            if desk.is_stuck_at(delivered) {
                return Ok((started.elapsed().as_secs_f64(), false));
            }
        }
    }
    let end = tallies.complete_at().unwrap_or_else(Instant::now);
    Ok((end.saturating_duration_since(started).as_secs_f64(), true))
}

/// How many messages are sent one at a time: fewer of large ones, but some.
const ALONE: u64 = 500;
const ALONE_BYTES: u64 = 256 << 20;
const FEW_ALONE: u64 = 10;
/// What lies between two of them: long enough that every thread has gone to sleep.
const QUIET: Duration = Duration::from_millis(1);
/// How often the progress is looked at.
const GLANCE: Duration = Duration::from_millis(100);
