//! Control of a server on an engine: events, statistics, peers and shutdown.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::Engine;
use crate::events::{Event, EventQueue, LinkState, PeerState};
use crate::link::{LinkAccount, Pid, Undelivered};
use crate::mailbox::Command;
use crate::outbox::OutboxShared;
use crate::roster::LinkKey;
use crate::runtime::{BLOCKING_TURN, LoopFailed, LoopHandle, LoopUnavailable, WrongThread};
use crate::stats::PeerStats;

/// Events of a server.
pub struct Events {
    queue: Arc<EventQueue>,
    loop_handle: LoopHandle,
}

impl Events {
    pub(crate) fn new(queue: Arc<EventQueue>, loop_handle: LoopHandle) -> Events {
        Events { queue, loop_handle }
    }

    /// Takes the next event, if there is one.
    pub fn pop(&self) -> Option<Event> {
        self.queue.pop()
    }

    /// Registers a waker for the next event. Call [`pop`](Events::pop) again afterwards: an event may have come in
    /// between.
    pub fn register(&self, waker: &std::task::Waker) {
        self.queue.waker().register(waker);
    }

    /// Returns the total number of events that were dropped because they were not read in time.
    pub fn missed(&self) -> u64 {
        self.queue.missed()
    }

    /// Returns the handle of the server's event loop.
    pub fn loop_handle(&self) -> &LoopHandle {
        &self.loop_handle
    }

    /// Calls `watcher` with each event from now on, beside the queue, by the thread that reports it. It must return
    /// soon: the loop waits for it. Returns `false` if there is a watcher already.
    pub fn watch(&self, watcher: impl Fn(&Event) + Send + Sync + 'static) -> bool {
        self.queue.watch(watcher)
    }

    /// Returns the states of the peers, for a holder that reads no events.
    pub fn peer_states(&self) -> PeerStates {
        PeerStates { queue: self.queue.clone(), loop_handle: self.loop_handle.clone() }
    }

    pub(crate) fn queue(&self) -> &Arc<EventQueue> {
        &self.queue
    }
}

/// States of the links of a server.
#[derive(Clone)]
pub struct PeerStates {
    queue: Arc<EventQueue>,
    loop_handle: LoopHandle,
}

impl PeerStates {
    /// Returns the state of the link to a peer. `None` if it is no peer.
    pub fn get(&self, pid: Pid) -> Option<PeerState> {
        self.queue.peer_state(pid, self.loop_handle.time_in(Duration::ZERO))
    }
}

/// Outcome of a stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Envelopes that were not acknowledged, by peer.
    pub undelivered: Vec<Undelivered>,
    /// Reason if the loop failed, or did not answer in time. `undelivered` may then count acknowledged envelopes too.
    pub failure: Option<String>,
}

/// Handle of a server on an engine. Dropping it stops the server without waiting for acknowledgements.
pub struct NodeHandle {
    node: u32,
    loop_handle: LoopHandle,
    outboxes: Arc<OutboxShared>,
    events: Arc<EventQueue>,
    stopped: Option<Stopped>,
    /// Engine whose loops this handle keeps running.
    engine: Arc<Engine>,
}

impl NodeHandle {
    pub(super) fn new(
        loop_handle: LoopHandle,
        outboxes: Arc<OutboxShared>,
        events: Arc<EventQueue>,
        engine: Arc<Engine>,
    ) -> NodeHandle {
        NodeHandle { node: outboxes.node, loop_handle, outboxes, events, stopped: None, engine }
    }

    /// Returns the handle of the server's event loop.
    pub fn loop_handle(&self) -> &LoopHandle {
        &self.loop_handle
    }

    /// Returns the engine that the server runs on.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Returns the statistics of each peer.
    ///
    /// The event loop pauses while it counts unacknowledged envelopes, for some microseconds for each peer.
    pub fn stats(&self) -> Vec<PeerStats> {
        // Read before the other counts: an envelope that is acknowledged afterwards counts as in flight.
        let accounts = self.accounts();
        let accounts: HashMap<Pid, LinkAccount> = accounts.into_iter().map(|account| (account.pid, account)).collect();
        // A loop that has not turned since the start knows no peers yet.
        let none_yet = (!self.outboxes.is_stopped()).then(LinkAccount::default);
        let mut rows = self.outboxes.stats.read();
        rows.iter_mut().for_each(|row| row.complete(accounts.get(&row.pid).copied().or(none_yet)));
        rows
    }

