//! Traffic of a replicated system on a connection: heartbeats on the urgent lane, beside appends and a snapshot.
//!
//! The result is the lateness of heartbeats while a 64 MiB envelope travels, against their lateness when nothing else
//! is sent. Heartbeats are sent 100 times per second and timed from when they were due, by the clock of the process
//! that holds both servers.

use std::error::Error;
use std::fmt;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Builder, Config, Engine, Envelope, Idle, Inbox, Node, Outbox, Server, Split};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::table::Table;

/// Lateness of heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Heartbeats {
    /// Number of heartbeats.
    pub count: u64,
    /// Median, in microseconds.
    pub p50_us: f64,
    /// 99th percentile, in microseconds.
    pub p99_us: f64,
    /// 99.9th percentile, in microseconds.
    pub p999_us: f64,
    /// Maximum, in microseconds.
    pub max_us: f64,
}

/// Lateness of heartbeats alone, and beside appends and snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Heartbeats alone.
    pub idle: Heartbeats,
    /// Heartbeats beside appends and snapshots.
    pub loaded: Heartbeats,
    /// 4 KiB appends that arrived meanwhile.
    pub appends: u64,
    /// 64 MiB snapshots that arrived meanwhile.
    pub snapshots: u64,
}

type Failure = Box<dyn Error + Send + Sync>;

/// Runs the idle and the loaded phase, each for the duration `each`.
pub fn run(each: Duration) -> Result<Outcome, Failure> {
    let (idle, _, _) = phase(each, false)?;
    let (loaded, appends, snapshots) = phase(each, true)?;
    if snapshots == 0 || appends == 0 {
        return Err("no append or no snapshot arrived, so that nothing was beside the heartbeats".into());
    }
    Ok(Outcome { idle, loaded, appends, snapshots })
}

fn phase(each: Duration, loaded: bool) -> Result<(Heartbeats, u64, u64), Failure> {
    let (near, mut far) = pair()?;
    let Split { mut outbox, mut handle, .. } = near.split();
    outbox.send(Envelope::to(FAR).id(HELLO))?;
    far.inbox().recv()?;
    let stop = &AtomicBool::new(false);
    let begin = Instant::now();
    let beats = (each.as_secs_f64() / INTERVAL.as_secs_f64()) as u64;
    let result = thread::scope(|scope| {
        let own = outbox.clone();
        let mut senders = vec![scope.spawn(move || heartbeats(own, begin, beats))];
        if loaded {
            for (id, bytes, pause) in [APPENDS, SNAPSHOTS] {
                let own = outbox.clone();
                senders.push(scope.spawn(move || repeat(own, id, bytes, pause, stop)));
            }
        }
        let received = receive(far.inbox(), begin, beats);
        stop.store(true, Ordering::Relaxed);
        // A sender may wait for room: its remaining envelopes are taken until it has seen `stop`.
        while senders.iter().any(|sender| !sender.is_finished()) {
            drop(far.inbox().recv_timeout(Duration::from_millis(1)));
        }
        for sender in senders {
            sender.join().expect("no sender panics")?;
        }
        received
    });
    // Stops at once: envelopes still under way are not needed.
    drop(handle.stop_within(Duration::ZERO));
    result
}

fn heartbeats(mut outbox: Outbox, begin: Instant, beats: u64) -> Result<(), Failure> {
    for beat in 0..beats {
        thread::sleep((begin + INTERVAL * beat as u32).saturating_duration_since(Instant::now()));
        outbox.send(Envelope::to(FAR).id(HEARTBEAT).urgent().body(&beat.to_le_bytes()[..]))?;
    }
    Ok(())
}

fn repeat(mut outbox: Outbox, id: i64, bytes: usize, pause: Duration, stop: &AtomicBool) -> Result<(), Failure> {
    let body = bytes::Bytes::from(vec![7; bytes]);
    while !stop.load(Ordering::Relaxed) {
        outbox.send(Envelope::to(FAR).id(id).body(body.clone()))?;
        thread::sleep(pause);
    }
    Ok(())
}

