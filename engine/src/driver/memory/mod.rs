//! Connections in memory, between servers that live on the same engine.
//!
//! A [`Dock`] is a driver around a driver. A dial to an address at which a server of the same engine listens makes two
//! ends in memory; everything else is the inner driver's. To the shard they are sockets like all others, and the
//! protocol above them is the same; but what one end sends is handed to the other as it stands, once it was copied out
//! of the sender's ring, and neither needs a descriptor or a system call.
//!
//! | module | what it is |
//! | --- | --- |
//! | exchange | what the shards of an engine share: addresses and queues |
//! | end | one end of a connection: what it sends, and how much of that is under way |

mod end;
mod exchange;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

use slab::Slab;

use self::end::{End, Send, piece_behind};
pub use self::exchange::{Berth, Exchange};
use self::exchange::{Letter, News, Place};
use super::watermark::Watermark;
use super::{Budget, ChunkPool, Completion, Driver, Listener, Notifier, Reaped, ReceiveBuffer, SocketId, Wait, Way};
use crate::batch::Batch;
use crate::time::Time;

/// So much may be under way in one direction of a connection: what a socket's buffer would hold.
pub const WINDOW_BYTES: usize = 512 * 1024;

/// A driver whose sockets may also be ends of connections in memory: those with odd numbers.
pub struct Dock<D: Driver> {
    inner: D,
    exchange: Arc<Exchange>,
    /// This shard's place in the exchange.
    port: u32,
    pool: Arc<ChunkPool>,
    /// Where segments stand that are sent, and hold nothing of a stream.
    control: Option<ReceiveBuffer>,
    read: Watermark,
    window: u64,
    /// Who can be reached here, by the socket on which it listens as well.
    berths: BTreeMap<SocketId, Berth>,
    /// The same the other way round.
    listeners: BTreeMap<NonZeroU64, SocketId>,
    /// Dials to servers that were announced, and do not listen yet.
    early: Vec<(Berth, Place)>,
    ends: Slab<End>,
    /// What has completed without a letter.
    done: VecDeque<Completion>,
    /// Ends that are closed, and of which the shard is to be told.
    closed: Vec<SocketId>,
    /// Ends of which it was told by the last look: their numbers can be given away from the next one on.
    gone: Vec<SocketId>,
}

impl<D: Driver> Dock<D> {
    /// A dock for the shard that has this place in the exchange. What it sends stands in chunks of `pool`; when
    /// `window` bytes of a connection are under way, it waits.
    pub fn new(inner: D, exchange: Arc<Exchange>, port: usize, pool: Arc<ChunkPool>, window: usize) -> Dock<D> {
        Dock {
            inner,
            exchange,
            port: port as u32,
            pool,
            control: None,
            read: Watermark::default(),
            window: window as u64,
            berths: BTreeMap::new(),
            listeners: BTreeMap::new(),
            early: Vec::new(),
            ends: Slab::new(),
            done: VecDeque::new(),
            closed: Vec::new(),
            gone: Vec::new(),
        }
    }

    fn insert(&mut self, peer: Option<Place>) -> (SocketId, Place) {
        let number = self.exchange.number();
        let slot = self.ends.insert(End::new(number, peer, self.window)) as u32;
        (in_memory(slot), Place { port: self.port, slot, number })
    }

    /// The end that a letter is for; none if it is closed.
    fn end_at(&mut self, place: Place) -> Option<&mut End> {
        self.ends.get_mut(place.slot as usize).filter(|end| end.number == place.number && !end.closing)
    }

    fn open(&mut self, letter: Letter, completions: &mut VecDeque<Completion>) {
        match letter {
            Letter::Dial { berth, from } => {
                if let Some(listener) = self.listeners.get(&berth.number).copied() {
                    completions.push_back(self.accept(listener, from));
                } else if self.exchange.find(berth.address) == Some(berth) {
                    self.early.push((berth, from));
                } else {
                    self.exchange.post(from.port, Letter::To(from, News::Answered(None)));
                }
            }
            Letter::To(place, news) => self.tell(place, news, completions),
        }
    }

    fn accept(&mut self, listener: SocketId, from: Place) -> Completion {
        let (socket, place) = self.insert(Some(from));
        self.exchange.post(from.port, Letter::To(from, News::Answered(Some(place))));
        Completion::Accepted { listener, socket, source: None }
    }

