//! The interface of a server.

use cluster_engine::{PeerState, PeerStats, Pid, Undelivered};

use crate::{Events, Inbox, Outbox, PeerError, StopError};

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
