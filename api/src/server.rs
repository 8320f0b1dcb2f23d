//! The interface of a server, and its errors.

use std::fmt;

use cluster_engine::{BROADCAST, LoopUnavailable, PeerState, PeerStats, Pid, Undelivered, WrongThread};

use crate::{Events, Inbox, Outbox};

/// Interface of a server: a pid, an inbox, an outbox and events.
///
/// A program written against this trait runs on the real [`Node`](crate::Node), on the mock's
/// [`Node`](crate::mock::Node), and on any other server.
///
/// ```
/// use cluster::{Envelope, Server};
///
/// fn echo(server: &mut impl Server) -> Result<(), Box<dyn std::error::Error>> {
///     let envelope = server.inbox().recv()?;
///     server.outbox().send(Envelope::to(envelope.pid).id(envelope.msg_id).body(envelope.msg))?;
///     Ok(())
/// }
/// ```
pub trait Server {
    /// Pid of this server: its number in the cluster.
    fn pid(&self) -> Pid;

    /// Pids of all peers, ascending.
    fn peers(&self) -> &[Pid];

    /// Inbox: the queue of received envelopes.
    fn inbox(&mut self) -> &mut Inbox;

    /// Outbox for envelopes to send.
    fn outbox(&mut self) -> &mut Outbox;

    /// Events of the peers.
    fn events(&mut self) -> &mut Events;

    /// Adds the peer `pid` at `address` (`host:port`), or changes the address of an existing peer. Envelopes that wait
    /// for an existing peer stay queued. [`Event::Added`](crate::Event::Added) reports a new peer.
    ///
    /// Each server keeps its own list of peers: call this on the other servers too.
    ///
    /// # Errors
    /// [`PeerError`] for this server's own pid, for [`BROADCAST`](crate::BROADCAST), if the address cannot be resolved,
    /// or if the server's event loop cannot be used.
    fn add_peer(&mut self, pid: Pid, address: &str) -> Result<(), PeerError>;

    /// Removes a peer and closes the link to it with a goodbye. Returns the envelopes that the peer had not
    /// acknowledged, which are given up.
    ///
    /// A peer that has not removed this server keeps its unacknowledged envelopes. If the peer is added again and
    /// neither server was restarted, its streams continue where they stopped, and no envelope is repeated. This server
    /// remembers the last 1,024 removed peers. Envelopes of peers removed before those may be repeated.
    ///
    /// # Errors
    /// [`PeerError`] if `pid` is not a peer, or if the server's event loop cannot be used.
    fn remove_peer(&mut self, pid: Pid) -> Result<Undelivered, PeerError>;

    /// Counters of sent and received envelopes, by peer.
    ///
    /// The last 1,024 removed peers keep their rows. All peers removed before those share one row with the pid
    /// [`BROADCAST`](crate::BROADCAST). The rows therefore always add up to all that was sent.
    fn stats(&self) -> Vec<PeerStats>;

    /// State of the link to a peer, and how long it has lasted. [`events`](Server::events) report the changes; this
    /// method serves programs that read no events, or not from the beginning.
    ///
    /// Returns `None` if `pid` is not a peer, or if this server has stopped. A server whose loop the caller turns
    /// ([`Threading::Inline`](crate::Threading)) returns the state at its last turn.
    ///
    /// ```
    /// use cluster::{LinkState, Pid, Server};
    ///
    /// fn is_up(server: &impl Server, pid: Pid) -> bool {
    ///     server.peer_state(pid).is_some_and(|state| matches!(state.link, LinkState::Up { .. }))
    /// }
    /// ```
    fn peer_state(&self, pid: Pid) -> Option<PeerState>;

    /// Stops the server: delivers the queued envelopes, says goodbye to the peers, and closes. Waits at most two
    /// seconds for acknowledgements, and only for peers that are present.
    ///
    /// Received envelopes stay in the inbox: all envelopes acknowledged to the peers can be read after the stop.
    ///
    /// # Errors
    /// [`StopError`] counts the undelivered envelopes, by peer. It also reports a failed event loop, and an inline
    /// server that belongs to another thread: that server continues to run.
    fn stop(&mut self) -> Result<(), StopError>;
}

