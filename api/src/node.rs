//! The real server.

use std::fmt;
use std::time::{Duration, Instant};

use cluster_engine::{BROADCAST, NodeHandle, PeerState, PeerStats, Pid, Stopped, Undelivered};

use crate::registration::{Registration, resolve};
use crate::server::{PeerError, StopError};
use crate::{Engine, Events, Inbox, Outbox, Server};

/// Time that [`Server::stop`] waits for peers to acknowledge what was sent.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Server on an io_uring engine, made by [`start`](fn@crate::start).
///
/// Dropping a node stops the server without waiting for deliveries. If an inline server is dropped on a thread that it
/// does not belong to, it stops when its own thread next turns the loop, or ends.
#[derive(Debug)]
pub struct Node {
    inbox: Inbox,
    outbox: Outbox,
    events: Events,
    handle: Handle,
}

/// Parts of a node, each for a separate thread: see [`Node::split`].
#[derive(Debug)]
pub struct Split {
    /// Inbox of received envelopes.
    pub inbox: Inbox,
    /// Outbox for envelopes to send.
    pub outbox: Outbox,
    /// Events of the peers.
    pub events: Events,
    /// Control of the server: peers, statistics and stop. Dropping it stops the server.
    pub handle: Handle,
}

impl Node {
    pub(crate) fn new(inbox: Inbox, outbox: Outbox, events: Events, handle: Handle) -> Node {
        Node { inbox, outbox, events, handle }
    }

    /// Splits the node into its parts, each for a separate thread.
    ///
    /// ```
    /// use cluster::{Config, Envelope, Split};
    ///
    /// let config = Config::new([(1, "127.0.0.1:18131"), (2, "127.0.0.1:18132")])?;
    /// let Split { mut outbox, handle: _one, .. } = cluster::start(1, &config)?.split();
    /// let Split { mut inbox, handle: _two, .. } = cluster::start(2, &config)?.split();
    /// let reader = std::thread::spawn(move || inbox.recv());
    /// outbox.send(Envelope::to(2).body("hello"))?;
    /// assert_eq!(reader.join().unwrap()?.msg, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> Split {
        Split { inbox: self.inbox, outbox: self.outbox, events: self.events, handle: self.handle }
    }

    /// Turns the loop of an inline server once, without waiting: sends queued envelopes and receives what has arrived.
    /// Returns whether there was work. Always returns `false` on a thread that the server does not belong to, and on a
    /// server that is not inline.
    pub fn poll(&self) -> bool {
        self.handle.poll()
    }
}

impl Node {
    /// Engine that the server runs on. It tells the [driver](Engine::driver) of the event loop.
    pub fn engine(&self) -> Engine {
        self.handle.engine()
    }

    /// Blocks traffic with these peers: see [`Handle::block`].
    ///
    /// # Errors
    /// [`PeerError::Unknown`] names the first pid that is not a peer. The peers before it are blocked.
    /// [`PeerError::EngineFailed`] and [`PeerError::WrongThread`] if the server's event loop cannot be used.
    pub fn block(&mut self, pids: &[Pid]) -> Result<(), PeerError> {
        self.handle.block(pids)
    }

    /// Restores traffic with these peers: see [`Handle::unblock`].
    ///
    /// # Errors
    /// [`PeerError::Unknown`] names the first pid that is not a peer. The peers before it are unblocked.
    /// [`PeerError::EngineFailed`] and [`PeerError::WrongThread`] if the server's event loop cannot be used.
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

/// Control of a node without its inbox, outbox and events: see [`Node::split`].
pub struct Handle {
    pid: Pid,
    peers: Vec<Pid>,
    handle: NodeHandle,
    /// Occupies the pid until the server has stopped.
    registration: Option<Registration>,
}

impl Handle {
    pub(crate) fn new(pid: Pid, peers: Vec<Pid>, handle: NodeHandle, registration: Registration) -> Handle {
        Handle { pid, peers, handle, registration: Some(registration) }
    }

