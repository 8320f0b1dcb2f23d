//! gRPC by tonic, with a channel that is kept open. The messages are the bytes that the hand-written network carries,
//! so that no compiler for protobuf is needed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::tonic::body::Body;
use ::tonic::client::Grpc as ClientGrpc;
use ::tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use ::tonic::codegen::http::uri::PathAndQuery;
use ::tonic::codegen::{BoxFuture, Service, http};
use ::tonic::server::{Grpc as ServerGrpc, UnaryService};
use ::tonic::transport::server::TcpIncoming;
use ::tonic::transport::{Channel, Endpoint, Server};
use ::tonic::{Code, Status};
use bytes::{Buf, BufMut};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::caller::{CallError, Caller, Callers};
use super::message::{Request, Response};
use super::network::Network;
use super::types::Raft;
use crate::raft::protocol::{Addresses, Id};

/// Network of tonic's channels and servers.
pub struct Tonic {
    listeners: BTreeMap<Id, TcpListener>,
    servers: JoinSet<()>,
}

/// Way to one node.
pub struct Way(ClientGrpc<Channel>);

impl Network for Tonic {
    type Factory = Callers<Box<dyn FnMut(Id) -> Way + Send + Sync>>;

    async fn open(ids: &[Id]) -> Result<(Self, Addresses), String> {
        let (mut listeners, mut addresses) = (BTreeMap::new(), Addresses::new());
        for &id in ids {
            let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
            let address = listener.local_addr().map_err(|error| error.to_string())?;
            listeners.insert(id, listener);
            addresses.insert(id, format!("http://{address}"));
        }
        Ok((Self { listeners, servers: JoinSet::new() }, addresses))
    }

    fn factory(&mut self, _: Id, addresses: &Addresses) -> Result<Self::Factory, String> {
        let mut channels = BTreeMap::new();
        for (id, address) in addresses {
            let endpoint = Endpoint::from_shared(address.clone()).map_err(|error| error.to_string())?;
            channels.insert(*id, endpoint.tcp_nodelay(true).connect_lazy());
        }
        let nowhere = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        Ok(Callers(Box::new(move |target| {
            let channel = channels.get(&target).unwrap_or(&nowhere).clone();
            Way(ClientGrpc::new(channel).max_decoding_message_size(MAX_MESSAGE))
        })))
    }

    fn serve(&mut self, id: Id, raft: Raft) -> Result<(), String> {
        let listener = self.listeners.remove(&id).ok_or_else(|| format!("node {id} has no listener"))?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        self.servers.spawn(async move {
            // A server that ends leaves its node unreachable, which the others say.
            let _ = Server::builder().serve_with_incoming(RaftService(Arc::new(raft)), incoming).await;
        });
        Ok(())
    }
}

impl Caller for Way {
    async fn call(&mut self, request: Request) -> Result<Response, CallError> {
        self.0.ready().await.map_err(|error| CallError::Unreachable(io::Error::other(error)))?;
        let path = PathAndQuery::from_static(PATH);
        match self.0.unary(::tonic::Request::new(request), path, Calls).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) if status.code() == Code::Unavailable => Err(CallError::Unreachable(io::Error::other(status))),
            Err(status) => Err(CallError::Lost(io::Error::other(status))),
        }
    }
}

/// Service of one node: a single method.
#[derive(Clone)]
struct RaftService(Arc<Raft>);

impl Service<http::Request<Body>> for RaftService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("there is one method only").into_http());
            }
            Ok(ServerGrpc::new(Answers).max_decoding_message_size(MAX_MESSAGE).unary(service, request).await)
        })
    }
}

impl UnaryService<Request> for RaftService {
    type Response = Response;
    type Future = BoxFuture<::tonic::Response<Response>, Status>;

    fn call(&mut self, request: ::tonic::Request<Request>) -> Self::Future {
        let raft = self.0.clone();
        Box::pin(async move { Ok(::tonic::Response::new(request.into_inner().answer(&raft).await)) })
    }
}

/// Codec of the calling side.
struct Calls;
/// Codec of the answering side.
struct Answers;
struct ToBytes<T>(fn(&T, &mut Vec<u8>));
struct OfBytes<T>(fn(&[u8]) -> Result<T, postcard::Error>);

impl Codec for Calls {
    type Encode = Request;
    type Decode = Response;
    type Encoder = ToBytes<Request>;
    type Decoder = OfBytes<Response>;

    fn encoder(&mut self) -> ToBytes<Request> {
        ToBytes(Request::encode)
    }

    fn decoder(&mut self) -> OfBytes<Response> {
        OfBytes(Response::decode)
    }
}

impl Codec for Answers {
    type Encode = Response;
    type Decode = Request;
    type Encoder = ToBytes<Response>;
    type Decoder = OfBytes<Request>;

    fn encoder(&mut self) -> ToBytes<Response> {
        ToBytes(Response::encode)
    }

    fn decoder(&mut self) -> OfBytes<Request> {
        OfBytes(Request::decode)
    }
}

impl<T> Encoder for ToBytes<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let mut bytes = Vec::new();
        (self.0)(&item, &mut bytes);
        out.put_slice(&bytes);
        Ok(())
    }
}

impl<T> Decoder for OfBytes<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        // Without a copy if the message lies in one piece.
        let bytes = bytes.copy_to_bytes(bytes.remaining());
        (self.0)(&bytes).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

const PATH: &str = "/bench.Raft/Call";
/// Most bytes of a message; tonic's default is 4 MiB.
const MAX_MESSAGE: usize = 64 << 20;
