//! `cluster demo`: servers in this process that exchange messages over TCP and check every one.
//!
//! | file | content |
//! | --- | --- |
//! | `servers` | start and connection of the servers |
//! | `sender`, `receiver` | the two threads of each server |
//! | `payload` | content of the messages |
//! | `checker` | check of received messages |
//! | `latencies` | latencies of the messages |
//! | `news` | reports of the threads to the main thread, with its timeouts |
//! | `progress` | progress lines |
//! | `resources` | descriptors, memory and threads that the servers need |
//! | `report` | result of the demonstration |

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

use cluster::{Driver, Pid};

use self::latencies::Latencies;
use self::news::{Desk, News};
use self::payload::TIMED;
use self::progress::Progress;
use self::receiver::Tallies;
use self::report::Report;
use self::sender::Sender;
use self::servers::Started;
use crate::arguments::{self, Demo};
use crate::failure::Failure;
use crate::output::{print, say};

/// Parameters of the demonstration.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub servers: usize,
    /// Number of messages that each server broadcasts.
    pub messages: u64,
    /// Length of a message, in bytes.
    pub size: usize,
    pub driver: Driver,
    pub patience: Duration,
}

impl Plan {
    /// Number of messages sent one at a time.
    pub fn alone(&self) -> u64 {
        (ALONE_BYTES / self.size as u64).clamp(FEW_ALONE, ALONE)
    }

    /// Number of messages that all servers together must receive.
    pub fn expected(&self) -> u64 {
        self.expected_by_server() * self.servers as u64
    }

    /// Number of messages that each server must receive.
    pub fn expected_by_server(&self) -> u64 {
        self.messages * (self.servers as u64 - 1)
    }

    /// Returns the pid of a server by its index: 100, 200, 300 …
    pub fn pid(&self, index: usize) -> Pid {
        (index as Pid + 1) * 100
    }

    /// Returns the index of a server by its pid.
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
        driver: match arguments.driver {
            arguments::Driver::Auto => Driver::Auto,
            arguments::Driver::IoUring => Driver::IoUring,
            arguments::Driver::Epoll => Driver::Epoll,
        },
        patience: Duration::from_secs(arguments.patience.into()),
    };
    let begun = Instant::now();
    let mut progress = Progress::new();
    let buffers = resources::reserve(&plan)?;
    let mut started = servers::start(&plan, &buffers)?;
    if let Some(reason) = started.first().and_then(|first| first.handle.engine().fallback().map(ToString::to_string)) {
        say(format_args!("the servers run on epoll, not on io_uring: {reason}"));
    }
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
        // Duplicates may arrive until the end.
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

/// Sends single messages between two servers, each after the previous one has arrived and all threads are idle.
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

/// Lets every server broadcast all of its messages as fast as possible. Returns the duration in seconds, and whether
/// all messages arrived.
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

/// Number of messages sent one at a time. Fewer are sent if they are large, but at least [`FEW_ALONE`].
const ALONE: u64 = 500;
const ALONE_BYTES: u64 = 256 << 20;
const FEW_ALONE: u64 = 10;
/// Pause between two single messages, long enough for every thread to go to sleep.
const QUIET: Duration = Duration::from_millis(1);
/// Time between two checks of the progress.
const GLANCE: Duration = Duration::from_millis(100);
