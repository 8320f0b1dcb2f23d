//! The interface of a server.

use cluster_engine::{PeerStats, Pid};

use crate::{Events, Inbox, Outbox, StopError};

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

    /// Messages and bytes, by peer.
    fn stats(&self) -> Vec<PeerStats>;

    /// Delivers what was sent, says goodbye to the peers, and closes. Waits for peers that are there, at most two seconds.
    ///
    /// # Errors
    /// [`StopError`] counts what could not be delivered, by peer.
    fn stop(&mut self) -> Result<(), StopError>;
}
