//! Dials of a shard: so many at once, and the links that wait for one of them to end.
//!
//! A server that broadcasts to hundreds of peers wants hundreds of connections at the same moment. What is dialed at
//! once waits at the other side in one queue with everything else, so that the last answers come when the first dials
//! have timed out and been repeated. A bounded number keeps each handshake short. Hosts that do not answer hold a place
//! for two seconds each, so that where hundreds are down a reachable one may wait some seconds.

use std::collections::VecDeque;

use crate::roster::LinkKey;

/// The most dials under way at once, greetings included.
const MOST_UNDER_WAY: usize = 256;
/// With more dials than this pending, the peer with the higher pid waits a little for the other's dial.
const MANY: usize = 16;

/// Dials of a shard.
#[derive(Debug)]
pub(super) struct Dials {
    most: usize,
    /// Connections that are being made: dialed, and not yet greeted.
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
    /// Returns whether one more may begin.
    pub(super) fn has_room(&self) -> bool {
        self.under_way < self.most
    }

    /// Returns whether so many are pending that a peer is better left to dial by itself.
    pub(super) fn are_many(&self) -> bool {
        self.under_way + self.waiting.len() > MANY
    }

    /// A dial has begun.
    pub(super) fn begin(&mut self) {
        self.under_way += 1;
    }

    /// A dial has ended, with a connection or without.
    pub(super) fn end(&mut self) {
        self.under_way -= 1;
    }

    /// Links that waited and may dial now.
    pub(super) fn next(&mut self) -> impl Iterator<Item = LinkKey> + use<> {
        let room = self.most.saturating_sub(self.under_way).min(self.waiting.len());
        self.waiting.drain(..room).collect::<Vec<LinkKey>>().into_iter()
    }

    /// Returns whether a link waits that may dial now.
    pub(super) fn is_due(&self) -> bool {
        self.has_room() && !self.waiting.is_empty()
    }

    /// A link waits for a dial to end.
    pub(super) fn wait(&mut self, key: LinkKey) {
        self.waiting.push_back(key);
    }

    /// Links that are gone wait no longer.
    pub(super) fn forget(&mut self, is_gone: impl Fn(LinkKey) -> bool) {
        self.waiting.retain(|key| !is_gone(*key));
    }

    /// Lets so many be under way at once.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Returns whether no more wait than there are links, and no more dials are under way than may be.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn are_bounded(&self, links: usize) -> bool {
        self.waiting.len() <= links && self.under_way <= self.most
    }

    /// Dials under way.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }
}
