//! A server on an engine, as its owner holds it: its events, its account, its peers, its stop.

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
use crate::runtime::{LoopFailed, LoopHandle, LoopUnavailable, WrongThread};
use crate::stats::PeerStats;

/// What happens to a server's peers.
pub struct Events {
    queue: Arc<EventQueue>,
    loop_handle: LoopHandle,
}

impl Events {
    pub(crate) fn new(queue: Arc<EventQueue>, loop_handle: LoopHandle) -> Events {
        Events { queue, loop_handle }
    }

    /// The next event, if there is one.
    pub fn pop(&self) -> Option<Event> {
        self.queue.pop()
    }

    /// Registers a waker for the next event. Look once more after this.
    pub fn register(&self, waker: &std::task::Waker) {
        self.queue.waker().register(waker);
    }

    /// Total number of events that were dropped because nobody read them.
    pub fn missed(&self) -> u64 {
        self.queue.missed()
    }

    /// How the server's loop is reached.
    pub fn loop_handle(&self) -> &LoopHandle {
        &self.loop_handle
    }

    pub(crate) fn queue(&self) -> &Arc<EventQueue> {
        &self.queue
    }
}

/// Outcome of a stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Envelopes that were not acknowledged, by peer.
    pub undelivered: Vec<Undelivered>,
    /// Reason why the loop failed, or did not answer in time. `undelivered` may then count acknowledged envelopes too.
    pub failure: Option<String>,
}

/// A server on an engine.
pub struct NodeHandle {
    node: u32,
    loop_handle: LoopHandle,
    outboxes: Arc<OutboxShared>,
    events: Arc<EventQueue>,
    stopped: Option<Stopped>,
    /// Keeps the loops running.
    _engine: Arc<Engine>,
}

impl NodeHandle {
    pub(super) fn new(
        loop_handle: LoopHandle,
        outboxes: Arc<OutboxShared>,
        events: Arc<EventQueue>,
        engine: Arc<Engine>,
    ) -> NodeHandle {
        NodeHandle { node: outboxes.node, loop_handle, outboxes, events, stopped: None, _engine: engine }
    }

    /// How the server's loop is reached.
    pub fn loop_handle(&self) -> &LoopHandle {
        &self.loop_handle
    }

    /// What went and came, by peer.
    ///
    /// It looks at what is not acknowledged yet, while the loop stands still: some microseconds for each peer.
    pub fn stats(&self) -> Vec<PeerStats> {
        // Asked first: what is counted afterwards is in flight.
        let accounts = self.accounts();
        let accounts: HashMap<Pid, LinkAccount> = accounts.into_iter().map(|account| (account.pid, account)).collect();
        // A loop that has not turned yet knows no peers.
        let none_yet = (!self.outboxes.is_stopped()).then(LinkAccount::default);
        let mut rows = self.outboxes.stats.read();
        rows.iter_mut().for_each(|row| row.complete(accounts.get(&row.pid).copied().or(none_yet)));
        rows
    }

    /// State of the link to a peer. `None` if it is no peer, or the server has stopped.
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
        // Asked for, not taken: who asks again and again would keep the loop from its mutex.
        self.ask(|report| Command::Account { node: self.node, report }).unwrap_or_default()
    }

    /// Sends a command to the loop, and waits for its report.
    fn ask<T>(&self, command: impl FnOnce(mpsc::Sender<T>) -> Command) -> Result<T, Unanswered> {
        let (report, reported) = mpsc::channel();
        self.loop_handle.mailbox().command(command(report));
        loop {
            if self.loop_handle.is_mine() {
                self.loop_handle.poll();
            }
            match reported.recv_timeout(Duration::from_millis(50)) {
                Ok(value) => return Ok(value),
                Err(mpsc::RecvTimeoutError::Timeout) if !self.loop_handle.is_stopped() => {}
                Err(_) => return Err(self.loop_handle.failure().map_or(Unanswered::Nobody, Unanswered::Failed)),
            }
        }
    }

    /// Returns an error unless the loop can do something for this thread.
    fn check(&self) -> Result<(), LoopUnavailable> {
        match self.loop_handle.failure() {
            Some(failed) => Err(LoopUnavailable::Failed(failed)),
            None if self.loop_handle.is_elsewhere() => Err(LoopUnavailable::WrongThread(WrongThread)),
            None => Ok(()),
        }
    }

    /// Makes `pid` a peer that is to be found at `addresses`, or says that it is to be found there from now on; its
    /// streams stay as they are. Returns whether it is new.
    ///
    /// # Errors
    /// When the loop has failed, or belongs to another thread; here and below.
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

    /// Ends the link to a peer for good. Returns what it has not acknowledged; `None` if it is no peer.
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

    /// Cuts the traffic with a peer, in both directions, or lets it flow again. Returns whether it is a peer.
    pub fn set_blocked(&self, pid: Pid, blocked: bool) -> Result<bool, LoopUnavailable> {
        self.check()?;
        let Some(link) = self.outboxes.roster.link_of(pid) else { return Ok(false) };
        let link = LinkKey { node: self.node, link };
        match self.ask(|report| Command::Block { link, blocked, report }) {
            Err(Unanswered::Failed(failed)) => Err(LoopUnavailable::Failed(failed)),
            _ => Ok(true),
        }
    }

    /// Delivers what was sent until all present peers have acknowledged everything or `patience` is over, then says
    /// goodbye and closes. A second call does nothing; if the loop has failed, it returns the failure again.
    ///
    /// # Errors
    /// When the loop belongs to another thread. Then the server goes on.
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
        // `Time` counts from the loop's own clock; a duration is all that both sides share.
        self.loop_handle.mailbox().command(Command::Stop { node: self.node, patience, report });
        let give_up = Instant::now() + patience + LATE;
        loop {
            let got = if self.loop_handle.is_mine() {
                self.loop_handle.poll_until(Some(Instant::now() + Duration::from_millis(10)));
                reported.try_recv().map_err(|error| error == mpsc::TryRecvError::Disconnected)
            } else {
                let wait = Duration::from_millis(50);
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

    /// Outcome of a stop that the loop did not answer, because it hangs or is overloaded.
    #[cold]
    fn stopped_without_answer(&self, waited: Duration) -> Stopped {
        let undelivered = self.loop_handle.with_shard_within(LATE / 4, |shard| shard.undelivered(self.node)).flatten();
        Stopped {
            undelivered: undelivered.unwrap_or_else(|| self.outboxes.stats.undelivered_at_most()),
            failure: Some(format!("the event loop has not answered for {waited:?}")),
        }
    }
}

/// Time that a stop waits for the loop beyond its patience.
const LATE: Duration = Duration::from_secs(2);

/// Reason why a loop did not answer.
enum Unanswered {
    /// The loop knows no such server or link.
    Nobody,
    Failed(LoopFailed),
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        if self.stop(Duration::ZERO).is_err() {
            // Its thread does so when it turns the loop next, or ends.
            self.outboxes.close();
            let (report, _) = mpsc::channel();
            self.loop_handle.mailbox().command(Command::Stop { node: self.node, patience: Duration::ZERO, report });
        }
    }
}

#[cfg(test)]
mod tests;
