//! No network: the nodes of one process call each other. The ceiling for all networks.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::caller::{CallError, Caller, Callers};
use super::message::{Request, Response};
use super::network::Network;
use super::types::Raft;
use crate::raft::protocol::{Addresses, Id};

/// All nodes of the group.
#[derive(Clone, Default)]
pub struct NoNetwork(Arc<Mutex<BTreeMap<Id, Raft>>>);

/// Way to a node of this process.
pub struct Direct {
    target: Id,
    nodes: NoNetwork,
    /// Found at the first call.
    raft: Option<Raft>,
}

impl Network for NoNetwork {
    type Factory = Callers<Box<dyn FnMut(Id) -> Direct + Send + Sync>>;

    async fn open(ids: &[Id]) -> Result<(Self, Addresses), String> {
        Ok((Self::default(), ids.iter().map(|id| (*id, "in this process".to_owned())).collect()))
    }

    fn factory(&mut self, _: Id, _: &Addresses) -> Result<Self::Factory, String> {
        let nodes = self.clone();
        Ok(Callers(Box::new(move |target| Direct { target, nodes: nodes.clone(), raft: None })))
    }

    fn serve(&mut self, id: Id, raft: Raft) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, raft);
        Ok(())
    }
}

impl Caller for Direct {
    async fn call(&mut self, request: Request) -> Result<Response, CallError> {
        if self.raft.is_none() {
            self.raft = self.nodes.0.lock().unwrap_or_else(PoisonError::into_inner).get(&self.target).cloned();
        }
        match &self.raft {
            Some(raft) => Ok(request.answer(raft).await),
            None => Err(CallError::Unreachable(io::ErrorKind::NotFound.into())),
        }
    }
}