/// Receives until the last heartbeat. Each heartbeat has to arrive once and in order.
fn receive(inbox: &mut Inbox, begin: Instant, beats: u64) -> Result<(Heartbeats, u64, u64), Failure> {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3)?;
    let (mut next, mut appends, mut snapshots) = (0_u64, 0, 0);
    while next < beats {
        let envelope = inbox.recv_timeout(PATIENCE)?;
        match (envelope.msg_id, envelope.msg.len()) {
            (HEARTBEAT, 8) if envelope.msg[..] == next.to_le_bytes() => {
                let due = begin + INTERVAL * next as u32;
                histogram.saturating_record(due.elapsed().as_nanos() as u64);
                next += 1;
            }
            (id, bytes) if (id, bytes) == (APPENDS.0, APPENDS.1) => appends += 1,
            (id, bytes) if (id, bytes) == (SNAPSHOTS.0, SNAPSHOTS.1) => snapshots += 1,
            (id, bytes) => return Err(format!("an envelope {id} of {bytes} bytes out of place").into()),
        }
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    let heartbeats =
        Heartbeats { count: beats, p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999), max_us: at(1.0) };
    Ok((heartbeats, appends, snapshots))
}

fn pair() -> Result<(Node, Node), Failure> {
    let (near, far) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let config = Config::new([(NEAR, near.local_addr()?.to_string()), (FAR, far.local_addr()?.to_string())])?;
    let near = Builder::new(NEAR, &config).engine(&Engine::dedicated(1, Idle::default())?).listener(near).start()?;
    let far = Builder::new(FAR, &config).engine(&Engine::dedicated(1, Idle::default())?).listener(far).start()?;
    Ok((near, far))
}

impl Outcome {
    /// Returns the loaded p99.9 as a multiple of the idle one.
    pub fn ratio(&self) -> f64 {
        self.loaded.p999_us / self.idle.p999_us
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["heartbeats", "count", "p50 µs", "p99 µs", "p99.9 µs", "max µs"]);
        for (name, beats) in [("idle", self.idle), ("beside the rest", self.loaded)] {
            let figures = [beats.p50_us, beats.p99_us, beats.p999_us, beats.max_us].map(|us| format!("{us:.0}"));
            let [p50, p99, p999, max] = figures;
            table.row([name.to_owned(), beats.count.to_string(), p50, p99, p999, max]);
        }
        let verdict = if self.ratio() <= BAR { "ok" } else { "MISSED" };
        writeln!(f, "{table}")?;
        writeln!(f, "meanwhile {} appends of 4 KiB and {} snapshots of 64 MiB arrived", self.appends, self.snapshots)?;
        writeln!(f, "p99.9 beside the rest / idle: {:.2}, bar <= {BAR}: {verdict}", self.ratio())
    }
}

const NEAR: u64 = 1;
const FAR: u64 = 2;
const HELLO: i64 = 0;
const HEARTBEAT: i64 = 1;
/// Message id, bytes in an envelope, and the pause after each.
const APPENDS: (i64, usize, Duration) = (2, 4096, Duration::from_micros(500));
const SNAPSHOTS: (i64, usize, Duration) = (3, 64 << 20, Duration::from_millis(100));
const INTERVAL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(20);
const LONGEST_NS: u64 = 60_000_000_000;
/// Limit of the loaded p99.9, as a multiple of the idle one.
pub const BAR: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_arrive_beside_everything_else() {
        // On a busy machine, no snapshot arrives in so short a time: the second attempt is longer.
        let outcome = run(Duration::from_secs(1)).or_else(|_| run(Duration::from_secs(10))).unwrap();
        assert!(outcome.idle.count >= 100 && outcome.loaded.count == outcome.idle.count);
        assert!(outcome.appends > 0 && outcome.snapshots > 0);
    }
}
