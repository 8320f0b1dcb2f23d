//! Dials of a shard: a bounded number at once, and the links that wait for one of them to end.
//!
//! A server that broadcasts to hundreds of peers wants hundreds of connections at once. Dials that begin at the same
//! moment wait in one queue of the other side, with all other work, so the last answers come when the first dials have
//! timed out and been repeated. A bounded number keeps each handshake short. A host that does not answer occupies a
//! dial for two seconds, so where hundreds of hosts are down a reachable one may wait some seconds.

use std::collections::VecDeque;
use std::io;

use super::Shard;
use super::connection::Connection;
use crate::driver::{Driver, is_shortage};
use crate::link::Want;
use crate::roster::LinkKey;
use crate::session::Session;
use crate::time::Time;

/// Largest number of dials under way at once, handshakes included.
const MOST_UNDER_WAY: usize = 256;
/// Number of pending dials above which the side with the higher pid waits a little for the other side's dial.
const MANY: usize = 16;

/// Dials of a shard.
#[derive(Debug)]
pub(super) struct Dials {
    most: usize,
    /// Number of connections that are being made: dialed, and not yet greeted.
    under_way: usize,
    /// Links that wait for a dial to end, each once.
    waiting: VecDeque<LinkKey>,
}

impl Default for Dials {
    fn default() -> Dials {
        Dials { most: MOST_UNDER_WAY, under_way: 0, waiting: VecDeque::new() }
    }
}

impl Dials {
    /// Returns whether one more dial may begin.
    pub(super) fn has_room(&self) -> bool {
        self.under_way < self.most
    }

    /// Returns whether so many dials are pending that a peer is better left to dial by itself.
    pub(super) fn are_many(&self) -> bool {
        self.under_way + self.waiting.len() > MANY
    }

    /// Counts a dial that has begun.
    pub(super) fn begin(&mut self) {
        self.under_way += 1;
    }

    /// Counts a dial that has ended, with a connection or without.
    pub(super) fn end(&mut self) {
        self.under_way -= 1;
    }

    /// Removes and returns the waiting links that may dial now.
    pub(super) fn next(&mut self) -> impl Iterator<Item = LinkKey> + use<> {
        let room = self.most.saturating_sub(self.under_way).min(self.waiting.len());
        self.waiting.drain(..room).collect::<Vec<LinkKey>>().into_iter()
    }

    /// Returns whether a waiting link may dial now.
    pub(super) fn is_due(&self) -> bool {
        self.has_room() && !self.waiting.is_empty()
    }

    /// Adds a link that waits for a dial to end.
    pub(super) fn wait(&mut self, key: LinkKey) {
        self.waiting.push_back(key);
    }

    /// Removes links that are gone.
    pub(super) fn forget(&mut self, is_gone: impl Fn(LinkKey) -> bool) {
        self.waiting.retain(|key| !is_gone(*key));
    }

    /// Limits the number of dials under way at once.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Returns whether no more links wait than there are, and the number of dials under way is within the limit.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn are_bounded(&self, links: usize) -> bool {
        self.waiting.len() <= links && self.under_way <= self.most
    }

    /// Number of dials under way.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }
}

impl<D: Driver> Shard<D> {
    /// Does what the link wants: dials, or hangs up. Returns whether there was anything to do.
    pub(super) fn follow_wants(&mut self, key: LinkKey, now: Time) -> bool {
        let many_dials = self.dials.are_many();
        let Some(slot) = self.slot(key) else { return false };
        match slot.link.wants(now, many_dials) {
            Want::Nothing => false,
            Want::Hangup => {
                if let Some(socket) = slot.socket.take() {
                    self.abandon(socket);
                }
                true
            }
            Want::Dial => self.dial(key, now),
        }
    }

    /// Dials the link's peer, or has the link wait until another dial has ended.
    fn dial(&mut self, key: LinkKey, now: Time) -> bool {
        let has_room = self.dials.has_room();
        let Some(node) = self.nodes.get_mut(&key.node) else { return false };
        let leaving = node.stopping.as_ref().is_some_and(|stopping| stopping.leaving);
        let Some(slot) = node.links.get_mut(key.link) else { return false };
        if !has_room {
            if !std::mem::replace(&mut slot.waits_to_dial, true) {
                self.dials.wait(key);
            }
            return false;
        }
        slot.link.dials(now);
        if !std::mem::replace(&mut slot.dialed, true) {
            node.events.connects(slot.link.peer(), now);
        }
        let dialed = match slot.next_address() {
            _ if leaving => Err(io::Error::from(io::ErrorKind::Interrupted)),
            _ if slot.blocked => Err(io::Error::from(io::ErrorKind::TimedOut)),
            Some(address) => self.driver.connect(address, node.way),
            None => Err(io::Error::from(io::ErrorKind::AddrNotAvailable)),
        };
        match dialed {
            Ok(socket) => {
                slot.socket = Some(socket);
                node.open_sockets += 1;
                node.set_starved(key.link, None, now);
                self.put(socket, Connection::new(Session::dialing(key), key.node));
            }
            Err(error) => {
                slot.link.dial_failed(now);
                node.set_starved(key.link, Some(&error).filter(|error| is_shortage(error)), now);
                if is_shortage(&error) {
                    self.close_silent_strangers();
                }
            }
        }
        true
    }

    /// Lets as many links dial as there is room for, of those that wait.
    pub(super) fn let_dial(&mut self) {
        for key in self.dials.next() {
            if let Some(slot) = self.slot(key) {
                slot.waits_to_dial = false;
                self.mark(key);
            }
        }
    }
}
