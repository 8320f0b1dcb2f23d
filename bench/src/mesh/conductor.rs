//! Starts the child processes, leads them through the run, and ends them.

use std::mem;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::protocol::{Command, Exact, Job, Progress, Reply};
use super::{LOAD, MEMBER, Options, Outcome, thousands};
use crate::child::{Child, Heard};
use crate::proc::{self, Footprint};

/// Runs a mesh. Passes a line of progress to `tell` about once a second.
pub fn run(options: &Options, tell: impl FnMut(&str)) -> Outcome {
    let mut outcome = Outcome { expected: options.expected(), ..Outcome::default() };
    let mut conductor = match Conductor::new(options, tell) {
        Ok(conductor) => conductor,
        Err(reason) => {
            outcome.failures.push(reason);
            return outcome;
        }
    };
    if let Err(reason) = conductor.lead(&mut outcome) {
        outcome.failures.push(reason);
    }
    outcome.processes = conductor.children.len();
    if outcome.exact_s.is_none() {
        outcome.delivered = conductor.total().delivered;
    }
    outcome.events = conductor.total().events;
    outcome.footprint = conductor.footprint(&mut outcome.failures);
    if outcome.failures.is_empty() {
        conductor.stop();
    }
    outcome.judge(options);
    outcome
}

struct Conductor<'a, F> {
    options: &'a Options,
    tell: F,
    children: Vec<Child>,
    replies: Receiver<(usize, Heard<Reply>)>,
    /// Servers started, by process.
    started: Vec<usize>,
    /// Last known state, by process.
    progress: Vec<Progress>,
    /// Beginning of the current phase.
    began: Instant,
    told: Instant,
}

impl<'a, F: FnMut(&str)> Conductor<'a, F> {
    fn new(options: &'a Options, tell: F) -> Result<Self, String> {
        let (give, replies) = channel();
        let mut children = Vec::new();
        for first in (0..options.servers).step_by(options.per_process) {
            let job = Job {
                first,
                count: options.per_process.min(options.servers - first),
                servers: options.servers,
                messages: options.messages,
                transport: options.transport,
            };
            let child = Child::member(MEMBER, &job, children.len(), give.clone());
            children.push(child.map_err(|error| format!("cannot start process {}: {error}", children.len()))?);
        }
        let (count, now) = (children.len(), Instant::now());
        let (started, progress) = (vec![0; count], vec![Progress::default(); count]);
        Ok(Self { options, tell, children, replies, started, progress, began: now, told: now })
    }

    fn lead(&mut self, outcome: &mut Outcome) -> Result<(), String> {
        let addresses = self.gather("bind listeners", self.began + PATIENCE, |reply| match reply {
            Reply::Listening(addresses) => Some(addresses.clone()),
            _ => None,
        })?;
        let addresses: Vec<SocketAddr> = addresses.into_iter().flatten().collect();
        let load =
            if self.options.beside_load { Some(Child::silent(LOAD).map_err(|error| error.to_string())?) } else { None };

        let begin = Instant::now();
        let deadline = begin + Duration::from_secs(self.options.limit_seconds);
        self.tell_all(&Command::Start(addresses));
        self.gather("start", deadline, |reply| (*reply == Reply::Started).then_some(()))?;
        outcome.started_s = Some(begin.elapsed().as_secs_f64());

        self.tell_all(&Command::Send);
        let exact = self.gather("receive everything", deadline, |reply| match reply {
            Reply::Exact(exact) => Some(*exact),
            _ => None,
        })?;
        outcome.exact_from_start_s = Some(begin.elapsed().as_secs_f64());
        drop(load);
        outcome.exact_s = Some(seconds(&exact));
        outcome.delivered = exact.iter().map(|exact| exact.progress.delivered).sum();
        self.idle(outcome)
    }

    fn idle(&mut self, outcome: &mut Outcome) -> Result<(), String> {
        self.tell_all(&Command::IdleBegin);
        let before = self.gather("become idle", Instant::now() + PATIENCE, idle)?;
        self.watch(SETTLING)?;
        let (from, used) = (Instant::now(), self.processor_time()?);
        self.watch(Duration::from_secs(self.options.idle_seconds))?;
        let used = self.processor_time()?.saturating_sub(used);
        outcome.idle_percent = Some(used.as_secs_f64() / from.elapsed().as_secs_f64() * 100.0);
        self.tell_all(&Command::IdleEnd);
        let after = self.gather("end the idle phase", Instant::now() + PATIENCE, idle)?;
        let (before, after) = (sum(&before), sum(&after));
        outcome.idle_down = Some(after.events.down - before.events.down);
        outcome.idle_messages = Some(after.delivered - before.delivered);
        Ok(())
    }

    fn tell_all(&mut self, command: &Command) {
        self.children.iter_mut().for_each(|child| child.tell(command));
    }

