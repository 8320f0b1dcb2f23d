//! Runs one contender once, under a time limit, in threads or in processes.

use std::fmt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::case::Case;
use crate::contenders::{Contender, Outcome, RoundTrip, Run};
use crate::measure::{Arrivals, Checker, Latencies, Load, Pinger, Throughput, Traffic};
use crate::participant::{EngineCounts, Participant};
use crate::processes::{self, Children, Job, Work};
use crate::rendezvous::{self, Host, Left, Rendezvous};
use crate::usage::{Meter, Usage};

/// Place in which servers run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// Each server in a thread of this process.
    #[default]
    Threads,
    /// Server 0 in this process, each other server in a process of its own.
    Processes,
}

/// Result of one run.
#[derive(Debug, Clone)]
pub enum Sample {
    /// Latencies of round trips, and a histogram of their durations in nanoseconds.
    RoundTrip(Latencies, Histogram<u64>),
    /// Throughput of traffic.
    Traffic(Throughput),
}

/// Counts of a run besides its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// Messages that arrived; a round trip counts as one.
    pub messages: u64,
    /// Resources used by all servers.
    pub usage: Usage,
    /// Counts of the engine, if the contender is one.
    pub engine: Option<EngineCounts>,
}

/// Settings of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Place in which the servers run.
    pub place: Place,
    /// True if system calls and allocations are counted. Counting slows the run down: its times are not to be used.
    pub counting: bool,
}

/// Reason for which there is no sample.
#[derive(Debug)]
pub enum Failure {
    /// The contender returned an error or panicked.
    Failed(String),
    /// The contender did not return. Its threads still run, so that no further measurement is possible.
    Hung,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => f.write_str(reason),
            Self::Hung => write!(f, "no result after {} s", LIMIT.as_secs()),
        }
    }
}

impl std::error::Error for Failure {}

/// Runs round trips with `pinger`.
pub fn round_trip(contender: &Contender, mut pinger: Pinger, how: How) -> Result<(Sample, Counted), Failure> {
    let (name, run) = (contender.name, contender.run);
    under_limit(move |children| {
        let meter = Meter::begin(how.counting);
        let mut elsewhere = Vec::new();
        match (run, how.place) {
            (Run::RoundTripWithin(run), _) => run(&mut pinger).map_err(|error| error.to_string())?,
            (Run::RoundTrip(ends), Place::Threads) => ask_thread(ends, &mut pinger)?,
            (Run::RoundTrip(ends), Place::Processes) => {
                let work = Work::Answer { size: pinger.size() };
                let job = Job { contender: name.to_owned(), case: Case::RoundTrip, work, counting: how.counting };
                let ask = |mut rendezvous: Rendezvous| (ends.ask)(&mut rendezvous, &mut pinger);
                elsewhere = processes::run(children, &job, ask)?.1;
            }
            _ => return Err("it makes no round trips".to_owned()),
        }
        let usage = elsewhere.iter().map(|report| report.usage).fold(meter.end(), |sum, usage| sum + usage);
        let latencies = pinger.latencies().ok_or_else(|| "not one round trip was completed".to_owned())?;
        let counted = Counted { messages: pinger.asked(), usage, engine: None };
        Ok((Sample::RoundTrip(latencies, pinger.histogram().clone()), counted))
    })
}