    /// Pid of the server.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Pids of all peers, ascending.
    pub fn peers(&self) -> &[Pid] {
        &self.peers
    }

    /// Adds a peer, or changes its address: see [`Server::add_peer`].
    ///
    /// # Errors
    /// [`PeerError`] for this server's own pid, for [`BROADCAST`], if the address cannot be resolved, or if the
    /// server's event loop cannot be used.
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
    /// [`PeerError`] if `pid` is not a peer, or if the server's event loop cannot be used.
    pub fn remove_peer(&mut self, pid: Pid) -> Result<Undelivered, PeerError> {
        let undelivered = self.handle.remove_peer(pid)?.ok_or(PeerError::Unknown { pid })?;
        if let Ok(place) = self.peers.binary_search(&pid) {
            self.peers.remove(place);
        }
        Ok(undelivered)
    }

    /// Blocks traffic with these peers in both directions, as a network partition would. Sent data is lost on its way,
    /// received data is ignored, and both sides notice the silence. The method serves tests of programs built on this
    /// crate.
    ///
    /// No envelope is lost for good: this server and its peers send the blocked ones again after
    /// [`unblock`](Handle::unblock). A peer that was blocked for less than the peer timeout is reported as down and
    /// then as up when it is unblocked.
    ///
    /// # Errors
    /// [`PeerError::Unknown`] names the first pid that is not a peer. The peers before it are blocked.
    /// [`PeerError::EngineFailed`] and [`PeerError::WrongThread`] if the server's event loop cannot be used.
    pub fn block(&mut self, pids: &[Pid]) -> Result<(), PeerError> {
        self.set_blocked(pids, true)
    }

    /// Restores traffic with these peers.
    ///
    /// # Errors
    /// [`PeerError::Unknown`] names the first pid that is not a peer. The peers before it are unblocked.
    /// [`PeerError::EngineFailed`] and [`PeerError::WrongThread`] if the server's event loop cannot be used.
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

    /// Engine that the server runs on.
    pub fn engine(&self) -> Engine {
        Engine { inner: self.handle.engine().clone() }
    }

    /// Counters of sent and received envelopes, by peer: see [`Server::stats`].
    pub fn stats(&self) -> Vec<PeerStats> {
        self.handle.stats()
    }

    /// State of the link to a peer: see [`Server::peer_state`].
    pub fn peer_state(&self, pid: Pid) -> Option<PeerState> {
        self.handle.peer_state(pid)
    }

    /// Turns the loop of an inline server once, without waiting: see [`Node::poll`].
    pub fn poll(&self) -> bool {
        self.handle.loop_handle().poll()
    }

    /// Turns the loop of an inline server, and waits at most `timeout` for work if there is none. Returns whether there
    /// was work.
    pub fn poll_timeout(&self, timeout: Duration) -> bool {
        self.handle.loop_handle().poll_until(Instant::now().checked_add(timeout))
    }

    /// Stops the server: delivers the queued envelopes, says goodbye, and closes. See [`Server::stop`].
    ///
    /// # Errors
    /// [`StopError`] counts the undelivered envelopes, by peer, or reports a failed event loop. On a thread that an
    /// inline server does not belong to, the call returns an error and the server continues to run.
    pub fn stop(&mut self) -> Result<(), StopError> {
        self.stop_within(STOP_PATIENCE)
    }

    /// Stops the server as [`stop`](Handle::stop) does, but waits at most `patience` for peers to acknowledge what was
    /// sent.
    ///
    /// # Errors
    /// [`StopError`] counts the undelivered envelopes, by peer, or reports a failed event loop. On a thread that an
    /// inline server does not belong to, the call returns an error and the server continues to run.
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
        // `stop` reports undelivered envelopes. Dropping the handle discards that report.
        let _ = self.stop_within(Duration::ZERO);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("pid", &self.pid).field("peers", &self.peers).finish_non_exhaustive()
    }
}
