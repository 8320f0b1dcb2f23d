//! The mock cluster that a test controls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use cluster_engine::mock::{Limits, Switchboard};

use super::network::Network;
use super::runner::Keeper;
use super::{Conditions, Fault, FaultError, History, Node, Place, Time, Totals};
use crate::outbox::first_id;
use crate::{BROADCAST, Config, Pid, StartError};

/// Default number of history entries: see [`Cluster::keep_history`].
const HISTORY: usize = 100_000;

/// Cluster of servers in one process, without a network. A clone is another handle of this cluster.
///
/// See the [module](super) for the purpose and an example.
#[derive(Clone)]
pub struct Cluster {
    keeper: Arc<Keeper>,
    seed: u64,
    first_id: Option<i64>,
}

impl Cluster {
    /// Makes a cluster without servers, under [`Time::Real`]. `seed` determines all random choices, including the first
    /// message id of each server.
    pub fn new(seed: u64) -> Cluster {
        Cluster::with_time(seed, Time::Real)
    }

    /// Makes a cluster without servers, under this kind of time. `seed` determines all random choices, including the
    /// first message id of each server.
    pub fn with_time(seed: u64, time: Time) -> Cluster {
        Cluster::make(seed, time, &Config::defaults())
    }

    /// Makes a cluster of the servers of `config`. None of them runs until [`add_server`](Cluster::add_server) starts
    /// it. The addresses are ignored. The sizes, the first message id and the peer timeout of `config` apply.
    ///
    /// ```
    /// use cluster::mock::{Cluster, Time};
    /// use cluster::{Config, Server};
    ///
    /// let config = Config::new([(100, "127.0.0.1:8001"), (200, "127.0.0.1:8002")])?
    ///     .with_max_envelope_bytes(1000);
    /// let cluster = Cluster::from_config(7, Time::Virtual, &config)?;
    /// let alice = cluster.add_server(100)?;
    /// assert_eq!(alice.peers(), [200]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`StartError::Config`] if the configuration is invalid.
    pub fn from_config(seed: u64, time: Time, config: &Config) -> Result<Cluster, StartError> {
        config.validate()?;
        let cluster = Cluster::make(seed, time, config);
        cluster.keeper.runner.with(|network| {
            for member in &config.servers {
                network.members.add(member.pid);
            }
        });
        Ok(cluster)
    }

    fn make(seed: u64, time: Time, config: &Config) -> Cluster {
        let switchboard = Switchboard::new(Limits {
            ring_bytes: usize::try_from(config.outbox_bytes).unwrap_or(usize::MAX),
            window_bytes: config.inbox_bytes & !7,
            max_envelope_bytes: config.max_envelope_bytes,
        });
        let peer_timeout = Duration::from_millis(config.peer_timeout_ms);
        let network = Network::new(seed, switchboard, peer_timeout, HISTORY);
        Cluster { keeper: Keeper::new(network, time), seed, first_id: config.first_message_id }
    }

    /// Starts the server `pid`, and adds it to the cluster if it is not a member yet. All other servers have it as a
    /// peer at once.
    ///
    /// A stopped server remains a member of the cluster: it is an absent peer until this method starts it again.
    ///
    /// # Errors
    /// [`StartError`] if the server already runs, or if the pid is [`BROADCAST`].
    pub fn add_server(&self, pid: Pid) -> Result<Node, StartError> {
        if pid == BROADCAST {
            // The configuration makes the best error message.
            Config::new([(pid, "localhost:1")])?;
        }
        let runner = &self.keeper.runner;
        runner.with(|network| {
            if network.switchboard.is_running(pid) {
                return Err(StartError::AlreadyRunning { pid });
            }
            if network.members.add(pid) {
                runner.membership.fetch_add(1, Ordering::AcqRel);
            }
            let membership = runner.membership.load(Ordering::Acquire);
            let ends = network.join(pid, &self.keeper.loop_handle);
            let start = network.members.start_of(pid);
            let first_id = first_id(self.first_id, &network.members.incarnation_of(pid));
            Ok(Node::new(pid, start, ends, first_id, membership, self.keeper.clone()))
        })
    }

