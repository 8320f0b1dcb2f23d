//! What comes in on a link that is up.

use std::sync::Arc;
use std::time::Duration;

use super::{Delivery, DownReason, InStream, Link, State, Violation};
use crate::time::Time;
use crate::wire::{
    ACK_NOW, GoodbyeReason, Kind, MAX_STREAMS, NO_STREAM, SegmentHeader, decode_goodbye, decode_grants, decode_skip,
};

/// An acknowledgement waits this long for a segment to travel on, unless the sender asks for it ([`ACK_NOW`]).
///
/// Long, because a timer that is due soon costs every wait a programming of the hardware's timer: with 1 ms instead, a
/// round trip between dedicated loops took 45 instead of 33 µs on a virtual machine.
const ACK_DELAY: Duration = Duration::from_millis(25);

impl Link {
    /// A segment came in, checked by [`SegmentHeader::parse`] and [`SegmentHeader::verify`].
    pub fn receive(
        &mut self,
        header: &SegmentHeader,
        payload: &[u8],
        now: Time,
    ) -> Result<Option<Delivery>, Violation> {
        self.heard = now;
        if self.state != State::Up {
            return Err(Violation::Unexpected);
        }
        self.announce();
        self.ack_now |= header.has(ACK_NOW);
        if header.ack_stream.get() != NO_STREAM {
            self.needs_look = true;
            self.acknowledged(header.ack_stream.get(), header.ack_position.get(), header.ack_credit.get())?;
        }
        match header.kind() {
            Kind::Data => self.arrived(header, payload, now),
            kind => self.receive_control(kind, header, payload, now),
        }
    }

    /// Receives a segment that carries no envelopes. Not inlined, so that those that do take few instructions.
    #[inline(never)]
    fn receive_control(
        &mut self,
        kind: Kind,
        header: &SegmentHeader,
        payload: &[u8],
        now: Time,
    ) -> Result<Option<Delivery>, Violation> {
        match kind {
            Kind::Ack => {
                self.needs_look = true;
                for grant in decode_grants(payload).ok_or(Violation::Unexpected)? {
                    self.acknowledged(grant.stream.get(), grant.position.get(), grant.credit.get())?;
                }
            }
            Kind::Heartbeat => self.needs_look |= self.has_notices(),
            Kind::Skip => {
                let to = decode_skip(payload).ok_or(Violation::Unexpected)?;
                let index = self.incoming_index(header)?;
                self.incoming[index].skip(header.position.get(), to)?;
                self.owe(index, now);
            }
            Kind::End => {
                self.needs_look = true;
                let stream = header.stream.get();
                let end = header.position.get();
                let open = self.incoming.iter().find(|incoming| incoming.id() == stream && incoming.received() != end);
                if let Some(open) = open {
                    return Err(Violation::Position { stream, expected: open.received(), found: end });
                }
                self.forget_incoming(|incoming| incoming.id() == stream);
            }
            Kind::Goodbye => {
                self.needs_look = true;
                let reason = match decode_goodbye(payload).ok_or(Violation::Unexpected)? {
                    GoodbyeReason::Violation => {
                        let what = format!("it says that we broke the protocol{}", super::incoming::SAME_RELEASE);
                        DownReason::Violation(what)
                    }
                    GoodbyeReason::Removed => DownReason::Removed,
                    GoodbyeReason::Stopped => DownReason::Stopped,
                };
                self.hangup = true;
                self.lost(reason, now);
            }
            Kind::Data | Kind::Hello | Kind::Welcome | Kind::Refuse => return Err(Violation::Unexpected),
        }
        Ok(None)
    }

    fn arrived(&mut self, header: &SegmentHeader, payload: &[u8], now: Time) -> Result<Option<Delivery>, Violation> {
        let index = self.incoming_index(header)?;
        let limit = self.local.max_envelope_bytes;
        let arrival = self.incoming[index].accept(header, payload, limit, &self.buffers)?;
        self.owe(index, now);
        let incoming = &self.incoming[index];
        Ok(Some(Delivery { stream: incoming.shared().clone(), end: incoming.delivered(), arrival }))
    }

    /// The stream that a segment belongs to; a new one begins at position 0.
    fn incoming_index(&mut self, header: &SegmentHeader) -> Result<usize, Violation> {
        let id = header.stream.get();
        match self.incoming.iter().position(|incoming| incoming.id() == id) {
            Some(index) => Ok(index),
            None => self.new_incoming(header),
        }
    }

    #[cold]
    fn new_incoming(&mut self, header: &SegmentHeader) -> Result<usize, Violation> {
        let id = header.stream.get();
        if header.position.get() != 0 || self.incoming.len() >= MAX_STREAMS || id == NO_STREAM {
            return Err(Violation::Stream { stream: id });
        }
        if !self.leftovers.leave_room(0, self.local.window_bytes) {
            return Err(Violation::Unread { stream: id });
        }
        self.open_incoming(id, 0);
        Ok(self.incoming.len() - 1)
    }

    /// Something came on a stream, and is to be acknowledged.
    fn owe(&mut self, index: usize, now: Time) {
        self.ack_now |= self.incoming[index].is_due();
        self.ack_due.get_or_insert(now + ACK_DELAY);
    }

    pub(super) fn open_incoming(&mut self, id: u32, position: u64) {
        self.add_incoming(InStream::new(id, position, self.local.window_bytes));
    }

    /// Continues a stream that came on an earlier link, up to `position`.
    pub(super) fn resume_incoming(&mut self, id: u32, position: u64) {
        self.add_incoming(InStream::resumed(id, position, self.local.window_bytes));
    }

    fn add_incoming(&mut self, stream: InStream) {
        // Nothing has come on those that are gone already; a peer may open and end as many as it likes.
        if self.opened.len() >= 2 * MAX_STREAMS {
            self.opened.retain(|opened| Arc::strong_count(opened) > 1);
        }
        self.opened.push(stream.shared().clone());
        self.incoming.push(stream);
    }

    /// Forgets the streams of the peer that `are_gone`. What came on them stays in the inbox.
    pub(super) fn forget_incoming(&mut self, are_gone: impl Fn(&InStream) -> bool) {
        self.incoming.retain(|stream| {
            if are_gone(stream) {
                self.leftovers.keep(stream);
            }
            !are_gone(stream)
        });
    }

    fn acknowledged(&mut self, stream: u32, position: u64, credit: u64) -> Result<(), Violation> {
        // A stream that has ended may still be acknowledged by a segment that was under way.
        let Some(outgoing) = self.outgoing.iter_mut().find(|outgoing| outgoing.id() == stream) else { return Ok(()) };
        outgoing.acknowledge(position, credit).map_err(|error| Violation::Acknowledgement {
            stream,
            position: error.position,
            sent: error.sent,
        })
    }
}