/// Runs `traffic`.
pub fn traffic(
    contender: &Contender,
    case: Case,
    traffic: Traffic,
    how: How,
) -> Result<(Throughput, Counted), Failure> {
    let (name, run) = (contender.name, contender.run);
    under_limit(move |children| {
        let meter = Meter::begin(how.counting);
        let (mut arrivals, mut engine): (Vec<Arrivals>, Option<EngineCounts>) = (Vec::new(), None);
        let mut elsewhere = Vec::new();
        let mut keep = |participant: &Participant| -> Result<(), String> {
            arrivals.extend(participant.arrivals()?);
            engine = engine.into_iter().chain(participant.engine()).reduce(EngineCounts::and);
            Ok(())
        };
        match (run, how.place) {
            (Run::OneWayWithin(run), _) => arrivals.push(one_way_within(run, traffic.load)?.0),
            (Run::Traffic(run), Place::Threads) => in_threads(run, traffic)?.iter().try_for_each(keep)?,
            (Run::Traffic(run), Place::Processes) => {
                let work = Work::Traffic(traffic);
                let job = Job { contender: name.to_owned(), case, work, counting: how.counting };
                let first = |rendezvous| {
                    let mut participant = Participant::alone(rendezvous, traffic);
                    run(&mut participant).map(|()| participant)
                };
                let (own, reports) = processes::run(children, &job, first)?;
                keep(&own)?;
                elsewhere = reports;
            }
            _ => return Err("it takes no traffic".to_owned()),
        }
        let mut usage = meter.end();
        for report in elsewhere {
            usage += report.usage;
            arrivals.extend(report.arrivals);
            engine = engine.into_iter().chain(report.engine).reduce(EngineCounts::and);
        }
        let throughput = Throughput::of(&arrivals, usage.processor);
        Ok((throughput, Counted { messages: throughput.messages, usage, engine }))
    })
}

/// Runs one-way traffic in this process at the rate of `load`. Returns the lateness of the messages, in nanoseconds.
pub fn open_loop(contender: &Contender, load: Load) -> Result<Histogram<u64>, Failure> {
    let run = contender.run;
    under_limit(move |_| {
        let late = |checker: &Checker| {
            checker.latencies().cloned().ok_or_else(|| format!("{} messages lost", checker.remaining()))
        };
        match run {
            Run::OneWayWithin(run) => late(&one_way_within(run, load)?.1),
            Run::Traffic(run) => {
                let mut participants = in_threads(run, Traffic::one_way(load))?;
                late(participants[1].checker().map_err(|error| error.to_string())?)
            }
            _ => Err("it takes no traffic".to_owned()),
        }
    })
}

/// Returns the number of messages per sender with which traffic takes about as long as `budget`. `sent` makes the
/// traffic of a number. The search also warms the contender up.
pub fn calibrate(
    contender: &Contender,
    case: Case,
    sent: impl Fn(u64) -> Option<Traffic>,
    budget: Duration,
    place: Place,
) -> Result<u64, Failure> {
    let elapsed = |count| {
        let sent = sent(count).ok_or_else(|| Failure::Failed("it takes no traffic".to_owned()))?;
        let (throughput, _) = traffic(contender, case, sent, How { place, counting: false })?;
        Ok(throughput.elapsed)
    };
    let size = sent(FEWEST).map_or(0, |sent| sent.load.size);
    grow_until(budget, fewest(size), elapsed)
}

/// Returns the smallest number of messages for payloads of `size` bytes. Servers do not connect at the same moment;
/// with this number, connecting is no large part of the time.
fn fewest(size: usize) -> u64 {
    ((FIRST_BYTES / size.max(1)) as u64).clamp(FEWEST, 2048)
}

fn grow_until(
    budget: Duration,
    first: u64,
    elapsed: impl Fn(u64) -> Result<Duration, Failure>,
) -> Result<u64, Failure> {
    let mut count = first;
    loop {
        let elapsed = elapsed(count)?.max(Duration::from_micros(1));
        let factor = budget.as_secs_f64() / elapsed.as_secs_f64();
        if factor <= 4.0 {
            return Ok(((count as f64 * factor) as u64).max(first));
        }
        count = (count as f64 * factor.min(16.0) / 2.0) as u64;
    }
}

fn ask_thread(ends: RoundTrip, pinger: &mut Pinger) -> Result<(), String> {
    let size = pinger.size();
    let (host, mut places) = rendezvous::within(2);
    let (Some(mut far), Some(mut near)) = (places.pop(), places.pop()) else { return Err("nobody meets".to_owned()) };
    thread::scope(|scope| {
        let echo = scope.spawn(|| host.close_unless(|| (ends.answer)(&mut far, size)));
        let asked = host.close_unless(|| (ends.ask)(&mut near, pinger));
        let answered = echo.join().expect("the echo does not panic");
        worst([asked, answered])
    })
}