    /// Returns the state of the link to a peer. `None` if `pid` is not a peer, or the server has stopped.
    pub fn peer_state(&self, pid: Pid) -> Option<PeerState> {
        if self.outboxes.is_stopped() {
            return None;
        }
        self.outboxes.roster.link_of(pid)?;
        // A peer that the loop does not know yet has no connection.
        let unheard = PeerState { link: LinkState::Idle, elapsed: Duration::ZERO };
        Some(self.events.peer_state(pid, self.loop_handle.time_in(Duration::ZERO)).unwrap_or(unheard))
    }

    fn accounts(&self) -> Vec<LinkAccount> {
        if self.loop_handle.is_inline() {
            return self.loop_handle.with_shard(|shard| shard.account(self.node)).unwrap_or_default();
        }
        // A command instead of a lock on the shard: a caller that repeats this often would keep the loop from its
        // mutex.
        self.ask(|report| Command::Account { node: self.node, report }).unwrap_or_default()
    }

    /// Sends a command to the loop, and waits for its report.
    fn ask<T>(&self, command: impl FnOnce(mpsc::Sender<T>) -> Command) -> Result<T, Unanswered> {
        let (report, reported) = mpsc::channel();
        self.loop_handle.mailbox().command(command(report));
        loop {
            let has_reactor = self.loop_handle.has_reactor();
            if has_reactor || self.loop_handle.is_mine() {
                self.loop_handle.poll();
            }
            match reported.recv_timeout(if has_reactor { BLOCKING_TURN } else { Duration::from_millis(50) }) {
                Ok(value) => return Ok(value),
                Err(mpsc::RecvTimeoutError::Timeout) if !self.loop_handle.is_stopped() => {}
                Err(_) => return Err(self.loop_handle.failure().map_or(Unanswered::Nobody, Unanswered::Failed)),
            }
        }
    }

    /// Returns an error if the loop has failed, or belongs to another thread.
    fn check(&self) -> Result<(), LoopUnavailable> {
        match self.loop_handle.failure() {
            Some(failed) => Err(LoopUnavailable::Failed(failed)),
            None if self.loop_handle.is_elsewhere() => Err(LoopUnavailable::WrongThread(WrongThread)),
            None => Ok(()),
        }
    }

    /// Adds the peer `pid`, or sets new addresses of a present peer, whose streams go on. Returns whether the peer is
    /// new.
    ///
    /// # Errors
    /// Returns an error when the event loop has failed, or is inline and belongs to another thread. In the second case,
    /// call this from that thread.
    pub fn set_peer(&self, pid: Pid, addresses: Vec<SocketAddr>) -> Result<bool, LoopUnavailable> {
        self.check()?;
        let node = self.node;
        if let Some(link) = self.outboxes.roster.link_of(pid) {
            self.loop_handle.mailbox().command(Command::Move { link: LinkKey { node, link }, addresses });
            return Ok(false);
        }
        Ok(self.outboxes.roster.add(pid, |link| {
            self.outboxes.stats.add(link, pid);
            self.loop_handle.mailbox().command(Command::Add { link: LinkKey { node, link }, pid, addresses });
        }))
    }

    /// Removes a peer, and ends the link to it for good. Returns the envelopes that it has not acknowledged, which are
    /// given up. `None` if `pid` is not a peer.
    ///
    /// # Errors
    /// Returns an error when the event loop has failed, or is inline and belongs to another thread. In the second case,
    /// call this from that thread.
    pub fn remove_peer(&self, pid: Pid) -> Result<Option<Undelivered>, LoopUnavailable> {
        self.check()?;
        let Some(link) = self.outboxes.remove_peer(pid) else { return Ok(None) };
        let link = LinkKey { node: self.node, link };
        let undelivered = match self.ask(|report| Command::Remove { link, report }) {
            Ok(undelivered) => undelivered,
            Err(Unanswered::Nobody) => Undelivered { pid, messages: 0, bytes: 0 },
            Err(Unanswered::Failed(failed)) => return Err(LoopUnavailable::Failed(failed)),
        };
        self.outboxes.roster.release(link.link);
        Ok(Some(undelivered))
    }

