//! Interface of a contender: the network between the nodes of a group.

use std::future::Future;

use openraft::RaftNetworkFactory;

use super::types::{Raft, Types};
use crate::raft::protocol::{Addresses, Id};

/// Network of the nodes of one process. All calls are made within the process's runtime.
pub trait Network: Sized + Send + 'static {
    /// Clients of one node, by which openraft calls the others.
    type Factory: RaftNetworkFactory<Types>;

    /// Opens the listeners of these nodes. Returns their addresses, which the other processes learn.
    fn open(ids: &[Id]) -> impl Future<Output = Result<(Self, Addresses), String>>;

    /// Returns the clients of node `id`. `addresses` are those of all nodes.
    fn factory(&mut self, id: Id, addresses: &Addresses) -> Result<Self::Factory, String>;

    /// Serves the calls of other nodes to node `id` until the network is dropped.
    fn serve(&mut self, id: Id, raft: Raft) -> Result<(), String>;
}
