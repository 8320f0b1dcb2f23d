//! Nodes of openraft in this process, over the network of a contender.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::{BasicNode, RaftMetrics};
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::counted::{Counted, Counts};
use super::log_store::LogStore;
use super::network::Network;
use super::state_machine::StateMachine;
use super::types::{self, Raft};
use crate::child::reply;
use crate::measure::now_ns;
use crate::raft::content::{Content, Write};
use crate::raft::member::Nodes;
use crate::raft::protocol::{Addresses, Compared, Contacts, Follows, Id, Job, Load, Reply, Settings};
use crate::raft::recorder::Recorder;

/// Nodes of one process, on the default runtime of tokio: a worker for each core.
pub struct OpenraftNodes<N> {
    // Dropped first, so that nothing runs any more when the network goes.
    runtime: Runtime,
    network: N,
    ids: Vec<Id>,
    settings: Settings,
    addresses: Addresses,
    nodes: BTreeMap<Id, Node>,
    counts: Counts,
    clients: JoinSet<Result<(), String>>,
}

struct Node {
    raft: Raft,
    state: StateMachine,
}

impl<N: Network> OpenraftNodes<N> {
    fn leader(&self) -> Result<&Node, String> {
        self.nodes.get(&LEADER).ok_or_else(|| "node 1 is in another process".to_owned())
    }

    async fn start_node(&mut self, id: Id) -> Result<(), String> {
        let factory = self.network.factory(id, &self.addresses)?;
        let counts = if id == LEADER { self.counts.clone() } else { Counts::default() };
        let ballast = if id <= self.settings.voters { self.settings.ballast_bytes } else { 0 };
        let state = StateMachine::new(Content::with_ballast(ballast));
        let config = types::config(&self.settings)?;
        let clients = Counted { inner: factory, counts };
        let raft = Raft::new(id, config, clients, LogStore::default(), state.clone());
        let raft = raft.await.map_err(|error| error.to_string())?;
        self.network.serve(id, raft.clone())?;
        tokio::spawn(tell_leaders(id, raft.clone()));
        self.nodes.insert(id, Node { raft, state });
        Ok(())
    }
}

impl<N: Network> Nodes for OpenraftNodes<N> {
    fn open(job: &Job) -> Result<(Self, Addresses), String> {
        let runtime = runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
        let (network, addresses) = runtime.block_on(N::open(&job.ids))?;
        let nodes = Self {
            runtime,
            network,
            ids: job.ids.clone(),
            settings: job.settings,
            addresses: Addresses::new(),
            nodes: BTreeMap::new(),
            counts: Counts::default(),
            clients: JoinSet::new(),
        };
        Ok((nodes, addresses))
    }

    fn start(&mut self, addresses: Addresses) -> Result<(), String> {
        self.addresses = addresses;
        let handle = self.runtime.handle().clone();
        self.ids.clone().into_iter().try_for_each(|id| handle.block_on(self.start_node(id)))
    }

    fn lead(&mut self) -> Result<(), String> {
        let voters = self.addresses.iter().filter(|(id, _)| **id <= self.settings.voters);
        let voters: BTreeMap<Id, BasicNode> = voters.map(|(id, address)| (*id, BasicNode::new(address))).collect();
        self.runtime.block_on(self.leader()?.raft.initialize(voters)).map_err(|error| error.to_string())
    }

    fn write(&mut self, load: Load, recorder: Arc<Recorder>) -> Result<(), String> {
        let raft = self.leader()?.raft.clone();
        let (first, mut answered) = mpsc::channel(1);
        let _inside = self.runtime.enter();
        for client in 0..load.clients {
            self.clients.spawn(write(client, load.size, raft.clone(), recorder.clone(), first.clone()));
        }
        drop(first);
        if self.runtime.block_on(answered.recv()).is_some() {
            return Ok(());
        }
        // All clients have failed.
        self.rest()
    }

    fn rest(&mut self) -> Result<(), String> {
        let clients = &mut self.clients;
        self.runtime.block_on(async {
            let mut outcome = Ok(());
            while let Some(client) = clients.join_next().await {
                outcome = outcome.and(client.map_err(|error| error.to_string()).and_then(|outcome| outcome));
            }
            outcome
        })
    }

    fn compact(&mut self) -> Result<(), String> {
        let raft = &self.leader()?.raft;
        self.runtime.block_on(async {
            let wait = raft.wait(Some(PATIENCE));
            let is_settled = |metrics: &RaftMetrics<u64, BasicNode>| {
                metrics.last_applied.is_some_and(|applied| Some(applied.index) == metrics.last_log_index)
            };
            let metrics = wait.metrics(is_settled, "all entries applied").await.map_err(|error| error.to_string())?;
            let applied = metrics.last_applied;
            raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
            let has_snapshot = |metrics: &RaftMetrics<u64, BasicNode>| metrics.snapshot >= applied;
            wait.metrics(has_snapshot, "a snapshot").await.map_err(|error| error.to_string())?;
            let index = applied.map_or(0, |applied| applied.index);
            raft.trigger().purge_log(index).await.map_err(|error| error.to_string())?;
            let is_purged = |metrics: &RaftMetrics<u64, BasicNode>| metrics.purged >= applied;
            wait.metrics(is_purged, "a purged log").await.map(drop).map_err(|error| error.to_string())
        })
    }

    fn join(&mut self, id: Id) -> Result<(), String> {
        let address = self.addresses.get(&id).ok_or_else(|| format!("node {id} has no address"))?;
        let joined = self.leader()?.raft.add_learner(id, BasicNode::new(address), true);
        self.runtime.block_on(joined).map(drop).map_err(|error| error.to_string())
    }

    fn contacts(&mut self) -> Vec<Contacts> {
        self.counts.take()
    }

    fn compare(&mut self, writes: u64, limit: Duration) -> Vec<Compared> {
        let deadline = Instant::now() + limit;
        let compare = |(&node, own): (&Id, &Node)| {
            while own.state.look(|content| content.summary().writes) < writes && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            own.state.look(|content| Compared { node, summary: content.summary(), digest: content.digest() })
        };
        self.nodes.iter().map(compare).collect()
    }
}

/// Writes the next value when the last one was answered, until the recorder tells the client to end.
async fn write(
    client: u32,
    size: usize,
    raft: Raft,
    recorder: Arc<Recorder>,
    first: mpsc::Sender<()>,
) -> Result<(), String> {
    let mut sequence = 0;
    while !recorder.is_resting() {
        sequence += 1;
        let write = Write::new(client, sequence, size);
        let begin = Instant::now();
        let answer = raft.client_write(write).await;
        answer.map_err(|error| format!("write {sequence} of client {client}: {error}"))?;
        recorder.answered(begin.elapsed());
        if sequence == 1 {
            // Only the first one counts.
            let _ = first.try_send(());
        }
    }
    Ok(())
}

/// Tells the conductor of each leader that a node follows.
async fn tell_leaders(node: Id, raft: Raft) {
    let (mut metrics, mut told) = (raft.server_metrics(), None);
    loop {
        let (leader, term) = {
            let now = metrics.borrow_and_update();
            (now.current_leader, now.vote.leader_id().get_term())
        };
        if let Some(leader) = leader.filter(|_| told != leader.map(|leader| (leader, term))) {
            told = Some((leader, term));
            reply(&Reply::Follows(Follows { node, leader, term, at_ns: now_ns() }));
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Node beside which clients write, and which leads in a group without failures.
const LEADER: Id = 1;
/// Time for a snapshot.
const PATIENCE: Duration = Duration::from_secs(60);
