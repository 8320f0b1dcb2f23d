//! Interface of a contender: one end of the network for each node, used by the node's thread.

use std::time::Duration;

use raft::eraftpb::Message;

use crate::raft::protocol::{Addresses, Id};

/// End of the network at one node.
pub trait Endpoint: Sized {
    /// End that has an address, and is not connected.
    type Bound: Send + 'static;

    /// Opens the listeners of these nodes. Returns each with its address, which the other processes learn.
    fn bind(ids: &[Id]) -> Result<Vec<(Self::Bound, String)>, String>;

    /// Connects node `id` with all others. Called by the thread that uses the end.
    fn connect(bound: Self::Bound, id: Id, addresses: &Addresses) -> Result<Self, String>;

    /// Sends a message to the node that it names. Returns whether there was room; if not, the message is lost, and raft
    /// is told that the node is unreachable.
    fn send(&mut self, message: Message) -> bool;

    /// Waits at most `timeout` for a message, then passes every message that is there to `each`.
    fn receive(&mut self, timeout: Duration, each: &mut dyn FnMut(Message));
}
