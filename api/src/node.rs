//! The real server.

use std::fmt;
use std::time::{Duration, Instant};

use cluster_engine::{BROADCAST, NodeHandle, PeerState, PeerStats, Pid, Stopped, Undelivered};

use crate::registration::{Registration, resolve};
use crate::server::{PeerError, StopError};
use crate::{Events, Inbox, Outbox, Server};

/// How long [`Server::stop`] waits for peers to acknowledge what was sent.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// A server on the engine: made by [`start`](crate::start).
///
/// Dropping it stops it without waiting for anything to be delivered. An inline server that is dropped on another
/// thread than its own stops when that thread turns the loop next, or ends.
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

    /// Turns the loop of an inline server once, without waiting: sends what there is, takes in what has arrived.
    /// Returns whether anything was done: nothing on another thread than the one that the server belongs to. For other
    /// servers there is nothing to turn.
    pub fn poll(&self) -> bool {
        self.handle.poll()
    }
}

impl Node {
    /// Cuts the traffic with these peers: see [`Handle::block`].
    ///
    /// # Errors
    /// As there.
    pub fn block(&mut self, pids: &[Pid]) -> Result<(), PeerError> {
        self.handle.block(pids)
    }

    /// Lets traffic flow again: see [`Handle::unblock`].
    ///
    /// # Errors
    /// As there.
    pub fn unblock(&mut self, pids: &[Pid]) -> Result<(), PeerError> {
        self.handle.unblock(pids)
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

    fn add_peer(&mut self, pid: Pid, address: &str) -> Result<(), PeerError> {
        self.handle.add_peer(pid, address)
    }

    fn remove_peer(&mut self, pid: Pid) -> Result<Undelivered, PeerError> {
        self.handle.remove_peer(pid)
    }

    fn stats(&self) -> Vec<PeerStats> {
        self.handle.stats()
    }

    fn peer_state(&self, pid: Pid) -> Option<PeerState> {
        self.handle.peer_state(pid)
    }

    fn stop(&mut self) -> Result<(), StopError> {
        self.handle.stop()
    }
}

/// A node without its inbox, outbox and events: see [`Node::split`].
pub struct Handle {
    pid: Pid,
    peers: Vec<Pid>,
    handle: NodeHandle,
    /// Frees the pid when the server has stopped.
    registration: Option<Registration>,
}

impl Handle {
    pub(crate) fn new(pid: Pid, peers: Vec<Pid>, handle: NodeHandle, registration: Registration) -> Handle {
        Handle { pid, peers, handle, registration: Some(registration) }
    }

    /// The server's pid.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The pids of all other servers, ascending.
    pub fn peers(&self) -> &[Pid] {
        &self.peers
    }

    /// Adds a peer, or changes its address: see [`Server::add_peer`].
    ///
    /// # Errors
    /// As there.
    pub fn add_peer(&mut self, pid: Pid, address: &str) -> Result<(), PeerError> {
        if pid == self.pid {
            return Err(PeerError::Itself { pid });
        }
        if pid == BROADCAST {
            return Err(PeerError::Broadcast);
        }
        let addresses = resolve(address)
            .map_err(|error| PeerError::Address { address: address.to_owned(), error: error.to_string() })?;
        if self.handle.set_peer(pid, addresses)?
            && let Err(place) = self.peers.binary_search(&pid)
        {
            self.peers.insert(place, pid);
        }
        Ok(())
    }

    /// Removes a peer: see [`Server::remove_peer`].
    ///
    /// # Errors
    /// As there.
    pub fn remove_peer(&mut self, pid: Pid) -> Result<Undelivered, PeerError> {
        let undelivered = self.handle.remove_peer(pid)?.ok_or(PeerError::Unknown { pid })?;
        if let Ok(place) = self.peers.binary_search(&pid) {
            self.peers.remove(place);
        }
        Ok(undelivered)
    }

    /// Cuts the traffic with these peers in both directions, as a partition of the network would: what is sent is lost
    /// on its way, what comes is not heard, and both sides notice by the silence. For tests of what is built on this.
    ///
    /// Nothing is lost for good: what was cut off is sent again after [`unblock`](Handle::unblock). A peer that was
    /// blocked for less than the peer timeout is seen to go down, and come up, when it is unblocked.
    ///
    /// # Errors
    /// `Unknown` names the first that is no peer; those before it are blocked.
    pub fn block(&mut self, pids: &[Pid]) -> Result<(), PeerError> {
        self.set_blocked(pids, true)
    }

    /// Lets traffic flow again.
    ///
    /// # Errors
    /// As [`block`](Handle::block).
    pub fn unblock(&mut self, pids: &[Pid]) -> Result<(), PeerError> {
        self.set_blocked(pids, false)
    }

    fn set_blocked(&mut self, pids: &[Pid], blocked: bool) -> Result<(), PeerError> {
        for &pid in pids {
            if !self.handle.set_blocked(pid, blocked)? {
                return Err(PeerError::Unknown { pid });
            }
        }
        Ok(())
    }

    /// What has become of what was sent, and what has come, by peer: see [`Server::stats`].
    pub fn stats(&self) -> Vec<PeerStats> {
        self.handle.stats()
    }

    /// State of the link to a peer: see [`Server::peer_state`].
    pub fn peer_state(&self, pid: Pid) -> Option<PeerState> {
        self.handle.peer_state(pid)
    }

    /// Turns the loop of an inline server: see [`Node::poll`].
    pub fn poll(&self) -> bool {
        self.handle.loop_handle().poll()
    }

    /// Turns the loop of an inline server, and waits for something to happen if there is nothing to do, at most
    /// `timeout`.
    pub fn poll_timeout(&self, timeout: Duration) -> bool {
        self.handle.loop_handle().poll_until(Instant::now().checked_add(timeout))
    }

    /// Delivers what was sent, says goodbye, and closes: see [`Server::stop`].
    ///
    /// # Errors
    /// [`StopError`] counts what could not be delivered, by peer. On another thread than the one that an inline server
    /// belongs to nothing is stopped.
    pub fn stop(&mut self) -> Result<(), StopError> {
        self.stop_within(STOP_PATIENCE)
    }

    /// As [`stop`](Handle::stop), waiting at most `patience` for peers to acknowledge what was sent.
    ///
    /// # Errors
    /// [`StopError`] counts what could not be delivered, by peer. On another thread than the one that an inline server
    /// belongs to nothing is stopped.
    pub fn stop_within(&mut self, patience: Duration) -> Result<(), StopError> {
        let Ok(Stopped { undelivered, failure }) = self.handle.stop(patience) else {
            return Err(StopError { wrong_thread: true, ..StopError::new(Vec::new()) });
        };
        self.registration = None;
        if undelivered.is_empty() && failure.is_none() {
            return Ok(());
        }
        Err(StopError { failure, ..StopError::new(undelivered) })
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
