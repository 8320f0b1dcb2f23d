//! One node: its raft, its end of the network, and what it has applied. One thread turns it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use raft::eraftpb::{ConfState, Entry, EntryType, Message};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole};

use super::clients::Clients;
use super::entry;
use super::network::Endpoint;
use crate::child::reply;
use crate::measure::now_ns;
use crate::raft::content::Content;
use crate::raft::protocol::{Follows, Id, Reply, Settings};

/// Node on its thread.
pub struct Node<E> {
    id: Id,
    raw: RawNode<MemStorage>,
    endpoint: E,
    content: Arc<Mutex<Content>>,
    clients: Option<Clients>,
    tick: Duration,
    next_tick: Instant,
    applied: u64,
    compacted: u64,
    /// Leader and term last told.
    told: (Id, u64),
    unreachable: Vec<Id>,
}

impl<E: Endpoint> Node<E> {
    /// Makes a node of a group of three.
    pub fn new(id: Id, endpoint: E, content: Arc<Mutex<Content>>, settings: &Settings) -> Result<Self, String> {
        let voters: Vec<Id> = (1..=settings.voters).collect();
        let storage = MemStorage::new_with_conf_state(ConfState::from((voters, vec![])));
        let config = Config {
            id,
            heartbeat_tick: 1,
            election_tick: (settings.election_ms / settings.heartbeat_ms) as usize,
            max_size_per_msg: MAX_APPEND_BYTES,
            max_inflight_msgs: MAX_APPENDS,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, storage, &logger).map_err(|error| error.to_string())?;
        let tick = Duration::from_millis(settings.heartbeat_ms);
        Ok(Self {
            id,
            raw,
            endpoint,
            content,
            clients: None,
            tick,
            next_tick: Instant::now() + tick,
            applied: 0,
            compacted: 0,
            told: (0, 0),
            unreachable: Vec::new(),
        })
    }

    /// Wants to lead.
    pub fn lead(&mut self) -> Result<(), String> {
        self.raw.campaign().map_err(|error| error.to_string())
    }

    /// Lets clients write as long as the node leads.
    pub fn write(&mut self, clients: Clients) {
        self.clients = Some(clients);
    }

    /// Moment of the next tick.
    pub fn next_tick(&self) -> Instant {
        self.next_tick
    }

    /// Waits at most `timeout` for messages, and does what they ask for. Returns whether anything was done.
    pub fn turn(&mut self, timeout: Duration) -> Result<bool, String> {
        let timeout = timeout.min(self.next_tick.saturating_duration_since(Instant::now()));
        let (raw, endpoint, mut worked) = (&mut self.raw, &mut self.endpoint, false);
        endpoint.receive(timeout, &mut |message| {
            worked = true;
            // A message that raft does not want, such as one of an earlier term, is dropped like a lost one.
            let _ = raw.step(message);
        });
        for id in self.unreachable.drain(..) {
            self.raw.report_unreachable(id);
        }
        if Instant::now() >= self.next_tick {
            self.next_tick += self.tick;
            self.raw.tick();
        }
        // Answers make clients propose again: a thread that waited before they had would wait for nothing.
        while self.propose()? || self.raw.has_ready() {
            worked = true;
            self.handle_ready()?;
        }
        self.tell_leader();
        Ok(worked)
    }

    fn propose(&mut self) -> Result<bool, String> {
        let Some(clients) = &mut self.clients else { return Ok(false) };
        if clients.have_ended() {
            self.clients = None;
            return Ok(true);
        }
        let mut worked = false;
        while let Some(write) = clients.next() {
            worked = true;
            let proposed = self.raw.propose(Vec::new(), entry::encode(&write));
            proposed.map_err(|error| format!("node {} lost its leadership beside its clients: {error}", self.id))?;
        }
        Ok(worked)
    }

    fn handle_ready(&mut self) -> Result<(), String> {
        let mut ready = self.raw.ready();
        self.send(ready.take_messages());
        if !ready.snapshot().is_empty() {
            return Err("a snapshot came, although no log is compacted that somebody needs".to_owned());
        }
        self.apply(ready.take_committed_entries())?;
        {
            let mut storage = self.raw.mut_store().wl();
            storage.append(ready.entries()).map_err(|error| error.to_string())?;
            if let Some(state) = ready.hs() {
                storage.set_hardstate(state.clone());
            }
        }
        self.send(ready.take_persisted_messages());
        let mut light = self.raw.advance(ready);
        if let Some(commit) = light.commit_index() {
            self.raw.mut_store().wl().mut_hard_state().set_commit(commit);
        }
        self.send(light.take_messages());
        self.apply(light.take_committed_entries())?;
        self.raw.advance_apply();
        self.compact()
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            let to = message.to;
            if !self.endpoint.send(message) {
                self.unreachable.push(to);
            }
        }
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<(), String> {
        let Some(last) = entries.last() else { return Ok(()) };
        self.applied = last.index;
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        for own in entries {
            // The first entry of a leader is empty.
            if own.get_entry_type() != EntryType::EntryNormal || own.data.is_empty() {
                continue;
            }
            let write = entry::decode(&own.data).ok_or("an entry that is no write")?;
            content.apply(&write);
            if let Some(clients) = &mut self.clients {
                clients.answer(write.client, write.sequence);
            }
        }
        Ok(())
    }

    /// Drops the old part of a long log, except what a follower has not got.
    fn compact(&mut self) -> Result<(), String> {
        if self.applied < self.compacted + COMPACTED_WRITES + KEPT_WRITES {
            return Ok(());
        }
        let mut first = self.applied - KEPT_WRITES;
        if self.raw.raft.state == StateRole::Leader {
            first =
                self.raw.raft.prs().iter().map(|(_, progress)| progress.matched).min().map_or(0, |at| at.min(first));
        }
        if first >= self.compacted + COMPACTED_WRITES {
            self.raw.mut_store().wl().compact(first).map_err(|error| error.to_string())?;
            self.compacted = first;
        }
        Ok(())
    }

    fn tell_leader(&mut self) {
        let (leader, term) = (self.raw.raft.leader_id, self.raw.raft.term);
        if leader != 0 && (leader, term) != self.told {
            self.told = (leader, term);
            reply(&Reply::Follows(Follows { node: self.id, leader, term, at_ns: now_ns() }));
        }
    }
}

/// Most bytes of entries in one append.
const MAX_APPEND_BYTES: u64 = 1 << 20;
/// Appends under way to one follower.
const MAX_APPENDS: usize = 256;
/// Writes between two compactions of a log.
const COMPACTED_WRITES: u64 = 50_000;
/// Writes that stay in the log.
const KEPT_WRITES: u64 = 10_000;