    /// Blocks the traffic with a peer in both directions, or unblocks it. Returns whether `pid` is a peer.
    ///
    /// # Errors
    /// Returns an error when the event loop has failed, or is inline and belongs to another thread. In the second case,
    /// call this from that thread.
    pub fn set_blocked(&self, pid: Pid, blocked: bool) -> Result<bool, LoopUnavailable> {
        self.check()?;
        let Some(link) = self.outboxes.roster.link_of(pid) else { return Ok(false) };
        let link = LinkKey { node: self.node, link };
        match self.ask(|report| Command::Block { link, blocked, report }) {
            Err(Unanswered::Failed(failed)) => Err(LoopUnavailable::Failed(failed)),
            _ => Ok(true),
        }
    }

    /// Stops the server. Envelopes are delivered until all present peers have acknowledged everything, or `patience` is
    /// over. Then the server says goodbye and closes its connections. A second call does nothing. If the event loop has
    /// failed, each call returns the failure.
    ///
    /// # Errors
    /// Returns an error when the event loop is inline and belongs to another thread. The server goes on then: call this
    /// from that thread.
    pub fn stop(&mut self, patience: Duration) -> Result<Stopped, WrongThread> {
        if let Some(before) = &self.stopped {
            return Ok(if before.failure.is_some() { before.clone() } else { Stopped::default() });
        }
        if let Err(LoopUnavailable::WrongThread(wrong)) = self.check() {
            return Err(wrong);
        }
        let stopped = self.stop_once(patience);
        Ok(self.stopped.insert(stopped).clone())
    }

    fn stop_once(&self, patience: Duration) -> Stopped {
        if self.loop_handle.is_stopped() {
            return self.stopped_by_failure();
        }
        self.outboxes.close();
        let (report, reported) = mpsc::channel();
        // Sent as a duration, because a `Time` counts from the loop's own clock.
        self.loop_handle.mailbox().command(Command::Stop { node: self.node, patience, report });
        let give_up = Instant::now() + patience + LATE;
        loop {
            let got = if self.loop_handle.is_mine() {
                self.loop_handle.poll_until(Some(Instant::now() + Duration::from_millis(10)));
                reported.try_recv().map_err(|error| error == mpsc::TryRecvError::Disconnected)
            } else {
                let mut wait = Duration::from_millis(50);
                if self.loop_handle.has_reactor() {
                    // The caller may be the reactor itself.
                    self.loop_handle.poll();
                    wait = BLOCKING_TURN;
                }
                reported.recv_timeout(wait).map_err(|error| error == mpsc::RecvTimeoutError::Disconnected)
            };
            match got {
                Ok(undelivered) => return Stopped { undelivered, failure: None },
                Err(disconnected) if disconnected || self.loop_handle.is_stopped() => return self.stopped_by_failure(),
                Err(_) if Instant::now() > give_up => return self.stopped_without_answer(patience + LATE),
                Err(_) => {}
            }
        }
    }

    #[cold]
    fn stopped_by_failure(&self) -> Stopped {
        let undelivered = self.loop_handle.undelivered_at_failure(self.node, LATE);
        let failure = self.loop_handle.failure();
        Stopped {
            undelivered: undelivered.unwrap_or_else(|| self.outboxes.stats.undelivered_at_most()),
            failure: Some(failure.map_or_else(|| "the event loop has ended".to_owned(), |failed| failed.message)),
        }
    }

    /// Returns the outcome of a stop that the loop did not answer, because it hangs or is overloaded.
    #[cold]
    fn stopped_without_answer(&self, waited: Duration) -> Stopped {
        let undelivered = self.loop_handle.with_shard_within(LATE / 4, |shard| shard.undelivered(self.node)).flatten();
        Stopped {
            undelivered: undelivered.unwrap_or_else(|| self.outboxes.stats.undelivered_at_most()),
            failure: Some(format!("the event loop has not answered for {waited:?}")),
        }
    }
}

/// Time that a stop waits for the loop's answer beyond its patience.
const LATE: Duration = Duration::from_secs(2);

/// Reason why the loop did not answer.
enum Unanswered {
    /// The loop knows no such server or link.
    Nobody,
    Failed(LoopFailed),
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        if self.stop(Duration::ZERO).is_err() {
            // The loop belongs to another thread. That thread handles the command at its next turn, or when it ends.
            self.outboxes.close();
            let (report, _) = mpsc::channel();
            self.loop_handle.mailbox().command(Command::Stop { node: self.node, patience: Duration::ZERO, report });
        }
    }
}

#[cfg(test)]
mod tests;
