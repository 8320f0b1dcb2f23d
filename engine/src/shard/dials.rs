//! Dials of a shard: a bounded number at once, and the links that wait for one of them to end.
//!
//! A server that broadcasts to hundreds of peers wants hundreds of connections at once. Dials that begin at the same
//! moment wait in one queue of the other side, with all other work, so the last answers come when the first dials have
//! timed out and been repeated. A bounded number keeps each handshake short. A host that does not answer occupies a
//! dial for two seconds, so where hundreds of hosts are down a reachable one may wait some seconds.

use std::collections::VecDeque;

use crate::roster::LinkKey;

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
