//! The real server.

use std::fmt;
use std::time::{Duration, Instant};

use cluster_engine::{PeerStats, Pid, Tenancy, Undelivered};

use crate::start::Registration;
use crate::{Events, Inbox, Outbox, Server};

/// How long [`Server::stop`] waits for peers to acknowledge what was sent.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// A server on the engine: made by [`start`](crate::start).
///
/// Dropping it stops it without waiting for anything to be delivered.
#[derive(Debug)]
pub struct Node {
    inbox: Inbox,
    outbox: Outbox,
    events: Events,
    handle: Handle,
}

/// A node's parts, each for a thread of its own.
#[derive(Debug)]
pub struct Split {
    /// What arrives.
    pub inbox: Inbox,
    /// What is sent.
    pub outbox: Outbox,
    /// What happens to the peers.
    pub events: Events,
    /// The rest. The server stops when this is dropped.
    pub handle: Handle,
}

impl Node {
    pub(crate) fn new(inbox: Inbox, outbox: Outbox, events: Events, handle: Handle) -> Node {
        Node { inbox, outbox, events, handle }
    }

    /// Gives out the parts, each for a thread of its own.
    pub fn split(self) -> Split {
        Split { inbox: self.inbox, outbox: self.outbox, events: self.events, handle: self.handle }
    }

    /// Turns the loop of an inline server once, without waiting: sends what there is, takes in what has arrived. Returns
    /// whether anything was done. For other servers there is nothing to turn.
    pub fn poll(&self) -> bool {
        self.handle.poll()
    }
}

impl Server for Node {
    fn pid(&self) -> Pid {
        self.handle.pid()
    }

    fn peers(&self) -> &[Pid] {
        self.handle.peers()
    }

    fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    fn stats(&self) -> Vec<PeerStats> {
        self.handle.stats()
    }

    fn stop(&mut self) -> Result<(), StopError> {
        self.handle.stop()
    }
}

/// A node without its inbox, outbox and events: see [`Node::split`].
pub struct Handle {
    pid: Pid,
    peers: Vec<Pid>,
    tenancy: Tenancy,
    /// Frees the pid when the server has stopped.
    registration: Option<Registration>,
}

impl Handle {
    pub(crate) fn new(pid: Pid, peers: Vec<Pid>, tenancy: Tenancy, registration: Registration) -> Handle {
        Handle { pid, peers, tenancy, registration: Some(registration) }
    }

    /// The server's pid.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The pids of all other servers, ascending.
    pub fn peers(&self) -> &[Pid] {
        &self.peers
    }

    /// Messages and bytes, by peer.
    pub fn stats(&self) -> Vec<PeerStats> {
        self.tenancy.stats()
    }

    /// Turns the loop of an inline server: see [`Node::poll`].
    pub fn poll(&self) -> bool {
        self.tenancy.drive().poll()
    }

    /// Turns the loop of an inline server, and waits for something to happen if there is nothing to do, at most `timeout`.
    pub fn poll_timeout(&self, timeout: Duration) -> bool {
        self.tenancy.drive().poll_until(Instant::now().checked_add(timeout))
    }

    /// Delivers what was sent, says goodbye, and closes: see [`Server::stop`].
    ///
    /// # Errors
    /// [`StopError`] counts what could not be delivered, by peer.
    pub fn stop(&mut self) -> Result<(), StopError> {
        self.stop_within(STOP_PATIENCE)
    }

    /// As [`stop`](Handle::stop), waiting at most `patience` for peers to acknowledge what was sent.
    ///
    /// # Errors
    /// [`StopError`] counts what could not be delivered, by peer.
    pub fn stop_within(&mut self, patience: Duration) -> Result<(), StopError> {
        let undelivered = self.tenancy.stop(patience);
        self.registration = None;
        if undelivered.is_empty() { Ok(()) } else { Err(StopError { undelivered }) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // What is not delivered can be learned from `stop`; dropping is for those who do not ask.
        let _ = self.stop_within(Duration::ZERO);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("pid", &self.pid).field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// A server has stopped, and not everything that its outboxes took was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopError {
    undelivered: Vec<Undelivered>,
}

impl StopError {
    pub(crate) fn new(undelivered: Vec<Undelivered>) -> StopError {
        StopError { undelivered }
    }

    /// What was not acknowledged, by peer.
    pub fn undelivered(&self) -> &[Undelivered] {
        &self.undelivered
    }
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped; not delivered:")?;
        for (index, each) in self.undelivered.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let plural = if each.messages == 1 { "" } else { "s" };
            write!(f, "{separator} {} message{plural} ({} bytes) to {}", each.messages, each.bytes, each.pid)?;
        }
        f.write_str("; these peers were not there, or did not acknowledge in time")
    }
}

impl std::error::Error for StopError {}