    fn tell(&mut self, place: Place, news: News, completions: &mut VecDeque<Completion>) {
        let socket = in_memory(place.slot);
        let Some(end) = self.end_at(place) else {
            // Who dialed has closed meanwhile, and could not say so to an end that it did not know.
            if let News::Answered(Some(peer)) = news {
                self.exchange.post(peer.port, Letter::To(peer, News::Closed));
            }
            return;
        };
        match news {
            News::Answered(peer) => {
                end.peer = peer;
                let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
                completions.push_back(Completion::Connected { socket, result: peer.map(drop).ok_or_else(refused) });
            }
            News::Bytes { bytes, ask, taken } => {
                let (peer, received) = (end.peer, end.receive(bytes.len()));
                let goes_on = end.taken(taken);
                completions.push_back(Completion::Handed { socket, bytes });
                if let Some(peer) = peer
                    && ask
                {
                    self.exchange.post(peer.port, Letter::To(peer, News::Taken(received)));
                }
                if goes_on {
                    self.go_on(socket, completions);
                }
            }
            News::Taken(taken) => {
                if end.taken(taken) {
                    self.go_on(socket, completions);
                }
            }
            News::Finished => {
                if !std::mem::replace(&mut end.ended, true) {
                    completions.push_back(Completion::Ended { socket });
                }
            }
            News::Closed => {
                end.broken = true;
                if !std::mem::replace(&mut end.ended, true) {
                    completions.push_back(Completion::Ended { socket });
                }
                self.go_on(socket, completions);
            }
        }
    }

    /// Goes on with a send.
    fn go_on(&mut self, socket: SocketId, completions: &mut VecDeque<Completion>) {
        let Some(end) = self.ends.get_mut(slot(socket)) else { return };
        let Some(Send { batch, piece }) = end.send.take() else { return };
        let peer = end.peer;
        let post = |news| post(&self.exchange, peer, news);
        match end.transfer(&batch, piece, &self.pool, &mut self.control, post) {
            Ok((_, piece)) if piece < batch.pieces().len() => end.send = Some(Send { batch, piece }),
            outcome => {
                if end.finishing && outcome.is_ok() {
                    post(News::Finished);
                }
                completions.push_back(Completion::Sent { socket, result: outcome.map(drop), batch });
            }
        }
    }

    /// Asserts that no send waits that has room.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn check_progress(&self) {
        let forgotten = self.ends.iter().find(|(_, end)| end.can_go_on());
        assert!(forgotten.is_none(), "end {:?} has room, and its send waits", forgotten.map(|(slot, _)| slot));
    }

    /// Returns whether a socket of the shard is an end of a connection in memory.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn is_in_memory(socket: SocketId) -> bool {
        is_in_memory(socket)
    }

    /// Number of ends of connections in memory.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn ends(&self) -> usize {
        self.ends.len()
    }

    fn has_news(&self) -> bool {
        !self.done.is_empty() || !self.closed.is_empty() || self.exchange.has_letters(self.port)
    }
}

impl<D: Driver> Driver for Dock<D> {
    #[inline]
    fn now(&self) -> Time {
        self.inner.now()
    }

    fn notifier(&self) -> Arc<Notifier> {
        self.inner.notifier()
    }

