//! The runner of a mock network: a thread under real time, the waiting threads under virtual time.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cluster_engine::mock::Parker;
use cluster_engine::{LoopHandle, Undelivered, VirtualClock};

use super::Time;
use super::network::Network;
use crate::{DownReason, Pid};

/// Longest time between two checks of a stop for its end.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// Mock network and its clock.
pub(super) struct Runner {
    network: Mutex<Network>,
    time: Time,
    start: Instant,
    /// Present time of the network, in nanoseconds.
    now: Arc<AtomicU64>,
    /// Version of the list of members.
    pub(super) membership: AtomicU64,
    parker: Parker,
    turned: Condvar,
    ended: AtomicBool,
}

impl Runner {
    fn lock(&self) -> MutexGuard<'_, Network> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn time(&self) -> Time {
        self.time
    }

    /// Reads or changes the network at the present time. Envelopes sent before have left their outboxes.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Network) -> T) -> T {
        let mut network = self.lock();
        self.read_clock(&mut network);
        network.turn();
        let result = change(&mut network);
        network.turn();
        drop(network);
        // The next scheduled time may have changed.
        if self.time == Time::Real {
            self.parker.wake();
        }
        result
    }

    /// Advances virtual time as far as `go` does.
    pub(super) fn advance<T>(&self, go: impl FnOnce(&mut Network) -> T) -> T {
        go(&mut self.lock())
    }

    /// Sends what a server's outboxes took, waits at most `patience` for its delivery to all reachable peers, and ends
    /// the server. `start` selects the incarnation. Returns the undelivered envelopes.
    pub(super) fn stop(&self, pid: Pid, start: u32, patience: Duration) -> Vec<Undelivered> {
        let mut network = self.lock();
        if network.members.start_of(pid) != start || !network.switchboard.is_running(pid) {
            return Vec::new();
        }
        self.read_clock(&mut network);
        network.switchboard.refuse(pid);
        network.turn();
        let deadline = network.now + patience;
        let undelivered = loop {
            let (undelivered, helps) = network.undelivered(pid);
            if !helps || network.now >= deadline {
                break undelivered;
            }
            match self.time {
                Time::Virtual => {
                    network.step(Some(deadline));
                }
                Time::Real => {
                    let wait = (deadline - network.now).min(STOP_LOOK);
                    network = self.turned.wait_timeout(network, wait).unwrap_or_else(PoisonError::into_inner).0;
                    self.read_clock(&mut network);
                }
            }
        };
        // The server may have crashed and started again while the lock was released.
        if network.members.start_of(pid) == start {
            network.leave(pid, DownReason::Stopped);
            network.turn();
        }
        undelivered
    }

    fn read_clock(&self, network: &mut Network) {
        if self.time == Time::Real {
            network.advance_to(self.start.elapsed());
        }
    }

    /// Turns the network under real time, until the cluster ends. It runs on its own thread.
    fn run(&self) {
        loop {
            let mut network = self.lock();
            self.read_clock(&mut network);
            network.turn();
            let next = network.next_due().map(|due| due.saturating_sub(self.start.elapsed()));
            drop(network);
            self.turned.notify_all();
            // The check follows the turn, because the turn may have consumed the wake that announces the end.
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            self.parker.sleep(next);
        }
    }

    fn until(&self, until: Option<Instant>) -> Option<Duration> {
        until.map(|until| until.saturating_duration_since(self.start))
    }
}

impl VirtualClock for Runner {
    fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.now.load(Ordering::Acquire))
    }

    fn turn(&self) -> bool {
        self.lock().turn()
    }

    fn step(&self, until: Option<Instant>) -> bool {
        self.advance(|network| network.step(self.until(until)))
    }

    fn wait(&self, until: Option<Instant>) -> bool {
        let worked = self.step(until);
        if !worked && until.is_none() {
            let (seed, now) = (self.lock().seed, Duration::from_nanos(self.now.load(Ordering::Acquire)));
            panic!(
                "this call would wait for ever: at {now:?} of virtual time nothing is under way and nothing is planned; send \
                 first, wait with a timeout, or use mock::Time::Real if another thread is to send (seed {seed})"
            );
        }
        worked
    }
}

/// Owner of a runner and its thread, shared by the cluster's handles and its servers.
pub(super) struct Keeper {
    pub(super) runner: Arc<Runner>,
    pub(super) loop_handle: LoopHandle,
    seed: u64,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn new(network: Network, time: Time) -> Arc<Keeper> {
        let seed = network.seed;
        let runner = Arc::new(Runner {
            time,
            start: network.switchboard.start(),
            now: network.published(),
            membership: AtomicU64::new(0),
            parker: network.switchboard.parker(),
            turned: Condvar::new(),
            ended: AtomicBool::new(false),
            network: Mutex::new(network),
        });
        let clock = (time == Time::Virtual).then(|| runner.clone() as Arc<dyn VirtualClock>);
        let loop_handle = runner.lock().switchboard.loop_handle(clock);
        let thread = (time == Time::Real).then(|| {
            let runner = runner.clone();
            let spawned = thread::Builder::new().name("mock-cluster".to_owned()).spawn(move || runner.run());
            spawned.unwrap_or_else(|error| panic!("a mock cluster under real time needs a thread: {error}"))
        });
        Arc::new(Keeper { runner, loop_handle, seed, thread })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.runner.ended.store(true, Ordering::Release);
        self.runner.parker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already printed its message.
            let _ = thread.join();
        }
        if thread::panicking() {
            say_seed(self.seed);
        }
    }
}

#[expect(clippy::print_stderr, reason = "whoever reads of a failed test needs the seed to replay it")]
fn say_seed(seed: u64) {
    eprintln!("the mock cluster's seed was {seed}: it replays this run if the test drives it from one thread");
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("time", &self.time).finish_non_exhaustive()
    }
}
