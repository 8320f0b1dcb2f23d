//! Connections that have not greeted. Any process that reaches the port can open them, and each costs a descriptor and
//! a buffer.
//!
//! A server has at most [`MOST`] of them. At this limit the listener is paused, further connections wait in its
//! backlog, and those that have been silent for [`GRACE`] are closed, oldest first. So a peer, which greets at once,
//! gets in however many other connections there are. An address without a configured peer has at most [`MOST_OF_ONE`]
//! connections. A shortage of descriptors or memory closes silent connections too, before the next accept.
//!
//! A connection that has greeted does not count among them. It stays in a list of its own until its dialer has
//! confirmed, and a link has at most [`MOST_UNCONFIRMED`] of these: recorded greetings can be played again.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::Shard;
use super::connection::Connection;
use super::timers::{Entry, Timer};
use crate::driver::{ACCEPTED_AT_ONCE, Driver, SocketId};
use crate::roster::LinkId;
use crate::session::Session;
use crate::time::Time;

/// Largest number of connections of a server that have not greeted.
pub(super) const MOST: usize = 128;
/// Largest number of such connections from one address, unless a peer is configured there.
const MOST_OF_ONE: usize = 16;
/// Largest number of connections of a link whose dialer was welcomed and has not confirmed. The oldest one is closed.
const MOST_UNCONFIRMED: usize = 4;
/// Time to greet that each connection has, however many wait.
const GRACE: Duration = Duration::from_millis(10);
/// Time to greet for a connection from an address with a configured peer. Peers that start together greet late, because
/// they keep each other busy.
const GRACE_OF_PEERS: Duration = Duration::from_millis(50);
/// Shortest interval between two searches for silent connections.
const MOMENT: Duration = Duration::from_millis(1);

/// Connections of a server that have not greeted.
pub(super) struct Strangers {
    /// Connections, oldest first. Each stays until it has greeted or is closed.
    waiting: VecDeque<Stranger>,
    /// Connections that have greeted and have not confirmed, oldest first, with their links.
    greeted: Vec<(SocketId, LinkId)>,
    most: usize,
    /// Set if no more connections fit in, and the listener is paused.
    full: bool,
    /// Entry in the shard's timers. The next connection is to be closed when it is due.
    pub(super) timer: Option<Entry>,
}

/// Connection that has not greeted.
struct Stranger {
    socket: SocketId,
    source: IpAddr,
    /// Set if a peer is configured at the source address.
    may_be_peer: bool,
    /// Time from which on the connection may be closed to make room for others.
    greets_until: Time,
    /// Set once the connection is being closed.
    closing: bool,
}

impl Strangers {
    /// Makes an empty list for at most so many connections.
    pub(super) fn new(most: usize) -> Strangers {
        Strangers { waiting: VecDeque::new(), greeted: Vec::new(), most, full: false, timer: None }
    }

    /// Returns whether no more connections fit in, so that the listener is paused.
    pub(super) fn are_full(&self) -> bool {
        self.full
    }

    /// Returns whether the number of connections is within the limit.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn are_bounded(&self) -> bool {
        let of = |link| self.greeted.iter().filter(|greeted| greeted.1 == link).count();
        self.waiting.len() <= self.most && self.greeted.iter().all(|(_, link)| of(*link) <= MOST_UNCONFIRMED)
    }

    /// Adds a connection. Returns another one that is to be closed because its address has too many.
    fn add(&mut self, socket: SocketId, source: IpAddr, may_be_peer: bool, now: Time) -> Option<SocketId> {
        let source = network_of(source);
        let same = |stranger: &&mut Stranger| !stranger.may_be_peer && !stranger.closing && stranger.source == source;
        let too_many = !may_be_peer && self.waiting.iter_mut().filter(same).count() >= MOST_OF_ONE.min(self.most / 2);
        let oldest = if too_many { self.waiting.iter_mut().find(same) } else { None };
        let gives_way = oldest.map(Stranger::close);
        let greets_until = now + if may_be_peer { GRACE_OF_PEERS } else { GRACE };
        self.waiting.push_back(Stranger { socket, source, may_be_peer, greets_until, closing: false });
        gives_way
    }

    /// Records that a connection has greeted. Returns another one that is to be closed because the link has too many.
    fn greet(&mut self, socket: SocketId, link: LinkId) -> Option<SocketId> {
        self.remove(socket);
        self.greeted.push((socket, link));
        let mut of_link = self.greeted.iter().enumerate().filter(|(_, greeted)| greeted.1 == link);
        let oldest = of_link.next().map(|(index, _)| index);
        let is_surplus = of_link.count() >= MOST_UNCONFIRMED;
        oldest.filter(|_| is_surplus).map(|oldest| self.greeted.remove(oldest).0)
    }

    /// Connections that have greeted this link and have not confirmed.
    pub(super) fn of(&self, link: LinkId) -> Vec<SocketId> {
        self.greeted.iter().filter(|greeted| greeted.1 == link).map(|greeted| greeted.0).collect()
    }

    /// Removes a connection that has confirmed or is closed.
    fn remove(&mut self, socket: SocketId) {
        self.greeted.retain(|greeted| greeted.0 != socket);
        if let Some(index) = self.waiting.iter().position(|stranger| stranger.socket == socket) {
            self.waiting.remove(index);
        }
    }

    /// Returns whether as many more connections fit in as are accepted at once.
    fn have_room(&self) -> bool {
        self.waiting.len() + ACCEPTED_AT_ONCE <= self.most
    }

    /// Time from which on the next connection may be closed to make room for others.
    pub(super) fn next_end(&self) -> Option<Time> {
        self.waiting.iter().filter(|stranger| !stranger.closing).map(|stranger| stranger.greets_until).min()
    }

    /// Selects the oldest connections that were silent for their time to greet, if everything that had arrived by
    /// `caught_up` was read. Returns at most as many as are accepted at once, to be closed. Those that may be peers
    /// come last.
    fn silent(&mut self, caught_up: Time) -> Vec<SocketId> {
        let mut silent = Vec::new();
        for may_be_peer in [false, true] {
            let late = |stranger: &&mut Stranger| {
                stranger.may_be_peer == may_be_peer && !stranger.closing && stranger.greets_until <= caught_up
            };
            let room = ACCEPTED_AT_ONCE - silent.len();
            silent.extend(self.waiting.iter_mut().filter(late).take(room).map(Stranger::close));
        }
        silent
    }
}

