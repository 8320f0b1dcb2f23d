//! Checks of a shard for tests and the simulator: bounded queues, progress, and a description of its links.

use super::pinned::pinned_limit;
use super::{CHUNK_BYTES, Shard};
use crate::driver::Driver;
use crate::driver::LocalTransport;
use crate::driver::SocketId;
use crate::link::State;
use crate::roster::LinkKey;
use crate::wire::MAX_SEGMENT_PAYLOAD;

impl<D: Driver> Shard<D> {
    /// Describes the links of a server, for debugging.
    pub(crate) fn describe(&mut self, node: u32) -> String {
        let mut text = String::new();
        for slot in self.nodes.get_mut(&node).into_iter().flat_map(|node| node.links.iter_mut()) {
            let flags = (slot.dirty, slot.polled, slot.asleep, slot.waits_to_dial);
            text += &format!("\n  {}, {:?}, {flags:?}:", slot.link, slot.timer);
        }
        text
    }

    /// Limits the number of dials under way at once.
    pub(crate) fn limit_dials(&mut self, most: usize) {
        self.dials.limit(most);
    }

    /// Limits the number of connections of each server that have not greeted. Applies to servers started later.
    pub(crate) fn limit_strangers(&mut self, most: usize) {
        self.most_strangers = most;
    }

    /// Returns whether any link is polled. Its streams are written to without a signal, so the loop must not sleep.
    pub(crate) fn polls(&self) -> bool {
        self.nodes.values().flat_map(|node| node.links.iter()).any(|slot| slot.polled)
    }

    /// Asserts that no link with data to send is forgotten: it is marked or polled, or the end of a send marks it.
    pub(crate) fn check_progress(&mut self) {
        if self.mailbox.backlog().1 > 0 {
            return;
        }
        let connected = self.connections.iter().flatten().filter(|connection| !connection.sending);
        let keys = connected.filter_map(|connection| connection.session.up());
        for key in keys.collect::<Vec<LinkKey>>() {
            let Some(slot) = self.slot(key).filter(|slot| !slot.dirty && !slot.polled) else { continue };
            if slot.link.state() == State::Up {
                let is_forgotten = slot.link.outgoing().iter_mut().any(|each| each.has_unsent() && !each.is_starved());
                assert!(!is_forgotten, "nobody looks at what can be sent: {}", slot.link);
            }
        }
    }

    /// Asserts that every queue and table is within its bound.
    pub(crate) fn check_bounds(&self) {
        let links = self.nodes.values().map(|node| node.links.iter().count()).sum::<usize>();
        let slots = || self.nodes.values().flat_map(|node| node.links.iter());
        let streams = slots().map(|slot| slot.link.streams()).sum::<usize>();
        let connections = self.connections.iter().flatten().count();
        let dialing = self.connections.iter().flatten().filter(|connection| connection.session.is_dialing()).count();
        let timers = self.timers.len();
        let named = slots().filter(|slot| slot.timer.is_some()).count()
            + self.connections.iter().flatten().filter(|connection| connection.deadline.is_some()).count()
            + self
                .nodes
                .values()
                .flat_map(|node| [node.listener_timer, node.strangers.timer, node.stop_timer])
                .flatten()
                .count()
            + self.alarms.len();
        assert_eq!(timers, named, "timers that no owner names");
        let most = links + connections + 3 * self.nodes.len() + self.alarms.len();
        assert!(timers <= most, "{timers} timers for {links} links");
        let (dirty, polled) = (self.dirty.len(), self.polled.len());
        assert!(dirty <= links && polled <= links, "{links} links, {dirty} of them marked, {polled} polled");
        assert!(self.nodes.values().all(|node| node.strangers.are_bounded()), "too many that have not greeted");
        assert!(self.completions.is_empty() && self.unsent.len() <= connections);
        assert!(self.dials.under_way() == dialing && self.dials.are_bounded(links), "{:?}, {dialing}", self.dials);
        let (commands, signals) = self.mailbox.backlog();
        // Signals of servers that are gone are ignored when they are read.
        assert!(signals <= 2 * (streams + commands) + self.nodes.len() + 64, "{signals} signals of {streams} streams");
    }
}

impl<D: Driver> Shard<LocalTransport<D>> {
    /// Asserts that no send through memory waits although there is room.
    pub(crate) fn check_memory(&self) {
        self.driver.check_progress();
    }

    /// Number of endpoints of connections in memory.
    pub(crate) fn local_endpoints(&self) -> usize {
        self.driver.endpoints()
    }

    /// Asserts that receive buffers are bounded, however few bytes peers send in each, and however many bytes are
    /// unread.
    ///
    /// The buffers in use are one for each connection, and those that arrivals of links keep. A link counts the buffers
    /// that it has received in. From the moment on at which those that are still kept exceed its limit, by one buffer,
    /// it copies what arrives. Copied and unread bytes are at most a window. They fill each chunk except for the room
    /// of one segment, other than the chunk that is being read and the one that is being filled.
    ///
    /// `removed` returns the number of links of a server whose peers were removed, and from which bytes may be left
    /// unread. Bytes that came through memory are in chunks of their sender.
    pub(crate) fn check_buffers(&self, removed: impl Fn(u32) -> usize) {
        let most_of_link = |inbox_bytes: u64| {
            let copies = inbox_bytes as usize / (CHUNK_BYTES - MAX_SEGMENT_PAYLOAD) + 2;
            pinned_limit(inbox_bytes) / CHUNK_BYTES + 1 + copies
        };
        let links = self.nodes.iter().map(|(id, node)| (node.links.iter().count() + removed(*id), node));
        let of_links = links.map(|(count, node)| count * most_of_link(node.local.window_bytes)).sum::<usize>();
        let connections = self.connections.iter().zip(0..).filter(|(connection, _)| connection.is_some());
        let connections = connections.filter(|(_, index)| !LocalTransport::<D>::is_in_memory(SocketId(*index))).count();
        let (buffers, most) = (self.pool.chunks_in_use() + self.greetings.chunks_in_use(), connections + of_links);
        assert!(buffers <= most, "{buffers} receive buffers, {most} may be: {connections} connections, {of_links}");
    }
}
