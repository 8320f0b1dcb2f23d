//! Envelopes that may be dropped: best effort, with a time to live, for one incarnation of the peer, withdrawn by their
//! sender, or longer than the peer accepts.
//!
//! They are written to the ring like all others, and a queue beside the ring holds their positions. An envelope that is
//! no longer to be sent at its turn is dropped: the stream continues behind it, and a Skip segment tells the receiver
//! of the gap (WIRE.md, section Control segments).

use std::collections::VecDeque;

use super::{Ticket, TicketState};
use crate::time::Time;
use crate::wire::{WireIncarnation, frame_bytes};

/// Conditions under which an envelope is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropPolicy {
    /// Expiry: the envelope is dropped if it has not been sent by this time.
    pub expires: Option<Time>,
    /// Best effort: the envelope is never retransmitted. It is dropped if the connection is lost before it is
    /// acknowledged.
    pub best_effort: bool,
    /// Only recipient: the envelope is dropped if another incarnation of the peer is connected at its turn.
    pub only: Option<WireIncarnation>,
}

impl DropPolicy {
    /// Returns whether any condition is set.
    #[inline]
    pub fn is_droppable(&self) -> bool {
        self.best_effort || self.expires.is_some() || self.only.is_some()
    }
}

/// Number of dropped envelopes, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Envelopes whose time to live ended before they were sent.
    pub expired: u64,
    /// Best-effort envelopes whose connection was lost before they were acknowledged.
    pub best_effort: u64,
    /// Envelopes longer than the peer accepts.
    pub too_large: u64,
    /// Envelopes for one incarnation of the peer, dropped because another one was connected.
    pub other_incarnation: u64,
    /// Envelopes that their sender has withdrawn.
    pub withdrawn: u64,
}

impl Dropped {
    /// Number of dropped envelopes for all reasons together.
    pub fn total(&self) -> u64 {
        self.expired + self.best_effort + self.too_large + self.other_incarnation + self.withdrawn
    }
}

/// Unacknowledged envelopes of a stream that may be dropped or are longer than the peer accepts, in order.
#[derive(Debug)]
pub(super) struct Droppables {
    queue: VecDeque<Droppable>,
    connection: Connection,
    dropped: Dropped,
}

/// Present connection, or the last one.
#[derive(Debug)]
struct Connection {
    /// Ordinal of the connection, which wraps.
    number: u32,
    /// Longest payload that the peer accepts, in bytes.
    limit: u64,
    /// Incarnation of the peer. `None` before the first connection.
    incarnation: Option<WireIncarnation>,
}

#[derive(Debug)]
struct Droppable {
    /// Stream positions of the frame: its first byte, and the one behind its last.
    begin: u64,
    end: u64,
    payload_bytes: u64,
    policy: DropPolicy,
    ticket: Option<Ticket>,
    /// Number of the connection on which the frame, or a part of it, was last sent.
    sent_on: Option<u32>,
    dropped: bool,
    /// Given up: the envelope will not be sent any more, and its memory is freed. It counts as dropped once it is known
    /// not to have arrived.
    given_up: bool,
}

impl Default for Droppables {
    fn default() -> Droppables {
        let connection = Connection { number: 0, limit: u64::MAX, incarnation: None };
        Droppables { queue: VecDeque::new(), connection, dropped: Dropped::default() }
    }
}

impl Droppables {
    pub(super) fn push(&mut self, begin: u64, payload_bytes: u64, policy: DropPolicy, ticket: Option<Ticket>) {
        debug_assert!(self.queue.back().is_none_or(|last| last.end <= begin));
        self.queue.push_back(Droppable::new(begin, payload_bytes, policy, ticket));
    }

    /// Sets the longest payload that the peer accepts from now on, in bytes.
    pub(super) fn set_limit(&mut self, limit: u64) {
        self.connection.limit = limit;
    }

    /// Sets the incarnation of the peer from now on.
    pub(super) fn set_incarnation(&mut self, incarnation: WireIncarnation) {
        self.connection.incarnation = Some(incarnation);
    }

    /// Returns the only incarnation of the peer that the envelope at position `begin` is for, or `None` if it is for
    /// any.
    pub(super) fn only_for(&self, begin: u64) -> Option<WireIncarnation> {
        let place = self.queue.partition_point(|droppable| droppable.begin < begin);
        self.queue.get(place).filter(|droppable| droppable.begin == begin)?.policy.only
    }

    /// Adds the envelope at position `begin`, which is longer than the peer accepts.
    #[cold]
    pub(super) fn refuse(&mut self, begin: u64, payload_bytes: u64) {
        let place = self.queue.partition_point(|droppable| droppable.begin < begin);
        if self.queue.get(place).is_none_or(|droppable| droppable.begin != begin) {
            self.queue.insert(place, Droppable::new(begin, payload_bytes, DropPolicy::default(), None));
        }
    }

    /// Begins a new connection.
    pub(super) fn reconnect(&mut self) {
        self.connection.number = self.connection.number.wrapping_add(1);
    }

