//! Connections through memory, between servers of one engine.
//!
//! A [`LocalTransport`] is a driver around another driver. A dial to an address at which a server of the same engine
//! listens makes two endpoints in memory; the inner driver does everything else. The shard sees the same sockets for
//! both, and the protocol above is the same. But an endpoint copies the bytes of a send out of the ring once and hands
//! them to its peer in place, without a descriptor and without a system call.
//!
//! The address decides about the way, not the pid, and the handshake checks the identity as over TCP. A server is
//! announced before its start returns. Dials that arrive before its loop listens wait. A dial before the announcement
//! goes over TCP, and so does a dial to another address of the server, such as a proxy or a wildcard. The connection
//! stays on TCP until it ends.
//!
//! An endpoint fills its chunk from the beginning again when the peer reads none of it any more, so a quiet connection
//! stays on one page.
//!
//! | module | contents |
//! | --- | --- |
//! | registry | addresses of servers and queues of messages, shared by the shards of an engine |
//! | endpoint | one endpoint of a connection: its sends, and their flow control |

mod endpoint;
mod registry;
mod socket_ids;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

use slab::Slab;

use self::endpoint::{Endpoint, Send, piece_after};
use self::registry::{EndpointEvent, EndpointId, LocalMessage};
pub use self::registry::{LocalAddr, LocalRegistry};
use self::socket_ids::{in_memory, inside, is_in_memory, outside, rename, slot};
use super::watermark::Watermark;
use super::{Budget, ChunkPool, Completion, Driver, Listener, Notifier, Reaped, ReceiveBuffer, SocketId, Wait, Way};
use crate::batch::Batch;
use crate::time::Time;

/// Bytes that may be under way in one direction of a connection: as many as the buffer of a socket would hold.
pub const WINDOW_BYTES: usize = 512 * 1024;

/// Driver whose sockets may also be endpoints of connections in memory: the sockets with odd ids.
pub struct LocalTransport<D: Driver> {
    inner: D,
    registry: Arc<LocalRegistry>,
    /// Number of this shard in the registry.
    shard: u32,
    pool: Arc<ChunkPool>,
    /// Chunk for segments that hold no bytes of a stream; all endpoints share it.
    control: Option<ReceiveBuffer>,
    read: Watermark,
    window: u64,
    /// Local addresses of servers that listen here, by the socket of their listener.
    addrs: BTreeMap<SocketId, LocalAddr>,
    /// Sockets of the listeners that have a local address, by the number of that address.
    listeners: BTreeMap<NonZeroU64, SocketId>,
    /// Dials to servers that are announced and do not listen yet.
    early: Vec<(LocalAddr, EndpointId)>,
    endpoints: Slab<Endpoint>,
    /// Completions that no message has caused.
    done: VecDeque<Completion>,
    /// Closed endpoints that were not reported to the shard yet.
    closed: Vec<SocketId>,
    /// Closed endpoints that were reported in the last turn. Their ids are free in the next turn.
    gone: Vec<SocketId>,
}

impl<D: Driver> LocalTransport<D> {
    /// Makes the transport of the shard with number `shard` in the registry. Segments are copied to chunks of `pool`.
    /// When `window` bytes of a connection are under way, a send waits.
    pub fn new(
        inner: D,
        registry: Arc<LocalRegistry>,
        shard: usize,
        pool: Arc<ChunkPool>,
        window: usize,
    ) -> LocalTransport<D> {
        LocalTransport {
            inner,
            registry,
            shard: shard as u32,
            pool,
            control: None,
            read: Watermark::default(),
            window: window as u64,
            addrs: BTreeMap::new(),
            listeners: BTreeMap::new(),
            early: Vec::new(),
            endpoints: Slab::new(),
            done: VecDeque::new(),
            closed: Vec::new(),
            gone: Vec::new(),
        }
    }

    fn insert(&mut self, peer: Option<EndpointId>) -> (SocketId, EndpointId) {
        let number = self.registry.number();
        let slot = self.endpoints.insert(Endpoint::new(number, peer, self.window)) as u32;
        (in_memory(slot), EndpointId { shard: self.shard, slot, number })
    }

