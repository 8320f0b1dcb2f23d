//! Envelopes that may be dropped: best effort, with a time to live, for one incarnation of the peer, or longer than the
//! peer accepts.
//!
//! They are written to the ring like all others, and a queue beside it has their positions. If one is not to be sent
//! when its turn comes, the stream goes on behind it, and a Skip segment tells the receiver of the gap.

use std::collections::VecDeque;

use crate::time::Time;
use crate::wire::{WireIncarnation, frame_bytes};

/// Conditions under which an envelope is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropPolicy {
    /// Deadline: it is dropped if it has not been sent by then.
    pub expires: Option<Time>,
    /// It is never retransmitted: it is dropped if the connection is lost before it is acknowledged.
    pub best_effort: bool,
    /// Its only recipient is this incarnation of the peer: it is dropped if another one is there when its turn comes.
    pub only: Option<WireIncarnation>,
}

impl DropPolicy {
    /// Returns whether the envelope may be dropped at all.
    #[inline]
    pub fn is_droppable(&self) -> bool {
        self.best_effort || self.expires.is_some() || self.only.is_some()
    }
}

/// Envelopes that were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Their time to live was over before they were sent.
    pub expired: u64,
    /// They were best effort, and the connection was lost before they were acknowledged.
    pub best_effort: u64,
    /// They are longer than the peer accepts.
    pub too_large: u64,
    /// They were for one incarnation of the peer, and another one was there.
    pub other_incarnation: u64,
}

impl Dropped {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.expired + self.best_effort + self.too_large + self.other_incarnation
    }
}

/// Unacknowledged envelopes of a stream that may be dropped, or are longer than the peer accepts, in order.
#[derive(Debug)]
pub(super) struct Droppables {
    queue: VecDeque<Droppable>,
    connection: Connection,
    dropped: Dropped,
}

/// The connection that envelopes are sent on, or the last one.
#[derive(Debug)]
struct Connection {
    /// Counts connections.
    number: u32,
    /// Longest payload that the peer accepts, in bytes.
    limit: u64,
    /// Incarnation of the peer. `None`: there was no connection yet.
    incarnation: Option<WireIncarnation>,
}

#[derive(Debug)]
struct Droppable {
    /// Stream positions of its frame.
    begin: u64,
    end: u64,
    payload_bytes: u64,
    policy: DropPolicy,
    /// The connection on which it, or its beginning, was last sent.
    sent_on: Option<u32>,
    dropped: bool,
    /// It will not be sent any more, and its memory is given back. It counts as dropped once it is known not to have arrived.
    given_up: bool,
}

impl Default for Droppables {
    fn default() -> Droppables {
        let connection = Connection { number: 0, limit: u64::MAX, incarnation: None };
        Droppables { queue: VecDeque::new(), connection, dropped: Dropped::default() }
    }
}

impl Droppables {
    pub(super) fn push(&mut self, begin: u64, payload_bytes: u64, policy: DropPolicy) {
        debug_assert!(self.queue.back().is_none_or(|last| last.end <= begin));
        self.queue.push_back(Droppable::new(begin, payload_bytes, policy));
    }

    /// Sets the longest payload that the peer accepts from now on, in bytes.
    pub(super) fn set_limit(&mut self, limit: u64) {
        self.connection.limit = limit;
    }

    /// Sets the incarnation of the peer from now on.
    pub(super) fn set_incarnation(&mut self, incarnation: WireIncarnation) {
        self.connection.incarnation = Some(incarnation);
    }

    /// Incarnation of the peer that the envelope at `begin` is for, if it is for one alone.
    pub(super) fn only_for(&self, begin: u64) -> Option<WireIncarnation> {
        let place = self.queue.partition_point(|droppable| droppable.begin < begin);
        self.queue.get(place).filter(|droppable| droppable.begin == begin)?.policy.only
    }

    /// Adds the envelope at `begin`, which is longer than the peer accepts.
    #[cold]
    pub(super) fn refuse(&mut self, begin: u64, payload_bytes: u64) {
        let place = self.queue.partition_point(|droppable| droppable.begin < begin);
        if self.queue.get(place).is_none_or(|droppable| droppable.begin != begin) {
            self.queue.insert(place, Droppable::new(begin, payload_bytes, DropPolicy::default()));
        }
    }

    /// A new connection.
    pub(super) fn reconnect(&mut self) {
        self.connection.number = self.connection.number.wrapping_add(1);
    }

    /// The stretch of envelopes at `sent` that are not to be sent any more ends here; `None`: what stands at `sent` is to
    /// be sent. Whoever asks goes on behind the stretch: it counts as dropped.
    #[inline]
    pub(super) fn skip(&mut self, sent: u64, now: Time) -> Option<u64> {
        if self.queue.is_empty() { None } else { self.skip_some(sent, now) }
    }

    fn skip_some(&mut self, sent: u64, now: Time) -> Option<u64> {
        let first = self.queue.partition_point(|droppable| droppable.end <= sent);
        let mut end = sent;
        for droppable in self.queue.range_mut(first..) {
            let stands_here = droppable.begin <= end;
            if !stands_here || !droppable.is_over(sent, &self.connection, now) {
                break;
            }
            if !std::mem::replace(&mut droppable.dropped, true) {
                let lost = droppable.policy.best_effort && droppable.sent_on.is_some();
                let expired = droppable.policy.expires.is_some_and(|expires| expires <= now);
                let count = if lost {
                    &mut self.dropped.best_effort
                } else if expired {
                    &mut self.dropped.expired
                } else if droppable.is_for_another(&self.connection) {
                    &mut self.dropped.other_incarnation
                } else {
                    &mut self.dropped.too_large
                };
                *count += 1;
            }
            end = droppable.end;
        }
        (end > sent).then_some(end)
    }