    /// Waits until `take` has accepted a reply of every process. Returns the values in the order of the processes.
    fn gather<T>(
        &mut self,
        phase: &str,
        deadline: Instant,
        take: impl Fn(&Reply) -> Option<T>,
    ) -> Result<Vec<T>, String> {
        let mut taken: Vec<Option<T>> = self.children.iter().map(|_| None).collect();
        let mut missing = taken.len();
        self.began = Instant::now();
        self.told = self.began;
        while missing > 0 {
            if let Some((index, reply)) = self.next(deadline.min(self.told + INTERVAL))?
                && let Some(value) = take(&reply)
            {
                missing -= usize::from(taken[index].replace(value).is_none());
            }
            if Instant::now() >= deadline {
                let (all, state, complete) = (taken.len(), self.state(), self.total().complete);
                return Err(format!(
                    "{missing} of {all} processes did not {phase} in time: {state}, {complete} servers complete"
                ));
            }
            if self.told.elapsed() >= INTERVAL {
                self.told = Instant::now();
                let line = format!("{:.1} s, {}", self.began.elapsed().as_secs_f64(), self.state());
                (self.tell)(&line);
            }
        }
        Ok(taken.into_iter().flatten().collect())
    }

    /// Waits for `duration`, and returns early with an error if a process fails.
    fn watch(&mut self, duration: Duration) -> Result<(), String> {
        let deadline = Instant::now() + duration;
        while Instant::now() < deadline {
            self.next(deadline)?;
        }
        Ok(())
    }

    /// Returns the next reply, or `None` if none comes by `deadline`. A process that has failed or ended is an error.
    fn next(&mut self, deadline: Instant) -> Result<Option<(usize, Reply)>, String> {
        let (index, reply) = match self.replies.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((index, Heard::Reply(reply))) => (index, reply),
            Ok((index, Heard::Unreadable(reason))) => return Err(format!("process {index}: {reason}")),
            Ok((index, Heard::End)) => return Err(format!("process {index} has ended: {}", self.state())),
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => return Err("all processes have ended".to_owned()),
        };
        match &reply {
            Reply::Failed(reason) => return Err(format!("process {index}: {reason}")),
            Reply::Starting(count) => self.started[index] = *count,
            Reply::Progress(progress) | Reply::Idle(progress) => self.progress[index] = *progress,
            Reply::Exact(exact) => self.progress[index] = exact.progress,
            Reply::Started => {
                let first = index * self.options.per_process;
                self.started[index] = self.options.per_process.min(self.options.servers - first);
            }
            Reply::Listening(_) => {}
        }
        Ok(Some((index, reply)))
    }

    fn state(&self) -> String {
        let (started, servers) = (self.started.iter().sum::<usize>(), self.options.servers);
        if started < servers {
            return format!("{started} of {servers} servers started");
        }
        let (total, expected) = (self.total(), thousands(self.options.expected()));
        format!("{} of {expected} delivered, {} Down", thousands(total.delivered), thousands(total.events.down))
    }

    fn total(&self) -> Progress {
        sum(&self.progress)
    }

    fn processor_time(&self) -> Result<Duration, String> {
        let times = self.children.iter().map(|child| proc::processor_time(child.id()));
        times.sum::<Result<Duration, _>>().map_err(|error| format!("processor time of a process: {error}"))
    }

    /// Returns the footprint of all processes. An unreadable process counts as a failure only if no other failure
    /// explains it.
    fn footprint(&self, failures: &mut Vec<String>) -> Footprint {
        let mut footprint = Footprint::default();
        for (index, child) in self.children.iter().enumerate() {
            match proc::footprint(child.id()) {
                Ok(own) => footprint += own,
                Err(error) if failures.is_empty() => failures.push(format!("process {index}: {error}")),
                Err(_) => {}
            }
        }
        footprint
    }

    /// Lets the processes stop their servers, and kills those that take longer than `STOPPING`.
    fn stop(&mut self) {
        self.tell_all(&Command::Stop);
        let deadline = Instant::now() + STOPPING;
        let mut children = mem::take(&mut self.children);
        children.retain_mut(|child| !child.exits_by(deadline));
        if !children.is_empty() {
            (self.tell)(&format!("{} processes did not stop in time and are killed", children.len()));
        }
    }
}

fn idle(reply: &Reply) -> Option<Progress> {
    match reply {
        Reply::Idle(progress) => Some(*progress),
        _ => None,
    }
}

fn sum(progress: &[Progress]) -> Progress {
    let mut sum = Progress::default();
    progress.iter().for_each(|progress| sum += *progress);
    sum
}

/// Returns the seconds from the first send of any process to the last message received by any.
fn seconds(exact: &[Exact]) -> f64 {
    let first = exact.iter().map(|exact| exact.first_ns).min().unwrap_or(0);
    let last = exact.iter().map(|exact| exact.last_ns).max().unwrap_or(0);
    Duration::from_nanos(last.saturating_sub(first)).as_secs_f64()
}

/// Time between two lines of progress.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time for a phase in which nothing is measured.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between the exchange and the measurement of the idle phase.
const SETTLING: Duration = Duration::from_secs(2);
/// Time for all processes to stop their servers.
const STOPPING: Duration = Duration::from_secs(10);
