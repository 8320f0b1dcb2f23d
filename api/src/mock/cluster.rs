//! The mock cluster, as a test holds it.

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

/// So many entries of the history are kept, unless [`Cluster::keep_history`] says otherwise.
const HISTORY: usize = 100_000;

/// A cluster in this process, without a network. A clone is another handle of the same cluster.
///
/// See the [module](super) for what it is good for, and an example.
#[derive(Clone)]
pub struct Cluster {
    keeper: Arc<Keeper>,
    seed: u64,
    first_id: Option<i64>,
}

impl Cluster {
    /// A cluster without servers, under real time. `seed` decides all that is left to chance, also where the message
    /// ids of a server begin.
    pub fn new(seed: u64) -> Cluster {
        Cluster::with_time(seed, Time::Real)
    }

    /// A cluster without servers, under this kind of time.
    pub fn with_time(seed: u64, time: Time) -> Cluster {
        Cluster::make(seed, time, &Config::defaults())
    }

    /// A cluster of the servers of `config`, of which none runs yet: [`add_server`](Cluster::add_server) starts them. Their
    /// addresses mean nothing here; the sizes, the first message id and the peer timeout are those of `config`.
    ///
    /// ```
    /// use cluster::mock::{Cluster, Time};
    /// use cluster::{Config, Server};
    ///
    /// let config = Config::new([(100, "127.0.0.1:8001"), (200, "127.0.0.1:8002")])?.with_max_envelope_bytes(1000);
    /// let cluster = Cluster::from_config(7, Time::Virtual, &config)?;
    /// let alice = cluster.add_server(100)?;
    /// assert_eq!(alice.peers(), [200]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The configuration is not valid.
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

    /// Starts the server `pid`; adds it to the cluster first, if it does not belong to it. All others have it as a peer at once.
    ///
    /// A server that has stopped still belongs to the cluster: it is a peer that is not there, until this starts it again.
    ///
    /// # Errors
    /// It runs already, or the pid is the one that means [`BROADCAST`].
    pub fn add_server(&self, pid: Pid) -> Result<Node, StartError> {
        if pid == BROADCAST {
            // The configuration says it best.
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
    /// As [`add_server`](Cluster::add_server).
    pub fn add_servers(&self, pids: impl IntoIterator<Item = Pid>) -> Result<Vec<Node>, StartError> {
        let pids: Vec<Pid> = pids.into_iter().collect();
        if !pids.contains(&BROADCAST) {
            // All at once, so that the first one's list of peers is complete.
            self.keeper.runner.with(|network| {
                if pids.iter().filter(|pid| network.members.add(**pid)).count() > 0 {
                    self.keeper.runner.membership.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        pids.into_iter().map(|pid| self.add_server(pid)).collect()
    }

    /// Stops the server `pid` if it runs, and takes it out of the cluster: it is nobody's peer any more.
    pub fn remove_server(&self, pid: Pid) {
        self.keeper.runner.with(|network| {
            network.remove(pid);
            self.keeper.runner.membership.fetch_add(1, Ordering::AcqRel);
        });
    }

    /// The servers of the cluster, running or not, ascending.
    pub fn servers(&self) -> Vec<Pid> {
        self.keeper.runner.with(|network| network.members.pids().collect())
    }

    /// The servers that run, ascending.
    pub fn running(&self) -> Vec<Pid> {
        self.keeper.runner.with(|network| network.switchboard.running().collect())
    }

    /// Splits the cluster: servers of different groups do not reach each other. Those that are not named form one more group.
    ///
    /// What is sent across, or is under way then, is dropped and stays dropped, unless
    /// [`hold_while_partitioned`](Cluster::hold_while_partitioned) keeps it. Both are [counted](Cluster::totals). Servers learn
    /// of it as from the real engine: by silence, after `peer_timeout_ms`.
    ///
    /// # Errors
    /// A pid that is in two groups, or not in the cluster.
    pub fn partition(&self, groups: &[&[Pid]]) -> Result<(), FaultError> {
        self.inject(Fault::partition(groups))
    }

    /// Cuts one server off from all others.
    ///
    /// # Errors
    /// A pid that is not in the cluster.
    pub fn isolate(&self, pid: Pid) -> Result<(), FaultError> {
        self.inject(Fault::Isolate(pid))
    }

    /// Cuts one direction: `to` does not hear `from` any more.
    ///
    /// # Errors
    /// A pid that is not in the cluster.
    pub fn cut(&self, from: Pid, to: Pid) -> Result<(), FaultError> {
        self.inject(Fault::Cut { from, to })
    }

    /// Takes back every partition, isolation and cut.
    pub fn heal(&self) {
        self.keeper.runner.with(|network| network.apply(Fault::Heal));
    }

    /// Whether what cannot reach its recipient waits until it can (`true`), as on the real engine, or is dropped (`false`,
    /// the default).
    pub fn hold_while_partitioned(&self, hold: bool) {
        self.keeper.runner.with(|network| network.apply(Fault::HoldWhilePartitioned(hold)));
    }

    /// The conditions at a place, for what is sent from now on.
    ///
    /// # Errors
    /// Conditions that cannot be, or a pid that is not in the cluster.
    pub fn set(&self, place: Place, conditions: Conditions) -> Result<(), FaultError> {
        self.inject(Fault::Set(place, conditions))
    }

    /// Ends a server without a word, as if its process were killed. Its handle finds itself stopped.
    ///
    /// # Errors
    /// A pid that is not in the cluster.
    pub fn crash(&self, pid: Pid) -> Result<(), FaultError> {
        self.inject(Fault::Crash(pid))
    }

    /// Lets a fault happen now.
    ///
    /// # Errors
    /// A fault that makes no sense, or a pid that is not in the cluster.
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

    /// Lets a fault happen when the cluster is so old; at once if it is older. What the fault names may be added until then.
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
    /// A fault that makes no sense.
    pub fn at(&self, time: Duration, fault: Fault) -> Result<(), FaultError> {
        fault.check()?;
        self.keeper.runner.with(|network| network.plan(time, fault));
        Ok(())
    }

    /// How old the cluster is.
    pub fn now(&self) -> Duration {
        self.keeper.runner.with(|network| network.now)
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Lets so much time go by. Under real time: sleeps.
    pub fn run_for(&self, duration: Duration) {
        if self.keeper.runner.time() == Time::Real {
            return thread::sleep(duration);
        }
        self.keeper.runner.advance(|network| {
            let until = network.now + duration;
            while network.step(Some(until)) {}
        });
    }

    /// Lets time go by until no message is under way; those that are held are not. Returns how much it was.
    ///
    /// Conditions may keep messages under way for long, but a cluster whose servers only answer each other comes to rest.
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

    /// Goes on to when something happens next, and lets it happen. `false`: nothing is under way or planned. Under real time
    /// it does nothing.
    pub fn step(&self) -> bool {
        self.keeper.runner.time() == Time::Virtual && self.keeper.runner.advance(|network| network.step(None))
    }

    /// What has happened so far.
    pub fn history(&self) -> History {
        self.keeper.runner.with(|network| network.recorder.read(network.seed))
    }

    /// How many entries of the history are kept: 100 000 unless this says otherwise. More make the oldest be forgotten. The
    /// messages in it take memory.
    pub fn keep_history(&self, entries: usize) {
        self.keeper.runner.with(|network| network.recorder.keep(entries));
    }

    /// What has become of all messages so far.
    pub fn totals(&self) -> Totals {
        self.keeper.runner.with(|network| network.totals)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("seed", &self.seed).field("runner", &self.keeper.runner).finish_non_exhaustive()
    }
}
