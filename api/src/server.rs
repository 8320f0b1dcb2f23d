//! The interface of a server, and its errors.

use std::fmt;

use cluster_engine::{BROADCAST, LoopUnavailable, PeerState, PeerStats, Pid, Undelivered, WrongThread};

use crate::{Events, Inbox, Outbox};

/// A server: a pid, an inbox and an outbox.
///
/// A program that is written against this trait runs on the real [`Node`](crate::Node), and on any other server.
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
    /// This server's pid.
    fn pid(&self) -> Pid;

    /// The pids of all other servers, ascending.
    fn peers(&self) -> &[Pid];

    /// What arrives.
    fn inbox(&mut self) -> &mut Inbox;

    /// What is sent.
    fn outbox(&mut self) -> &mut Outbox;

    /// What happens to the peers.
    fn events(&mut self) -> &mut Events;

    /// Makes `pid` a peer, to be found at `address` (`host:port`), or says that the peer is to be found there from now
    /// on: then what waits for it stays. [`Event::Added`](crate::Event::Added) tells of a new one.
    ///
    /// Each server keeps its own list: the others have to be told too.
    ///
    /// # Errors
    /// [`PeerError`] for this server's own pid, for [`BROADCAST`](crate::BROADCAST), or if the address leads nowhere.
    fn add_peer(&mut self, pid: Pid, address: &str) -> Result<(), PeerError>;

    /// Ends the link to a peer, with a goodbye. Returns what it had not acknowledged, which is given up.
    ///
    /// A peer that has not removed this server keeps its unacknowledged envelopes. If the peer is added again and
    /// neither server was restarted, its streams continue where they stopped, and nothing is repeated. This server
    /// remembers the last 1,024 peers that were removed. Envelopes of peers removed before those may be repeated.
    ///
    /// # Errors
    /// [`PeerError`] if it is no peer.
    fn remove_peer(&mut self, pid: Pid) -> Result<Undelivered, PeerError>;

    /// What has become of what was sent, and what has come, by peer.
    ///
    /// The last 1,024 peers that were removed have their rows too. Those removed before them have one together, with
    /// the pid [`BROADCAST`](crate::BROADCAST), so that the rows add up to all that was sent however many peers come
    /// and go.
    fn stats(&self) -> Vec<PeerStats>;

    /// State of the link to a peer, and how long it has lasted. [`events`](Server::events) report the changes; this
    /// method serves programs that did not read them, or not from the beginning.
    ///
    /// `None` if `pid` is no peer, or if this server has stopped. A server whose loop the caller turns
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

    /// Delivers what was sent, says goodbye to the peers, and closes. Waits for peers that are there, at most two
    /// seconds.
    ///
    /// Received envelopes stay in the inbox: everything acknowledged to the peers can be read after the stop.
    ///
    /// # Errors
    /// [`StopError`] counts what could not be delivered, by peer.
    fn stop(&mut self) -> Result<(), StopError>;
}

/// A peer cannot be added, removed or blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerError {
    /// It is this server itself.
    Itself {
        /// Its pid.
        pid: Pid,
    },
    /// It is the pid that stands for every peer.
    Broadcast,
    /// It is no peer of this server.
    Unknown {
        /// Its pid.
        pid: Pid,
    },
    /// The address leads nowhere.
    Address {
        /// The address.
        address: String,
        /// Why.
        error: String,
    },
    /// The event loop of this server has failed, and the server has stopped.
    EngineFailed {
        /// Description of the failure.
        message: String,
    },
    /// The server is inline, and belongs to another thread: see [`Threading::Inline`](crate::Threading::Inline).
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

/// A server has stopped, and some of what its outboxes took was not delivered, or its event loop has failed. Or it is
/// inline, has not stopped, and belongs to [another thread](StopError::is_wrong_thread).
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

    /// Returns whether the server is inline and belongs to another thread. Then it goes on as if it had not been told
    /// to stop; see [`Threading::Inline`](crate::Threading::Inline).
    pub fn is_wrong_thread(&self) -> bool {
        self.wrong_thread
    }

    /// Description of the failure: the event loop failed, or did not answer the stop. `None` after an orderly stop.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Envelopes that were not acknowledged, by peer. After a [failure](StopError::failure) that kept the loop from
    /// counting, they include all envelopes that are not known to be acknowledged.
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