    fn listen(&mut self, listener: Listener, berth: Option<Berth>) -> io::Result<SocketId> {
        let listens = self.inner.listen(listener, None).map(outside);
        let Some(berth) = berth else { return listens };
        let early = self.early.extract_if(.., |(dialed, _)| *dialed == berth).map(|(_, from)| from);
        let early: Vec<Place> = early.collect();
        match listens {
            Ok(socket) => {
                self.berths.insert(socket, berth);
                self.listeners.insert(berth.number, socket);
                for from in early {
                    let accepted = self.accept(socket, from);
                    self.done.push_back(accepted);
                }
            }
            Err(_) => {
                self.exchange.forget(berth);
                for from in early {
                    self.exchange.post(from.port, Letter::To(from, News::Answered(None)));
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
        let berth = if way.memory { self.exchange.find(address) } else { None };
        let Some(berth) = berth else { return self.inner.connect(address, way).map(outside) };
        let (socket, from) = self.insert(None);
        self.exchange.post(berth.port, Letter::Dial { berth, from });
        Ok(socket)
    }

    fn receive(&mut self, socket: SocketId, buffer: ReceiveBuffer) {
        // What comes through memory needs no buffer here.
        if !is_in_memory(socket) {
            self.inner.receive(inside(socket), buffer);
        }
    }

    fn send(&mut self, socket: SocketId, batch: Box<Batch>, skip: usize) {
        if !is_in_memory(socket) {
            return self.inner.send(inside(socket), batch, skip);
        }
        let Some(end) = self.ends.get_mut(slot(socket)).filter(|end| !end.closing) else { return };
        assert!(end.send.is_none(), "one send at a time");
        let piece = piece_behind(&batch, skip);
        end.send = Some(Send { batch, piece });
        let mut done = std::mem::take(&mut self.done);
        self.go_on(socket, &mut done);
        self.done = done;
    }

    fn send_now(&mut self, socket: SocketId, batch: &Batch) -> io::Result<usize> {
        if !is_in_memory(socket) {
            return self.inner.send_now(inside(socket), batch);
        }
        let open = self.ends.get_mut(slot(socket)).filter(|end| !end.closing);
        let end = open.ok_or(io::ErrorKind::NotConnected)?;
        let peer = end.peer;
        let posted = |news| post(&self.exchange, peer, news);
        end.transfer(batch, 0, &self.pool, &mut self.control, posted).map(|(bytes, _)| bytes)
    }

    fn is_unread(&self, socket: SocketId) -> bool {
        is_in_memory(socket) && self.ends.get(slot(socket)).is_some_and(End::is_unread)
    }

    fn peer_sent_until(&self, socket: SocketId, now: Time) -> Time {
        if !is_in_memory(socket) {
            return now;
        }
        let peer = self.ends.get(slot(socket)).and_then(|end| end.peer);
        peer.map_or(now, |peer| self.exchange.peer_sent_until(peer.port, now))
    }

    fn report_sent_until(&mut self, until: Time, now: Time) {
        self.exchange.report_sent_until(self.port, until, now);
    }

    fn finish(&mut self, socket: SocketId) {
        if !is_in_memory(socket) {
            return self.inner.finish(inside(socket));
        }
        let Some(end) = self.ends.get_mut(slot(socket)).filter(|end| !end.closing) else { return };
        if !std::mem::replace(&mut end.finishing, true) && end.send.is_none() {
            post(&self.exchange, end.peer, News::Finished);
        }
    }

    fn close(&mut self, socket: SocketId) {
        if !is_in_memory(socket) {
            if let Some(berth) = self.berths.remove(&socket) {
                self.listeners.remove(&berth.number);
                self.exchange.forget(berth);
            }
            return self.inner.close(inside(socket));
        }
        let Some(end) = self.ends.get_mut(slot(socket)).filter(|end| !end.closing) else { return };
        end.closing = true;
        end.clear();
        post(&self.exchange, end.peer, News::Closed);
        self.done.retain_mut(|completion| *completion.socket_mut() != socket);
        self.closed.push(socket);
    }

    fn begin(&mut self, wait: Wait) -> Option<D::Entry> {
        // The shard has published that it will sleep before it asks to: who posts a letter after this look notifies it.
        self.inner.begin(if wait != Wait::No && self.has_news() { Wait::No } else { wait })
    }

    fn reap(&mut self, completions: &mut VecDeque<Completion>, now: Time) -> io::Result<Reaped> {
        for socket in self.gone.drain(..) {
            self.ends.remove(slot(socket));
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
            && let Some(letter) = self.exchange.next_letter(self.port)
        {
            budget.spend(letter.bytes());
            taken += 1;
            self.open(letter, completions);
        }
        let left = if budget.is_left() { 0 } else { self.exchange.letters(self.port) };
        let until = self.read.read(taken, left, now);
        reaped.map(|inner| Reaped { until: inner.until.min(until), is_left: inner.is_left || left > 0 })
    }

    type Entry = D::Entry;
}

impl<D: Driver> Drop for Dock<D> {
    /// A loop that ends, or has failed, takes its ends along.
    fn drop(&mut self) {
        self.exchange.close(self.port);
        for (_, end) in &self.ends {
            if !end.closing {
                post(&self.exchange, end.peer, News::Closed);
            }
        }
    }
}

fn post(exchange: &Exchange, to: Option<Place>, news: News) {
    if let Some(place) = to {
        exchange.post(place.port, Letter::To(place, news));
    }
}

fn in_memory(slot: u32) -> SocketId {
    SocketId(slot << 1 | 1)
}

fn is_in_memory(socket: SocketId) -> bool {
    socket.0 & 1 == 1
}

fn slot(socket: SocketId) -> usize {
    (socket.0 >> 1) as usize
}

/// The number by which the shard knows a socket of the inner driver.
fn outside(socket: SocketId) -> SocketId {
    SocketId(socket.0 << 1)
}

/// The number by which the inner driver knows it.
fn inside(socket: SocketId) -> SocketId {
    SocketId(socket.0 >> 1)
}

/// A completion of the inner driver, as the shard is to see it.
fn rename(completion: &mut Completion) {
    if let Completion::Accepted { listener, .. } = completion {
        *listener = outside(*listener);
    }
    let socket = completion.socket_mut();
    *socket = outside(*socket);
}
