//! Calling side: one connection for appends and votes to a node, and one for chunks of snapshots, so that no heartbeat
//! waits behind a chunk.
//!
//! The task that calls writes to the socket itself, so a call costs no other task. Calls that find the socket full are
//! queued, and leave together when there is room. A task for each connection reads answers.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

use super::frame::{self, Received};
use crate::raft::openraft::caller::{CallError, Caller};
use crate::raft::openraft::message::{Request, Response};

/// A node as seen by its callers, who share its connections.
pub struct Peer {
    address: String,
    /// Connections for calls, and for chunks.
    connections: [tokio::sync::Mutex<Option<Arc<Connection>>>; 2],
}

/// Way of one of openraft's clients to a node.
pub struct Way {
    peer: Arc<Peer>,
    /// Connections last used.
    connections: [Option<Arc<Connection>>; 2],
}

/// Connection for calls. Answers come in any order.
struct Connection {
    socket: OwnedWriteHalf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Frames that were not written yet; empty between two calls unless the socket is full.
    unsent: Vec<u8>,
    /// True while a task waits for room in the socket.
    is_flushing: bool,
    /// Calls without an answer, by number.
    calls: HashMap<u64, oneshot::Sender<Response>>,
    next: u64,
    is_closed: bool,
}

/// Call that waits for its answer, and forgets about it when it is dropped before.
struct Pending<'a> {
    connection: &'a Connection,
    id: u64,
}

impl Peer {
    /// Makes a peer without connections. They are opened when they are needed.
    pub fn new(address: &str) -> Arc<Self> {
        Arc::new(Self { address: address.to_owned(), connections: Default::default() })
    }

    async fn connect(&self, kind: usize) -> io::Result<Arc<Connection>> {
        let mut shared = self.connections[kind].lock().await;
        if let Some(connection) = shared.as_ref().filter(|connection| !connection.lock().is_closed) {
            return Ok(connection.clone());
        }
        let socket = TcpStream::connect(&self.address).await?;
        socket.set_nodelay(true)?;
        // The first `try_write` would find that the socket's readiness is not known yet.
        socket.writable().await?;
        let (reading, writing) = socket.into_split();
        let connection = Arc::new(Connection { socket: writing, state: Mutex::default() });
        tokio::spawn(read_answers(connection.clone(), reading));
        Ok(shared.insert(connection).clone())
    }
}

impl Way {
    /// Makes a way to a node.
    pub fn to(peer: &Arc<Peer>) -> Self {
        Self { peer: peer.clone(), connections: [None, None] }
    }
}

impl Caller for Way {
    async fn call(&mut self, request: Request) -> Result<Response, CallError> {
        let kind = usize::from(request.is_bulk());
        let known = self.connections[kind].as_ref().filter(|connection| !connection.lock().is_closed);
        let connection = match known {
            Some(connection) => connection,
            None => {
                let connection = self.peer.connect(kind).await.map_err(CallError::Unreachable)?;
                self.connections[kind].insert(connection)
            }
        };
        let (id, answer) = connection.send(&request).map_err(CallError::Lost)?;
        let pending = Pending { connection, id };
        let answer = answer.await;
        std::mem::forget(pending);
        answer.map_err(|_| CallError::Lost(io::ErrorKind::ConnectionReset.into()))
    }
}

impl Connection {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a call to the socket, or queues it if the socket is full.
    fn send(self: &Arc<Self>, request: &Request) -> io::Result<(u64, oneshot::Receiver<Response>)> {
        let (answered, answer) = oneshot::channel();
        let mut state = self.lock();
        if state.is_closed {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        // Calls that nobody waits for any more stay queued while a peer does not read.
        if state.unsent.len() > MAX_UNSENT {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let id = state.next;
        state.next += 1;
        frame::put(id, &mut state.unsent, |out| request.encode(out));
        if !state.is_flushing && !self.write(&mut state.unsent)? {
            state.is_flushing = true;
            tokio::spawn(flush(self.clone()));
        }
        state.calls.insert(id, answered);
        Ok((id, answer))
    }

    /// Writes what the socket takes now. Returns whether it has taken everything.
    fn write(&self, unsent: &mut Vec<u8>) -> io::Result<bool> {
        let mut written = 0;
        while written < unsent.len() {
            match self.socket.try_write(&unsent[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        unsent.drain(..written);
        Ok(unsent.is_empty())
    }

    fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        // Their senders are dropped, which the callers notice.
        state.calls.clear();
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.connection.lock().calls.remove(&self.id);
    }
}

/// Writes queued calls when the socket has room, until none are left.
async fn flush(connection: Arc<Connection>) {
    loop {
        let outcome = connection.socket.writable().await.and_then(|()| {
            let mut state = connection.lock();
            let is_empty = connection.write(&mut state.unsent)?;
            state.is_flushing = !is_empty;
            Ok(is_empty)
        });
        match outcome {
            Ok(true) => return,
            Ok(false) => {}
            Err(_) => return connection.close(),
        }
    }
}

/// Hands answers to their callers until the connection ends.
async fn read_answers(connection: Arc<Connection>, mut socket: OwnedReadHalf) {
    let mut received = Received::new();
    while let Ok(1..) = poll_fn(|cx| received.poll_read(&mut socket, cx)).await {
        if hand_out(&connection, &mut received).is_err() {
            break;
        }
    }
    connection.close();
}

fn hand_out(connection: &Connection, received: &mut Received) -> io::Result<()> {
    while let Some((id, message)) = received.next()? {
        let answer = Response::decode(message).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let call = connection.lock().calls.remove(&id);
        if let Some(call) = call {
            // A caller that has given up needs no answer.
            let _ = call.send(answer);
        }
    }
    Ok(())
}

/// Queued bytes above which calls fail.
const MAX_UNSENT: usize = 16 << 20;