    /// Drops the run of envelopes at position `sent` that are not to be sent any more. Returns the position behind the
    /// run, where the caller continues, or `None` if the bytes at `sent` are to be sent.
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
            if droppable.drop_first() {
                let lost = droppable.policy.best_effort && droppable.sent_on.is_some();
                let count = if lost {
                    &mut self.dropped.best_effort
                } else if droppable.is_withdrawn() {
                    &mut self.dropped.withdrawn
                } else if droppable.is_expired(now) {
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

    /// Gives up the run of envelopes at position `from` that no later connection will send. Returns the position behind
    /// the run. Called only without a connection. Envelopes that were never sent count as dropped; the others may have
    /// arrived.
    pub(super) fn give_up(&mut self, from: u64, written: u64, now: Time) -> u64 {
        let first = self.queue.partition_point(|droppable| droppable.end <= from);
        let mut end = from;
        for droppable in self.queue.range_mut(first..) {
            let lost = droppable.policy.best_effort && droppable.sent_on.is_some();
            let withdrawn = droppable.is_withdrawn();
            let over = droppable.dropped || lost || withdrawn || droppable.is_expired(now);
            if droppable.begin != end || droppable.end > written || !over {
                break;
            }
            if droppable.sent_on.is_none() && droppable.drop_first() {
                let count = if withdrawn { &mut self.dropped.withdrawn } else { &mut self.dropped.expired };
                *count += 1;
            }
            droppable.given_up = true;
            end = droppable.end;
        }
        end
    }

    /// Returns the position of the first envelope between `sent` and `limit` that is not to be sent.
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

    /// Records that the bytes from position `from` to position `to` are sent. Returns `false` if they must not be,
    /// because an envelope among them was withdrawn.
    #[inline]
    pub(super) fn send(&mut self, from: u64, to: u64) -> bool {
        self.queue.is_empty() || self.mark_sent(from, to)
    }

    fn mark_sent(&mut self, from: u64, to: u64) -> bool {
        let first = self.queue.partition_point(|droppable| droppable.end <= from);
        for droppable in self.queue.range_mut(first..) {
            if droppable.begin >= to {
                break;
            }
            if droppable.ticket.as_ref().is_some_and(|ticket| !ticket.send()) {
                return false;
            }
            droppable.sent_on = Some(self.connection.number);
        }
        true
    }

    pub(super) fn acknowledge(&mut self, position: u64) {
        while self.queue.front().is_some_and(|droppable| droppable.end <= position) {
            self.queue.pop_front();
        }
    }

    /// Returns whether a droppable envelope begins before `position` and ends behind it.
    pub(super) fn is_inside(&self, position: u64) -> bool {
        let first = self.queue.partition_point(|droppable| droppable.end <= position);
        self.queue.get(first).is_some_and(|droppable| droppable.begin < position)
    }

    /// Returns the expiry of the envelope that begins at position `sent`, if it has one.
    pub(super) fn next_expiry(&self, sent: u64) -> Option<Time> {
        let first = self.queue.partition_point(|droppable| droppable.end <= sent);
        let next = self.queue.get(first).filter(|droppable| droppable.begin == sent && !droppable.dropped)?;
        next.policy.expires
    }

    /// Returns number and payload bytes of dropped envelopes that are neither acknowledged nor given up.
    pub(super) fn dropped_of_unacknowledged(&self) -> (u64, u64) {
        self.count(|droppable| droppable.dropped && !droppable.given_up)
    }

    /// Returns number and payload bytes of given-up envelopes that may have arrived.
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
    fn new(begin: u64, payload_bytes: u64, policy: DropPolicy, ticket: Option<Ticket>) -> Droppable {
        let end = begin + frame_bytes(payload_bytes as usize) as u64;
        Droppable { begin, end, payload_bytes, policy, ticket, sent_on: None, dropped: false, given_up: false }
    }

    /// Marks the envelope as dropped. Returns `false` if it was before.
    fn drop_first(&mut self) -> bool {
        if let Some(ticket) = &self.ticket {
            ticket.drop_unsent();
        }
        !std::mem::replace(&mut self.dropped, true)
    }

    fn is_withdrawn(&self) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| ticket.state() == TicketState::Withdrawn)
    }

    fn is_expired(&self, now: Time) -> bool {
        self.policy.expires.is_some_and(|expires| expires <= now)
    }

    /// Returns whether the envelope is for another incarnation of the peer than the connected one.
    fn is_for_another(&self, connection: &Connection) -> bool {
        self.policy.only.is_some_and(|only| connection.incarnation.is_some_and(|incarnation| incarnation != only))
    }

    /// Returns whether the envelope is not to be sent on this connection. `sent` is the next position to send.
    fn is_over(&self, sent: u64, connection: &Connection, now: Time) -> bool {
        let sent_here = self.sent_on == Some(connection.number);
        // An envelope whose first part was sent on this connection is sent to its end.
        let begun = sent > self.begin && sent_here;
        let lost = self.policy.best_effort && self.sent_on.is_some() && !sent_here;
        let unfit = self.payload_bytes > connection.limit || self.is_for_another(connection);
        self.dropped || self.given_up || lost || !begun && (self.is_expired(now) || unfit || self.is_withdrawn())
    }
}
