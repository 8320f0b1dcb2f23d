//! Transmission: links that may have something to send, and their batches.

use super::{DIRECT_BYTES, POLLING_BYTES, Shard};
use crate::batch::Batch;
use crate::driver::{Budget, Driver};
use crate::link::{Link, State};
use crate::roster::LinkKey;
use crate::session::Session;
use crate::time::Time;

impl<D: Driver> Shard<D> {
    /// Sends from a thread of the application while the shard's own thread waits in the kernel, so that it need not be
    /// woken.
    ///
    /// Applies only to an exchange of requests and responses: everything sent before must be acknowledged. A stream of
    /// messages is left to the shard, which sends many at once. Returns whether the shard need not be notified.
    pub(crate) fn send_from_outside(&mut self, key: LinkKey) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        if slot.dirty
            || !slot.link.outgoing().iter().all(|stream| stream.sent() == stream.acked())
            || self.is_sending(key)
        {
            return false;
        }
        let now = self.driver.now();
        if self.transmit(key, now) == 0 {
            return false;
        }
        if !self.slot(key).is_some_and(|slot| slot.polled) {
            self.settle(key);
        }
        self.unsent.is_empty() && self.dirty.is_empty() && self.polled.is_empty()
    }

    /// Submits the batches that a direct call has not sent, or not entirely.
    pub(super) fn resume_sends(&mut self) {
        for (socket, batch, sent) in self.unsent.drain(..) {
            self.driver.send(socket, batch, sent);
        }
    }

    /// Sends on the marked links. Returns whether there was anything to do.
    pub(super) fn flush(&mut self, now: Time) -> bool {
        let mut worked = false;
        let mut budget = Budget::default();
        // A link that is marked meanwhile is served in the next turn.
        for _ in 0..self.dirty.len() {
            if !budget.is_left() {
                return worked;
            }
            if let Some(key) = self.dirty.pop_front() {
                worked |= self.flush_link(key, now, &mut budget);
            }
        }
        self.flushed = now;
        worked
    }

    /// Sends what a link has, which was just taken from the queue of marked links.
    fn flush_link(&mut self, key: LinkKey, now: Time, budget: &mut Budget) -> bool {
        budget.spend(0);
        let Some(slot) = self.slot(key) else { return false };
        slot.dirty = false;
        slot.asleep = false;
        let mut worked = false;
        // A hangup may be followed by a dial.
        while self.follow_wants(key, now) {
            worked = true;
        }
        if self.is_sending(key) {
            // The end of the send under way marks the link again. If the peer is gone the send does not end, and the
            // deadline of the peer's silence applies.
            self.schedule(key, now);
            return worked;
        }
        let sent = self.transmit(key, now);
        budget.spend(sent);
        worked |= sent > 0;
        let Some(slot) = self.slot(key) else { return worked };
        let (polled, news) = (slot.polled, slot.link.has_notices());
        if !polled {
            self.settle(key);
        }
        if news {
            self.tell(key, now);
        }
        self.schedule(key, now);
        worked
    }

    /// Sends what the link has, as far as the socket takes it at once. The driver sends the rest later. Returns the
    /// size of the batch in bytes.
    pub(super) fn transmit(&mut self, key: LinkKey, now: Time) -> usize {
        self.send_with(key, |session, link, batch| session.transmit(link, now, batch))
    }

    /// Sends the batch that `fill` makes the link's session produce. Returns its size in bytes.
    ///
    /// If the socket has room, as it nearly always has, a direct call is cheaper than a submission with its completion:
    /// see `bench/EXPERIMENTS.md`.
    pub(super) fn send_with(
        &mut self,
        key: LinkKey,
        fill: impl FnOnce(&mut Session<LinkKey>, &mut Link, &mut Batch),
    ) -> usize {
        let Some(slot) = self.nodes.get_mut(&key.node).and_then(|node| node.links.get_mut(key.link)) else {
            return 0;
        };
        let Some(socket) = slot.socket else { return 0 };
        let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return 0 };
        if connection.session.up() != Some(key) {
            return 0;
        }
        let mut batch = self.spare.pop().unwrap_or_default();
        fill(&mut connection.session, &mut slot.link, &mut batch);
        if slot.blocked {
            // The simulated partition loses the batch.
            batch.clear();
        }
        if batch.is_empty() {
            self.spare.push(batch);
            return 0;
        }
        let bytes = batch.bytes();
        if bytes >= POLLING_BYTES && !slot.polled {
            slot.polled = true;
            slot.link.outgoing().iter_mut().for_each(crate::stream::SendWindow::poll);
            self.polled.push(key);
        }
        if bytes > DIRECT_BYTES {
            connection.sending = true;
            self.unsent.push((socket, batch, 0));
            return bytes;
        }
        match self.driver.send_now(socket, &batch) {
            Ok(sent) if sent == bytes => {
                batch.clear();
                self.spare.push(batch);
            }
            // The socket is full, or broken. Its error is reported by the completion.
            sent => {
                connection.sending = true;
                self.unsent.push((socket, batch, sent.unwrap_or(0)));
            }
        }
        bytes
    }

    /// Makes the streams of the link signal when they are written to. Marks the link if one was written to before, and
    /// its data can be sent.
    pub(super) fn settle(&mut self, key: LinkKey) {
        let Some(slot) = self.slot(key) else { return };
        slot.polled = false;
        let up = slot.link.state() == State::Up;
        let (mut written, mut asleep) = (false, up);
        for stream in slot.link.outgoing() {
            let waits = stream.wait();
            asleep &= waits;
            // Data that waits for credit or a connection is sent when that arrives, and needs no signal.
            written |= !(waits || (up && stream.is_starved()));
        }
        slot.asleep = asleep;
        let waits_for_dial = slot.link.waits_for_dial();
        let sending = self.is_sending(key);
        if written && !sending && !waits_for_dial {
            self.mark(key);
        }
    }

    pub(super) fn has_unsent(&mut self, key: LinkKey) -> bool {
        self.slot(key).is_some_and(|slot| slot.link.outgoing().iter_mut().any(|stream| stream.has_unsent()))
    }
}