impl Stranger {
    fn close(&mut self) -> SocketId {
        self.closing = true;
        self.socket
    }
}

impl<D: Driver> Shard<D> {
    /// Adds a connection that a server has accepted, from the address `source` or through memory (`None`).
    pub(super) fn accepted(&mut self, listener: SocketId, socket: SocketId, source: Option<IpAddr>, now: Time) {
        let Some(id) = self.connection(listener).map(|connection| connection.node) else {
            return self.driver.close(socket);
        };
        if let Some(node) = self.nodes.get_mut(&id) {
            node.open_sockets += 1;
        }
        self.put(socket, Connection::new(Session::accepted(now), id));
        if let Some(source) = source {
            self.add_stranger(id, socket, source, now);
        }
        match self.greetings.take() {
            Ok(buffer) => self.driver.receive(socket, buffer),
            Err(error) => {
                self.disconnected(socket, now);
                self.accept_failed(id, &error, now);
            }
        }
    }

    fn add_stranger(&mut self, id: u32, socket: SocketId, source: IpAddr, now: Time) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let may_be_peer = node.links.has_address(source);
        let gives_way = node.strangers.add(socket, source, may_be_peer, now);
        if !node.strangers.have_room()
            && !std::mem::replace(&mut node.strangers.full, true)
            && let Some(listener) = node.listener
        {
            self.driver.pause_accept(listener);
            self.schedule_closing(id, now);
        }
        self.close_strangers(gives_way);
    }

    /// Records that a connection has greeted a link. Closes another one if the link has too many that have not
    /// confirmed.
    pub(super) fn greeted(&mut self, id: u32, socket: SocketId, link: LinkId, now: Time) {
        let surplus = self.nodes.get_mut(&id).and_then(|node| node.strangers.greet(socket, link));
        self.resume_accept(id);
        if let Some(surplus) = surplus {
            self.disconnected(surplus, now);
        }
    }

    /// Removes a connection that has confirmed or is closed.
    pub(super) fn remove_stranger(&mut self, id: u32, socket: SocketId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.strangers.remove(socket);
            self.resume_accept(id);
        }
    }

    /// Resumes the listener if it was paused and there is room again.
    fn resume_accept(&mut self, id: u32) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if !node.strangers.full || !node.strangers.have_room() {
            return;
        }
        node.strangers.full = false;
        self.timers.cancel(&mut node.strangers.timer);
        if let Some(listener) = node.listener.filter(|_| node.accepts()) {
            self.driver.resume_accept(listener);
        }
    }

    /// Closes the oldest silent connections of a server that has too many.
    pub(super) fn strangers_expired(&mut self, id: u32, now: Time) {
        let caught_up = self.caught_up;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.strangers.timer = None;
        let silent = node.strangers.silent(caught_up);
        self.close_strangers(silent);
        self.schedule_closing(id, now);
    }

    /// Closes silent connections of all servers, because descriptors or memory have run out. Returns whether there were
    /// any.
    pub(super) fn close_silent_strangers(&mut self) -> bool {
        let caught_up = self.caught_up;
        let silent = self.nodes.values_mut().flat_map(|node| node.strangers.silent(caught_up));
        let silent: Vec<SocketId> = silent.collect();
        let any = !silent.is_empty();
        self.close_strangers(silent);
        any
    }

    fn schedule_closing(&mut self, id: u32, now: Time) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if let Some(at) = node.strangers.next_end() {
            self.timers.set(Timer::Strangers(id), &mut node.strangers.timer, at.max(now + MOMENT));
        }
    }

    fn close_strangers(&mut self, strangers: impl IntoIterator<Item = SocketId>) {
        for socket in strangers {
            self.abandon(socket);
        }
    }
}