    /// Returns the endpoint that a message is for; `None` if it is closed.
    fn endpoint(&mut self, id: EndpointId) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(id.slot as usize).filter(|endpoint| endpoint.number == id.number && !endpoint.closing)
    }

    fn on_message(&mut self, message: LocalMessage, completions: &mut VecDeque<Completion>) {
        match message {
            LocalMessage::Dial { addr, from } => {
                if let Some(listener) = self.listeners.get(&addr.number).copied() {
                    completions.push_back(self.accept(listener, from));
                } else if self.registry.find(addr.address) == Some(addr) {
                    self.early.push((addr, from));
                } else {
                    self.registry.post(from.shard, LocalMessage::To(from, EndpointEvent::Answered(None)));
                }
            }
            LocalMessage::To(id, event) => self.on_event(id, event, completions),
        }
    }

    fn accept(&mut self, listener: SocketId, from: EndpointId) -> Completion {
        let (socket, id) = self.insert(Some(from));
        self.registry.post(from.shard, LocalMessage::To(from, EndpointEvent::Answered(Some(id))));
        Completion::Accepted { listener, socket, source: None }
    }

    fn on_event(&mut self, id: EndpointId, event: EndpointEvent, completions: &mut VecDeque<Completion>) {
        let socket = in_memory(id.slot);
        let Some(endpoint) = self.endpoint(id) else {
            // The dialing endpoint was closed before it knew its peer, so the peer was not told then.
            if let EndpointEvent::Answered(Some(peer)) = event {
                self.registry.post(peer.shard, LocalMessage::To(peer, EndpointEvent::Closed));
            }
            return;
        };
        match event {
            EndpointEvent::Answered(peer) => {
                endpoint.peer = peer;
                let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
                completions.push_back(Completion::Connected { socket, result: peer.map(drop).ok_or_else(refused) });
            }
            EndpointEvent::Bytes { bytes, ask, taken } => {
                let (peer, received) = (endpoint.peer, endpoint.receive(bytes.len()));
                let goes_on = endpoint.taken(taken);
                completions.push_back(Completion::Handed { socket, bytes });
                if let Some(peer) = peer
                    && ask
                {
                    self.registry.post(peer.shard, LocalMessage::To(peer, EndpointEvent::Transferred(received)));
                }
                if goes_on {
                    self.go_on(socket, completions);
                }
            }
            EndpointEvent::Transferred(taken) => {
                if endpoint.taken(taken) {
                    self.go_on(socket, completions);
                }
            }
            EndpointEvent::Finished => {
                if !std::mem::replace(&mut endpoint.ended, true) {
                    completions.push_back(Completion::Ended { socket });
                }
            }
            EndpointEvent::Closed => {
                endpoint.broken = true;
                if !std::mem::replace(&mut endpoint.ended, true) {
                    completions.push_back(Completion::Ended { socket });
                }
                self.go_on(socket, completions);
            }
        }
    }

    /// Continues a send that waits.
    fn go_on(&mut self, socket: SocketId, completions: &mut VecDeque<Completion>) {
        let Some(endpoint) = self.endpoints.get_mut(slot(socket)) else { return };
        let Some(Send { batch, piece }) = endpoint.send.take() else { return };
        let peer = endpoint.peer;
        let post = |event| post(&self.registry, peer, event);
        match endpoint.transfer(&batch, piece, &self.pool, &mut self.control, post) {
            Ok((_, piece)) if piece < batch.pieces().len() => endpoint.send = Some(Send { batch, piece }),
            outcome => {
                if endpoint.finishing && outcome.is_ok() {
                    post(EndpointEvent::Finished);
                }
                completions.push_back(Completion::Sent { socket, result: outcome.map(drop), batch });
            }
        }
    }

    /// Asserts that no send waits although there is room.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn check_progress(&self) {
        let forgotten = self.endpoints.iter().find(|(_, endpoint)| endpoint.can_go_on());
        assert!(forgotten.is_none(), "endpoint {:?} has room, and its send waits", forgotten.map(|(slot, _)| slot));
    }

    /// Returns whether a socket of the shard is an endpoint of a connection in memory.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn is_in_memory(socket: SocketId) -> bool {
        is_in_memory(socket)
    }

    /// Number of endpoints of connections in memory.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    fn has_work(&self) -> bool {
        !self.done.is_empty() || !self.closed.is_empty() || self.registry.has_messages(self.shard)
    }
}

impl<D: Driver> Driver for LocalTransport<D> {
    #[inline]
    fn now(&self) -> Time {
        self.inner.now()
    }

    fn notifier(&self) -> Arc<Notifier> {
        self.inner.notifier()
    }

    fn listen(&mut self, listener: Listener, addr: Option<LocalAddr>) -> io::Result<SocketId> {
        let listens = self.inner.listen(listener, None).map(outside);
        let Some(addr) = addr else { return listens };
        let early = self.early.extract_if(.., |(dialed, _)| *dialed == addr).map(|(_, from)| from);
        let early: Vec<EndpointId> = early.collect();
        match listens {
            Ok(socket) => {
                self.addrs.insert(socket, addr);
                self.listeners.insert(addr.number, socket);
                for from in early {
                    let accepted = self.accept(socket, from);
                    self.done.push_back(accepted);
                }
            }
            Err(_) => {
                self.registry.forget(addr);
                for from in early {
                    self.registry.post(from.shard, LocalMessage::To(from, EndpointEvent::Answered(None)));
                }
            }
        }
        listens
    }

    fn pause_accept(&mut self, listener: SocketId) {
        self.inner.pause_accept(inside(listener));
    }

    fn resume_accept(&mut self, listener: SocketId) {
        self.inner.resume_accept(inside(listener));
    }

    fn connect(&mut self, address: SocketAddr, way: Way) -> io::Result<SocketId> {
        let addr = if way.memory { self.registry.find(address) } else { None };
        let Some(addr) = addr else { return self.inner.connect(address, way).map(outside) };
        let (socket, from) = self.insert(None);
        self.registry.post(addr.shard, LocalMessage::Dial { addr, from });
        Ok(socket)
    }

