//! openraft's clients over a way to carry a call and bring back its answer.

use std::future::Future;
use std::io;

use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{BasicNode, RaftNetwork, RaftNetworkFactory};

use super::message::{Request, Response};
use super::types::Types;
use crate::raft::protocol::Id;

/// Way to one node.
pub trait Caller: Send + Sync + 'static {
    /// Sends a call and waits for its answer.
    fn call(&mut self, request: Request) -> impl Future<Output = Result<Response, CallError>> + Send;
}

/// Failure of a call.
#[derive(Debug)]
pub enum CallError {
    /// No connection: openraft waits before it tries again.
    Unreachable(io::Error),
    /// Connection lost, or an answer that cannot be understood: openraft tries again at once.
    Lost(io::Error),
}

/// Clients of a node: one of openraft's for each way.
pub struct Callers<F>(
    /// Returns the way to a node.
    pub F,
);

impl<C: Caller, F: FnMut(Id) -> C + Send + Sync + 'static> RaftNetworkFactory<Types> for Callers<F> {
    type Network = Client<C>;

    async fn new_client(&mut self, target: Id, _: &BasicNode) -> Client<C> {
        Client { target, caller: (self.0)(target) }
    }
}

/// openraft's client of one node.
pub struct Client<C> {
    target: Id,
    caller: C,
}

type Answer<T, E = openraft::error::Infallible> = Result<T, Failure<E>>;

impl<C: Caller> RaftNetwork<Types> for Client<C> {
    async fn append_entries(
        &mut self,
        call: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Answer<AppendEntriesResponse<u64>> {
        match self.caller.call(Request::Append(call)).await {
            Ok(Response::Append(answer)) => answer.map_err(|error| remote(self.target, error)),
            other => Err(failure(other)),
        }
    }

    async fn install_snapshot(
        &mut self,
        call: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Answer<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        match self.caller.call(Request::Chunk(call)).await {
            Ok(Response::Chunk(answer)) => answer.map_err(|error| remote(self.target, error)),
            other => Err(failure(other)),
        }
    }

    async fn vote(&mut self, call: VoteRequest<u64>, _: RPCOption) -> Answer<VoteResponse<u64>> {
        match self.caller.call(Request::Vote(call)).await {
            Ok(Response::Vote(answer)) => answer.map_err(|error| remote(self.target, error)),
            other => Err(failure(other)),
        }
    }
}

type Failure<E> = RPCError<u64, BasicNode, RaftError<u64, E>>;

fn remote<E: std::error::Error>(target: Id, error: RaftError<u64, E>) -> Failure<E> {
    RPCError::RemoteError(RemoteError::new(target, error))
}

fn failure<E: std::error::Error>(other: Result<Response, CallError>) -> Failure<E> {
    match other {
        Err(CallError::Unreachable(error)) => RPCError::Unreachable(Unreachable::new(&error)),
        Err(CallError::Lost(error)) => RPCError::Network(NetworkError::new(&error)),
        Ok(response) => {
            let error = io::Error::other(format!("the answer is to another kind of call: {response:?}"));
            RPCError::Network(NetworkError::new(&error))
        }
    }
}