/// Returns the address that stands for the machine of `source`. For IPv6 that is its network of 64 bits.
fn network_of(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::default() + Duration::from_millis(millis)
    }

    fn sockets(numbers: impl IntoIterator<Item = u32>) -> Vec<SocketId> {
        numbers.into_iter().map(SocketId).collect()
    }

    #[test]
    fn an_address_without_a_peer_has_few() {
        let mut strangers = Strangers::new(MOST);
        let one: IpAddr = [192, 0, 2, 1].into();
        let mut closed = (0..20).filter_map(|number| strangers.add(SocketId(number), one, false, at(0)));
        assert_eq!(closed.next(), Some(SocketId(0)));
        assert_eq!(closed.collect::<Vec<SocketId>>(), sockets(1..4));
        // Another address, and the address of a peer, are counted separately.
        let other = [192, 0, 2, 2].into();
        assert!((20..36).all(|number| strangers.add(SocketId(number), other, false, at(0)).is_none()));
        let peer = [192, 0, 2, 3].into();
        assert!((36..80).all(|number| strangers.add(SocketId(number), peer, true, at(0)).is_none()));
        strangers.remove(SocketId(30));
        assert_eq!(strangers.add(SocketId(80), other, false, at(0)), None);
        assert_eq!(strangers.add(SocketId(81), other, false, at(0)), Some(SocketId(20)));
    }

    #[test]
    fn the_addresses_of_one_network_count_as_one() {
        let mut strangers = Strangers::new(MOST);
        let address = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        let closed = (0..17).filter_map(|number| strangers.add(SocketId(number.into()), address(number), false, at(0)));
        assert_eq!(closed.collect::<Vec<SocketId>>(), sockets([0]));
    }

    #[test]
    fn the_oldest_silent_ones_are_closed_and_possible_peers_last() {
        let mut strangers = Strangers::new(MOST);
        for number in 0..30 {
            let (source, may_be_peer) = ([10, 0, 0, number as u8].into(), number < 10);
            assert_eq!(strangers.add(SocketId(number), source, may_be_peer, at(u64::from(number) / 20)), None);
        }
        assert_eq!((strangers.next_end(), strangers.silent(at(9))), (Some(at(10)), Vec::new()));
        assert_eq!(strangers.silent(at(10)), sockets(10..20));
        assert_eq!((strangers.next_end(), strangers.silent(at(10))), (Some(at(11)), Vec::new()));
        assert_eq!(strangers.silent(at(50)), sockets((20..30).chain(0..6)));
        assert_eq!((strangers.next_end(), strangers.silent(at(49))), (Some(at(50)), Vec::new()));
        assert_eq!(strangers.silent(at(50)), sockets(6..10));
        assert_eq!((strangers.next_end(), strangers.silent(at(99))), (None, Vec::new()));
        // A connection counts until it is closed.
        assert_eq!(strangers.waiting.len(), 30);
        (0..30).for_each(|number| strangers.remove(SocketId(number)));
        assert!(strangers.waiting.is_empty());
    }

    #[test]
    fn a_link_has_few_connections_that_have_greeted_and_not_confirmed() {
        let mut strangers = Strangers::new(MOST);
        let (link, other) = (LinkId::first(0), LinkId::first(1));
        for number in 0..4 {
            assert_eq!(strangers.add(SocketId(number), [10, 0, 0, 1].into(), true, at(0)), None);
            assert_eq!(strangers.greet(SocketId(number), link), None);
        }
        assert!(strangers.waiting.is_empty(), "they have greeted");
        assert_eq!(strangers.greet(SocketId(4), other), None);
        assert_eq!(strangers.greet(SocketId(5), link), Some(SocketId(0)));
        strangers.remove(SocketId(2));
        assert_eq!(strangers.greet(SocketId(6), link), None, "one has confirmed");
        assert_eq!((strangers.of(link), strangers.of(other)), (sockets([1, 3, 5, 6]), sockets([4])));
    }

    #[test]
    fn there_is_room_while_another_batch_fits() {
        let mut strangers = Strangers::new(MOST);
        let mut number = 0;
        while strangers.have_room() {
            for _ in 0..ACCEPTED_AT_ONCE {
                strangers.add(SocketId(number), [10, 0, 0, 1].into(), true, at(0));
                number += 1;
            }
        }
        assert_eq!(number as usize, MOST);
        assert!(strangers.are_bounded());
        strangers.remove(SocketId(0));
        assert!(!strangers.have_room());
    }
}
