//! The ZeroMQ version: calls and answers are envelopes, a thread reads the inbox, and whoever sends takes the outbox.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use cluster_bench_zmq::{Context, Envelope, Inbox, Outbox, Tuning, ZmqServer};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::caller::{CallError, Caller, Callers};
use super::message::{Request, Response};
use super::network::Network;
use super::types::Raft;
use crate::raft::protocol::{Addresses, Id};

/// Network of ZeroMQ servers.
pub struct Zmq {
    servers: BTreeMap<Id, ZmqServer>,
    ends: BTreeMap<Id, Ends>,
}

/// Both ends of a server between its start and its use.
struct Ends {
    inbox: Inbox,
    shared: Arc<Shared>,
}

/// State that the callers and the thread of a server share.
struct Shared {
    outbox: Mutex<Outbox>,
    /// Calls without an answer, by number.
    calls: Mutex<HashMap<i64, oneshot::Sender<Response>>>,
    next: AtomicI64,
}

/// Way to one node.
pub struct Way {
    target: Id,
    shared: Arc<Shared>,
}

impl Network for Zmq {
    type Factory = Callers<Box<dyn FnMut(Id) -> Way + Send + Sync>>;

    async fn open(ids: &[Id]) -> Result<(Self, Addresses), String> {
        let context = Context::new(1).map_err(|error| error.to_string())?;
        let (mut servers, mut addresses) = (BTreeMap::new(), Addresses::new());
        for &id in ids {
            let server = ZmqServer::bind(&context, id, Tuning::DEFAULT).map_err(|error| error.to_string())?;
            addresses.insert(id, server.endpoint().map_err(|error| error.to_string())?);
            servers.insert(id, server);
        }
        Ok((Self { servers, ends: BTreeMap::new() }, addresses))
    }

    fn factory(&mut self, id: Id, addresses: &Addresses) -> Result<Self::Factory, String> {
        let mut server = self.servers.remove(&id).ok_or_else(|| format!("node {id} has no server"))?;
        for (peer, endpoint) in addresses.iter().filter(|(peer, _)| **peer != id) {
            server.add_peer(*peer, endpoint).map_err(|error| error.to_string())?;
        }
        let (inbox, outbox) = server.split();
        let (outbox, calls, next) = (Mutex::new(outbox), Mutex::default(), AtomicI64::new(1));
        let shared = Arc::new(Shared { outbox, calls, next });
        self.ends.insert(id, Ends { inbox, shared: shared.clone() });
        Ok(Callers(Box::new(move |target| Way { target, shared: shared.clone() })))
    }

    fn serve(&mut self, id: Id, raft: Raft) -> Result<(), String> {
        let ends = self.ends.get(&id).map(|ends| ends.shared.clone());
        let (shared, Ends { inbox, .. }) =
            ends.zip(self.ends.remove(&id)).ok_or_else(|| format!("node {id} has no inbox"))?;
        let runtime = Handle::current();
        thread::spawn(move || shared.receive(inbox, &raft, &runtime));
        Ok(())
    }
}

impl Caller for Way {
    async fn call(&mut self, request: Request) -> Result<Response, CallError> {
        let (answered, answer) = oneshot::channel();
        let id = self.shared.next.fetch_add(1, Relaxed);
        self.shared.calls().insert(id, answered);
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        let _forget = Forget { shared: &self.shared, id };
        self.shared.send(self.target, id, &bytes).map_err(CallError::Unreachable)?;
        answer.await.map_err(|_| CallError::Lost(io::ErrorKind::ConnectionReset.into()))
    }
}

/// Forgets a call that was answered, or that nobody waits for.
struct Forget<'a> {
    shared: &'a Shared,
    id: i64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.calls().remove(&self.id);
    }
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, HashMap<i64, oneshot::Sender<Response>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an envelope. An envelope that finds the queue full is lost, like one to a peer that is down.
    fn send(&self, to: Id, id: i64, bytes: &[u8]) -> io::Result<()> {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        match outbox.try_send(to, id, bytes) {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Receives until the inbox fails or the process ends. The number of an answer is the negative number of its call.
    fn receive(self: Arc<Self>, mut inbox: Inbox, raft: &Raft, runtime: &Handle) {
        let mut envelope = Envelope::empty();
        loop {
            match inbox.recv(&mut envelope) {
                Ok(()) => {}
                Err(error) if error.is_timeout() => continue,
                Err(_) => return,
            }
            let (Some(from), Some(id)) = (envelope.pid(), envelope.id()) else { continue };
            if id < 0 {
                let call = self.calls().remove(&-id);
                if let (Some(call), Ok(answer)) = (call, Response::decode(envelope.payload())) {
                    // A caller that has given up needs no answer.
                    let _ = call.send(answer);
                }
            } else if let Ok(request) = Request::decode(envelope.payload()) {
                let (shared, raft) = (self.clone(), raft.clone());
                runtime.spawn(async move {
                    let mut bytes = Vec::new();
                    request.answer(&raft).await.encode(&mut bytes);
                    // The caller calls again if the answer is lost.
                    let _ = shared.send(from, -id, &bytes);
                });
            }
        }
    }
}