    fn receive(&mut self, socket: SocketId, buffer: ReceiveBuffer) {
        // Bytes that come through memory need no buffer here.
        if !is_in_memory(socket) {
            self.inner.receive(inside(socket), buffer);
        }
    }

    fn send(&mut self, socket: SocketId, batch: Box<Batch>, skip: usize) {
        if !is_in_memory(socket) {
            return self.inner.send(inside(socket), batch, skip);
        }
        let Some(endpoint) = self.endpoints.get_mut(slot(socket)).filter(|endpoint| !endpoint.closing) else { return };
        assert!(endpoint.send.is_none(), "one send at a time");
        let piece = piece_after(&batch, skip);
        endpoint.send = Some(Send { batch, piece });
        let mut done = std::mem::take(&mut self.done);
        self.go_on(socket, &mut done);
        self.done = done;
    }

    fn send_now(&mut self, socket: SocketId, batch: &Batch) -> io::Result<usize> {
        if !is_in_memory(socket) {
            return self.inner.send_now(inside(socket), batch);
        }
        let open = self.endpoints.get_mut(slot(socket)).filter(|endpoint| !endpoint.closing);
        let endpoint = open.ok_or(io::ErrorKind::NotConnected)?;
        let peer = endpoint.peer;
        let posted = |event| post(&self.registry, peer, event);
        endpoint.transfer(batch, 0, &self.pool, &mut self.control, posted).map(|(bytes, _)| bytes)
    }

    fn is_unread(&self, socket: SocketId) -> bool {
        is_in_memory(socket) && self.endpoints.get(slot(socket)).is_some_and(Endpoint::is_unread)
    }

    fn peer_sent_until(&self, socket: SocketId, now: Time) -> Time {
        if !is_in_memory(socket) {
            return now;
        }
        let peer = self.endpoints.get(slot(socket)).and_then(|endpoint| endpoint.peer);
        peer.map_or(now, |peer| self.registry.peer_sent_until(peer.shard, now))
    }

    fn report_sent_until(&mut self, until: Time, now: Time) {
        self.registry.report_sent_until(self.shard, until, now);
    }

    fn finish(&mut self, socket: SocketId) {
        if !is_in_memory(socket) {
            return self.inner.finish(inside(socket));
        }
        let Some(endpoint) = self.endpoints.get_mut(slot(socket)).filter(|endpoint| !endpoint.closing) else { return };
        if !std::mem::replace(&mut endpoint.finishing, true) && endpoint.send.is_none() {
            post(&self.registry, endpoint.peer, EndpointEvent::Finished);
        }
    }

    fn close(&mut self, socket: SocketId) {
        if !is_in_memory(socket) {
            if let Some(addr) = self.addrs.remove(&socket) {
                self.listeners.remove(&addr.number);
                self.registry.forget(addr);
            }
            return self.inner.close(inside(socket));
        }
        let Some(endpoint) = self.endpoints.get_mut(slot(socket)).filter(|endpoint| !endpoint.closing) else { return };
        endpoint.closing = true;
        endpoint.clear();
        post(&self.registry, endpoint.peer, EndpointEvent::Closed);
        self.done.retain_mut(|completion| *completion.socket_mut() != socket);
        self.closed.push(socket);
    }

    fn begin(&mut self, wait: Wait) -> Option<D::Entry> {
        // The shard is marked as asleep by now: a message that is posted after this check comes with a notification.
        self.inner.begin(if wait != Wait::No && self.has_work() { Wait::No } else { wait })
    }

    fn reap(&mut self, completions: &mut VecDeque<Completion>, now: Time) -> io::Result<Reaped> {
        for socket in self.gone.drain(..) {
            self.endpoints.remove(slot(socket));
        }
        let before = completions.len();
        let reaped = self.inner.reap(completions, now);
        completions.range_mut(before..).for_each(rename);
        completions.append(&mut self.done);
        for socket in self.closed.drain(..) {
            self.gone.push(socket);
            completions.push_back(Completion::Closed { socket });
        }
        let (mut budget, mut taken) = (Budget::default(), 0);
        while budget.is_left()
            && let Some(message) = self.registry.next_message(self.shard)
        {
            budget.spend(message.bytes());
            taken += 1;
            self.on_message(message, completions);
        }
        let left = if budget.is_left() { 0 } else { self.registry.messages(self.shard) };
        let until = self.read.read(taken, left, now);
        reaped.map(|inner| Reaped { until: inner.until.min(until), is_left: inner.is_left || left > 0 })
    }

    type Entry = D::Entry;
}

impl<D: Driver> Drop for LocalTransport<D> {
    /// Closes the endpoints of a loop that ends or has failed.
    fn drop(&mut self) {
        self.registry.close(self.shard);
        for (_, endpoint) in &self.endpoints {
            if !endpoint.closing {
                post(&self.registry, endpoint.peer, EndpointEvent::Closed);
            }
        }
    }
}

fn post(registry: &LocalRegistry, to: Option<EndpointId>, event: EndpointEvent) {
    if let Some(id) = to {
        registry.post(id.shard, LocalMessage::To(id, event));
    }
}
