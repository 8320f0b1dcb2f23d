//! Hand-written TCP on tokio: what a careful user writes, as fast as we can make it. The yardstick of the comparison.
//!
//! Calls are numbered, and answered in any order. A message is framed by its length. A task that has something to send
//! writes it to the socket at once, with everything else that is ready; TCP waits for nothing (`TCP_NODELAY`). Buffers
//! stay with their connection.

mod client;
mod frame;
mod server;

use std::collections::BTreeMap;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::caller::Callers;
use super::network::Network;
use super::types::Raft;
use crate::raft::protocol::{Addresses, Id};
use client::{Peer, Way};

/// Network over TCP connections between each two nodes, one for each direction of calls.
pub struct TokioTcp {
    listeners: BTreeMap<Id, TcpListener>,
    servers: JoinSet<()>,
}

impl Network for TokioTcp {
    type Factory = Callers<Box<dyn FnMut(Id) -> Way + Send + Sync>>;

    async fn open(ids: &[Id]) -> Result<(Self, Addresses), String> {
        let (mut listeners, mut addresses) = (BTreeMap::new(), Addresses::new());
        for &id in ids {
            let (listener, address) = listen().await.map_err(|error| format!("cannot listen on 127.0.0.1: {error}"))?;
            listeners.insert(id, listener);
            addresses.insert(id, address);
        }
        Ok((Self { listeners, servers: JoinSet::new() }, addresses))
    }

    fn factory(&mut self, _: Id, addresses: &Addresses) -> Result<Self::Factory, String> {
        let peers: BTreeMap<Id, _> = addresses.iter().map(|(id, address)| (*id, Peer::new(address))).collect();
        let nobody = Peer::new("");
        Ok(Callers(Box::new(move |target| Way::to(peers.get(&target).unwrap_or(&nobody)))))
    }

    fn serve(&mut self, id: Id, raft: Raft) -> Result<(), String> {
        let listener = self.listeners.remove(&id).ok_or_else(|| format!("node {id} has no listener"))?;
        self.servers.spawn(server::serve(listener, raft));
        Ok(())
    }
}

async fn listen() -> std::io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    Ok((listener, address))
}