/// Error of adding, removing, blocking or unblocking a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerError {
    /// The pid is that of this server itself.
    Itself {
        /// Pid of this server.
        pid: Pid,
    },
    /// The pid is [`BROADCAST`](crate::BROADCAST), which stands for every peer.
    Broadcast,
    /// The pid is not a peer of this server.
    Unknown {
        /// Pid that is not a peer.
        pid: Pid,
    },
    /// The address cannot be resolved.
    Address {
        /// Address that cannot be resolved.
        address: String,
        /// Description of the cause and the remedy.
        error: String,
    },
    /// The event loop of this server has failed, and the server has stopped.
    EngineFailed {
        /// Description of the failure.
        message: String,
    },
    /// The server is inline and belongs to another thread: see [`Threading::Inline`](crate::Threading::Inline).
    WrongThread,
}

impl From<LoopUnavailable> for PeerError {
    fn from(unavailable: LoopUnavailable) -> PeerError {
        match unavailable {
            LoopUnavailable::Failed(failed) => PeerError::EngineFailed { message: failed.message },
            LoopUnavailable::WrongThread(_) => PeerError::WrongThread,
        }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerError::Itself { pid } => write!(f, "{pid} is this server itself; name one of the others"),
            PeerError::Broadcast => write!(f, "{BROADCAST} stands for every peer; no server can have it"),
            PeerError::Unknown { pid } => write!(f, "{pid} is no peer of this server; add it first"),
            PeerError::Address { error, .. } => f.write_str(error),
            PeerError::EngineFailed { message } => {
                write!(f, "the server's event loop has failed ({message}); stop the server and start it again")
            }
            PeerError::WrongThread => WrongThread.fmt(f),
        }
    }
}

impl std::error::Error for PeerError {}

/// Error of stopping a server.
///
/// Possible causes:
///
/// - The server has stopped, and some envelopes that its outboxes took were not delivered.
/// - The server's event loop has failed.
/// - The server is inline, belongs to [another thread](StopError::is_wrong_thread), and has not stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopError {
    pub(crate) undelivered: Vec<Undelivered>,
    pub(crate) failure: Option<String>,
    pub(crate) wrong_thread: bool,
}

impl StopError {
    pub(crate) fn new(undelivered: Vec<Undelivered>) -> StopError {
        StopError { undelivered, failure: None, wrong_thread: false }
    }

    /// Returns whether the server is inline and belongs to another thread. Such a server continues to run; see
    /// [`Threading::Inline`](crate::Threading::Inline).
    pub fn is_wrong_thread(&self) -> bool {
        self.wrong_thread
    }

    /// Description of the failure: the event loop failed, or did not answer the stop. `None` after an orderly stop.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Envelopes that were not acknowledged, by peer. After a [failure](StopError::failure) that kept the loop from
    /// counting, the list includes all envelopes that are not known to be acknowledged.
    pub fn undelivered(&self) -> &[Undelivered] {
        &self.undelivered
    }
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wrong_thread {
            return write!(f, "not stopped: {WrongThread}");
        }
        if let Some(failure) = &self.failure {
            write!(f, "the event loop has failed: {failure}; start the server again")?;
            if self.undelivered.is_empty() {
                return Ok(());
            }
            f.write_str("; ")?;
        }
        f.write_str("stopped; not delivered:")?;
        for (index, each) in self.undelivered.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let plural = if each.messages == 1 { "" } else { "s" };
            write!(f, "{separator} {} message{plural} ({} bytes) to {}", each.messages, each.bytes, each.pid)?;
        }
        match self.failure {
            Some(_) => Ok(()),
            None => f.write_str("; these peers were not there, or did not acknowledge in time"),
        }
    }
}

impl std::error::Error for StopError {}