    /// Starts these servers.
    ///
    /// # Errors
    /// [`StartError`] if one of the servers already runs, or if a pid is [`BROADCAST`]: see
    /// [`add_server`](Cluster::add_server).
    pub fn add_servers(&self, pids: impl IntoIterator<Item = Pid>) -> Result<Vec<Node>, StartError> {
        let pids: Vec<Pid> = pids.into_iter().collect();
        if !pids.contains(&BROADCAST) {
            // Adding all members first makes the first server's list of peers complete.
            self.keeper.runner.with(|network| {
                if pids.iter().filter(|pid| network.members.add(**pid)).count() > 0 {
                    self.keeper.runner.membership.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        pids.into_iter().map(|pid| self.add_server(pid)).collect()
    }

    /// Stops the server `pid` if it runs, and removes it from the cluster: it is no longer a peer of the other servers.
    pub fn remove_server(&self, pid: Pid) {
        self.keeper.runner.with(|network| {
            network.remove(pid);
            self.keeper.runner.membership.fetch_add(1, Ordering::AcqRel);
        });
    }

    /// Pids of all servers of the cluster, running or not, ascending.
    pub fn servers(&self) -> Vec<Pid> {
        self.keeper.runner.with(|network| network.members.pids().collect())
    }

    /// Pids of the running servers, ascending.
    pub fn running(&self) -> Vec<Pid> {
        self.keeper.runner.with(|network| network.switchboard.running().collect())
    }

    /// Partitions the cluster: servers of different groups cannot reach each other. Unlisted servers form one more
    /// group.
    ///
    /// Messages sent across groups, or in flight between them when the partition begins, are dropped for good, unless
    /// [`hold_while_partitioned`](Cluster::hold_while_partitioned) keeps them. [`totals`](Cluster::totals) counts both
    /// kinds. Servers detect a partition by silence, after `peer_timeout_ms`, as on the real engine.
    ///
    /// # Errors
    /// [`FaultError`] if a pid is in two groups, or not in the cluster.
    pub fn partition(&self, groups: &[&[Pid]]) -> Result<(), FaultError> {
        self.inject(Fault::partition(groups))
    }

    /// Cuts one server off from all others.
    ///
    /// # Errors
    /// [`FaultError`] if the pid is not in the cluster.
    pub fn isolate(&self, pid: Pid) -> Result<(), FaultError> {
        self.inject(Fault::Isolate(pid))
    }

    /// Cuts one direction of a link: messages from `from` do not reach `to` any more.
    ///
    /// # Errors
    /// [`FaultError`] if a pid is not in the cluster.
    pub fn cut(&self, from: Pid, to: Pid) -> Result<(), FaultError> {
        self.inject(Fault::Cut { from, to })
    }

    /// Removes every partition, isolation and cut.
    pub fn heal(&self) {
        self.keeper.runner.with(|network| network.apply(Fault::Heal));
    }

    /// Sets the handling of messages that cannot reach their recipient: `true` holds them until they can, as the real
    /// engine does; `false`, the default, drops them.
    pub fn hold_while_partitioned(&self, hold: bool) {
        self.keeper.runner.with(|network| network.apply(Fault::HoldWhilePartitioned(hold)));
    }

    /// Sets the conditions at a place, for messages sent from now on. They replace earlier conditions at that place.
    ///
    /// # Errors
    /// [`FaultError`] if the conditions are invalid, or if a pid is not in the cluster.
    pub fn set(&self, place: Place, conditions: Conditions) -> Result<(), FaultError> {
        self.inject(Fault::Set(place, conditions))
    }

    /// Ends a server without a goodbye, as if its process were killed. Its [`Node`] is then stopped. A server that does
    /// not run stays as it is.
    ///
    /// # Errors
    /// [`FaultError`] if the pid is not in the cluster.
    pub fn crash(&self, pid: Pid) -> Result<(), FaultError> {
        self.inject(Fault::Crash(pid))
    }

    /// Injects a fault now.
    ///
    /// # Errors
    /// [`FaultError`] if the fault is invalid, or if a pid is not in the cluster.
    pub fn inject(&self, fault: Fault) -> Result<(), FaultError> {
        fault.check()?;
        self.keeper.runner.with(|network| {
            if let Some(pid) = fault.pids().into_iter().find(|pid| !network.members.contains(*pid)) {
                return Err(FaultError::UnknownPid { pid });
            }
            network.apply(fault);
            Ok(())
        })
    }

    /// Schedules a fault for when the cluster has this age; injects it at once if the cluster is older. The servers
    /// that the fault names may be added until then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cluster::mock::{Cluster, Fault, Time};
    ///
    /// let cluster = Cluster::with_time(7, Time::Virtual);
    /// let servers = cluster.add_servers(1..=5)?;
    /// cluster.at(Duration::from_secs(10), Fault::partition(&[&[1, 2]]))?;
    /// cluster.at(Duration::from_secs(20), Fault::Heal)?;
    /// cluster.run_for(Duration::from_secs(3600));
    /// assert_eq!(cluster.now(), Duration::from_secs(3600));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`FaultError`] if the fault is invalid.
    pub fn at(&self, time: Duration, fault: Fault) -> Result<(), FaultError> {
        fault.check()?;
        self.keeper.runner.with(|network| network.plan(time, fault));
        Ok(())
    }

    /// Age of the cluster: the real or virtual time since it was made.
    pub fn now(&self) -> Duration {
        self.keeper.runner.with(|network| network.now)
    }

    /// Seed of the cluster's random choices.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Lets `duration` pass. Under real time, this sleeps. Under virtual time, it carries out what is due meanwhile.
    pub fn run_for(&self, duration: Duration) {
        if self.keeper.runner.time() == Time::Real {
            return thread::sleep(duration);
        }
        self.keeper.runner.advance(|network| {
            let until = network.now + duration;
            while network.step(Some(until)) {}
        });
    }

    /// Lets time pass until no message is in flight. Returns the time that passed. Held messages do not count as in
    /// flight.
    ///
    /// Conditions may keep messages in flight for long. A cluster whose servers only answer each other becomes idle.
    pub fn run_until_idle(&self) -> Duration {
        let begin = self.now();
        match self.keeper.runner.time() {
            Time::Real => {
                while let Some(due) = self.keeper.runner.with(|network| network.is_flying().then(|| network.next_due()))
                {
                    let wait = due.map_or(Duration::ZERO, |due| due.saturating_sub(self.now()));
                    thread::sleep(wait.max(Duration::from_micros(100)));
                }
            }
            Time::Virtual => self.keeper.runner.advance(|network| {
                network.turn();
                while network.is_flying() && network.step(None) {}
            }),
        }
        self.now() - begin
    }

    /// Advances virtual time to the next scheduled event (an arrival, a fault or a peer timeout), and carries it out.
    /// Returns `false` if there is none. Under real time it does nothing and returns `false`.
    pub fn step(&self) -> bool {
        self.keeper.runner.time() == Time::Virtual && self.keeper.runner.advance(|network| network.step(None))
    }

    /// Returns the history of the cluster up to now.
    pub fn history(&self) -> History {
        self.keeper.runner.with(|network| network.recorder.read(network.seed))
    }

    /// Sets the number of history entries to keep, by default 100,000. Beyond that the oldest are dropped. The messages
    /// in the history take memory.
    pub fn keep_history(&self, entries: usize) {
        self.keeper.runner.with(|network| network.recorder.keep(entries));
    }

    /// Counts of all messages up to now, by outcome.
    pub fn totals(&self) -> Totals {
        self.keeper.runner.with(|network| network.totals)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("seed", &self.seed).field("runner", &self.keeper.runner).finish_non_exhaustive()
    }
}