    /// While there is no connection: the stretch of envelopes at `from` that no later connection will send ends here. Those of
    /// them that were never sent count as dropped; the others may have arrived.
    pub(super) fn give_up(&mut self, from: u64, written: u64, now: Time) -> u64 {
        let first = self.queue.partition_point(|droppable| droppable.end <= from);
        let mut end = from;
        for droppable in self.queue.range_mut(first..) {
            let lost = droppable.policy.best_effort && droppable.sent_on.is_some();
            let over = droppable.dropped || lost || droppable.policy.expires.is_some_and(|expires| expires <= now);
            if droppable.begin != end || droppable.end > written || !over {
                break;
            }
            if droppable.sent_on.is_none() && !std::mem::replace(&mut droppable.dropped, true) {
                self.dropped.expired += 1;
            }
            droppable.given_up = true;
            end = droppable.end;
        }
        end
    }

    /// Where the first envelope between `sent` and `limit` begins that is not to be sent.
    #[inline]
    pub(super) fn next_gap(&self, sent: u64, limit: u64, now: Time) -> Option<u64> {
        if self.queue.is_empty() {
            return None;
        }
        let first = self.queue.partition_point(|droppable| droppable.begin <= sent);
        let ahead = self.queue.range(first..).take_while(|droppable| droppable.begin < limit);
        let over = ahead.filter(|droppable| droppable.is_over(sent, &self.connection, now));
        over.map(|droppable| droppable.begin).next()
    }

    /// Bytes `from..to` are sent.
    #[inline]
    pub(super) fn sent(&mut self, from: u64, to: u64) {
        if !self.queue.is_empty() {
            self.mark_sent(from, to);
        }
    }

    fn mark_sent(&mut self, from: u64, to: u64) {
        let first = self.queue.partition_point(|droppable| droppable.end <= from);
        for droppable in self.queue.range_mut(first..) {
            if droppable.begin >= to {
                break;
            }
            droppable.sent_on = Some(self.connection.number);
        }
    }

    pub(super) fn acknowledge(&mut self, position: u64) {
        while self.queue.front().is_some_and(|droppable| droppable.end <= position) {
            self.queue.pop_front();
        }
    }

    /// Returns whether one of them begins before this position, and ends behind it.
    pub(super) fn is_inside(&self, position: u64) -> bool {
        let first = self.queue.partition_point(|droppable| droppable.end <= position);
        self.queue.get(first).is_some_and(|droppable| droppable.begin < position)
    }

    /// When what stands at `sent` expires, if it does.
    pub(super) fn next_expiry(&self, sent: u64) -> Option<Time> {
        let first = self.queue.partition_point(|droppable| droppable.end <= sent);
        let next = self.queue.get(first).filter(|droppable| droppable.begin == sent && !droppable.dropped)?;
        next.policy.expires
    }

    /// How many of those that are not acknowledged and not given up are dropped, and their payload bytes.
    pub(super) fn dropped_of_unacknowledged(&self) -> (u64, u64) {
        self.count(|droppable| droppable.dropped && !droppable.given_up)
    }

    /// How many of those that are given up may have arrived, and their payload bytes.
    pub(super) fn undecided(&self) -> (u64, u64) {
        self.count(|droppable| droppable.given_up && !droppable.dropped)
    }

    fn count(&self, which: impl Fn(&Droppable) -> bool) -> (u64, u64) {
        let found = self.queue.iter().filter(|droppable| which(droppable));
        found.fold((0, 0), |sum, droppable| (sum.0 + 1, sum.1 + droppable.payload_bytes))
    }

    pub(super) fn dropped(&self) -> Dropped {
        self.dropped
    }
}

impl Droppable {
    fn new(begin: u64, payload_bytes: u64, policy: DropPolicy) -> Droppable {
        let end = begin + frame_bytes(payload_bytes as usize) as u64;
        Droppable { begin, end, payload_bytes, policy, sent_on: None, dropped: false, given_up: false }
    }

    /// Returns whether the envelope is for another incarnation of the peer than the connection leads to.
    fn is_for_another(&self, connection: &Connection) -> bool {
        self.policy.only.is_some_and(|only| connection.incarnation.is_some_and(|incarnation| incarnation != only))
    }

    /// Returns whether the envelope is not to be sent on this connection. `sent` is the next position to send.
    fn is_over(&self, sent: u64, connection: &Connection, now: Time) -> bool {
        let sent_here = self.sent_on == Some(connection.number);
        // What has begun to travel on this connection is sent to its end.
        let begun = sent > self.begin && sent_here;
        let lost = self.policy.best_effort && self.sent_on.is_some() && !sent_here;
        let expired = self.policy.expires.is_some_and(|expires| expires <= now);
        let unfit = self.payload_bytes > connection.limit || self.is_for_another(connection);
        self.dropped || self.given_up || lost || !begun && (expired || unfit)
    }
}