fn in_threads(run: fn(&mut Participant) -> Outcome, traffic: Traffic) -> Result<Vec<Participant>, String> {
    let (host, places) = rendezvous::within(traffic.servers());
    let mut participants: Vec<Participant> = places.into_iter().map(|place| Participant::new(place, traffic)).collect();
    thread::scope(|scope| {
        let servers = participants.iter_mut().map(|participant| scope.spawn(|| host.close_unless(|| run(participant))));
        let servers: Vec<_> = servers.collect();
        worst(servers.into_iter().map(|server| server.join().expect("no server panics")))
    })?;
    Ok(participants)
}

fn one_way_within(run: fn(&mut Checker) -> Outcome, load: Load) -> Result<(Arrivals, Checker), String> {
    let mut checker = Checker::new(load);
    run(&mut checker).map_err(|error| error.to_string())?;
    let arrivals = checker.arrivals().ok_or_else(|| format!("{} messages lost", checker.remaining()))?;
    Ok((arrivals, checker))
}

impl Host {
    /// Runs a server, and closes the rendezvous for the others if the server fails.
    fn close_unless(&self, server: impl FnOnce() -> Outcome) -> Outcome {
        /// Guard that closes when dropped, as by a panic.
        struct Closing<'a>(Option<&'a Host>);
        impl Drop for Closing<'_> {
            fn drop(&mut self) {
                self.0.inspect(|host| host.close());
            }
        }
        let mut closing = Closing(Some(self));
        server()?;
        closing.0 = None;
        Ok(())
    }
}

/// Returns the failure that caused the others, if any server failed.
fn worst(outcomes: impl IntoIterator<Item = Outcome>) -> Result<(), String> {
    let failures = outcomes.into_iter().filter_map(Result::err);
    let worst = failures.min_by_key(|failure| failure.is::<Left>());
    worst.map_or(Ok(()), |failure| Err(failure.to_string()))
}

/// Runs `work` in a thread of its own and waits for its result, at most `LIMIT`. Ends the processes that `work` has
/// started.
fn under_limit<T: Send + 'static>(
    work: impl FnOnce(&Children) -> Result<T, String> + Send + 'static,
) -> Result<T, Failure> {
    let (give, take) = mpsc::channel();
    let children = Children::default();
    let own = children.clone();
    // The receiver is dropped only after the time limit.
    thread::spawn(move || drop(give.send(work(&own))));
    let result = take.recv_timeout(LIMIT);
    children.end();
    match result {
        Ok(result) => result.map_err(Failure::Failed),
        Err(RecvTimeoutError::Disconnected) => Err(Failure::Failed("it panicked".to_owned())),
        Err(RecvTimeoutError::Timeout) => Err(Failure::Hung),
    }
}

const FEWEST: u64 = 64;
const FIRST_BYTES: usize = 128 << 10;
const LIMIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const fn contender(run: fn(&mut Participant) -> Outcome) -> Contender {
        Contender::new("someone", &[Case::OneWay], Run::Traffic(run))
    }

    fn failure(run: fn(&mut Participant) -> Outcome) -> String {
        let load = Traffic::one_way(Load::new(64, 10));
        traffic(&contender(run), Case::OneWay, load, How::default()).unwrap_err().to_string()
    }

    #[test]
    fn a_contender_that_loses_messages_fails() {
        assert_eq!(failure(|_| Ok(())), "10 messages lost");
    }

    #[test]
    fn a_contender_that_panics_fails() {
        assert_eq!(failure(|_| panic!("on purpose")), "it panicked");
    }

    #[test]
    fn nobody_waits_for_a_server_that_has_failed() {
        let failure = failure(|participant| match participant.index() {
            0 => Err("out of luck".into()),
            _ => participant.meet(String::new()).map(drop).map_err(Into::into),
        });
        assert_eq!(failure, "out of luck");
    }

    #[test]
    fn calibration_ends_near_the_budget() {
        let count = grow_until(Duration::from_millis(50), 64, |count| Ok(Duration::from_micros(count)));
        assert!((25_000..=50_000).contains(&count.unwrap()));
        assert_eq!(grow_until(Duration::from_nanos(1), 64, |_| Ok(Duration::from_secs(1))).unwrap(), 64);
        assert_eq!([64, 1024, 1 << 20].map(fewest), [2048, 128, 64]);
    }
}
