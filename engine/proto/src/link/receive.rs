//! Reception of segments on a link that is up.

use std::sync::Arc;
use std::time::Duration;

use super::{Delivery, DownReason, Link, RecvStream, State, Violation};
use crate::stream::lane_of;
use crate::time::Time;
use crate::wire::{
    ACK_NOW, GoodbyeReason, Kind, MAX_STREAMS, NO_STREAM, SegmentHeader, decode_goodbye, decode_grants, decode_skip,
};

/// Longest time that an acknowledgement waits for a segment to travel on, unless the sender requests it with
/// [`ACK_NOW`] (delayed acknowledgement; WIRE.md, section Time).
///
/// A short delay is expensive: for a timer that is due soon, each wait programs the hardware timer. With 1 ms, a round
/// trip between dedicated loops took 45 µs instead of 33 µs on a virtual machine.
const ACK_DELAY: Duration = Duration::from_millis(25);

impl Link {
    /// Receives a segment that [`SegmentHeader::parse`] and [`SegmentHeader::verify`] have checked.
    pub(crate) fn receive(
        &mut self,
        header: &SegmentHeader,
        payload: &[u8],
        now: Time,
    ) -> Result<Option<Delivery>, Violation> {
        self.heard = now;
        if self.state != State::Up {
            return Err(Violation::Unexpected);
        }
        self.ack_now |= header.has(ACK_NOW);
        let acknowledged = header.ack_stream.get();
        if acknowledged != NO_STREAM {
            self.needs_look = true;
            self.send_credit[lane_of(acknowledged).index()].grant(header.ack_credit.get());
            self.acknowledged(acknowledged, header.ack_position.get())?;
        }
        match header.kind() {
            Kind::Data => self.arrived(header, payload, now),
            kind => self.receive_control(kind, header, payload, now),
        }
    }

    /// Receives a segment that carries no envelopes. Not inlined, to keep the path of data segments short.
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
                    let window = self.send_credit.get_mut(usize::from(grant.lane.get()));
                    window.ok_or(Violation::Unexpected)?.grant(grant.credit.get());
                    self.acknowledged(grant.stream.get(), grant.position.get())?;
                }
            }
            Kind::Heartbeat => self.needs_look |= self.has_notices(),
            Kind::Skip => {
                let to = decode_skip(payload).ok_or(Violation::Unexpected)?;
                let index = self.incoming_index(header)?;
                let window = &mut self.recv_credit[lane_of(header.stream.get()).index()];
                self.incoming[index].skip(header.position.get(), to, window)?;
                self.ack_now |= self.incoming[index].is_due() || window.is_due();
                self.ack_due.get_or_insert(now + ACK_DELAY);
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
                        let what = format!("it says that we broke the protocol{}", super::recv_stream::SAME_RELEASE);
                        DownReason::Violation(what)
                    }
                    GoodbyeReason::Removed => DownReason::Removed,
                    GoodbyeReason::Stopped => DownReason::Stopped,
                };
                self.lost(reason, now);
            }
            Kind::Data | Kind::Hello | Kind::Welcome | Kind::Refuse | Kind::Confirm => {
                return Err(Violation::Unexpected);
            }
        }
        Ok(None)
    }

    fn arrived(&mut self, header: &SegmentHeader, payload: &[u8], now: Time) -> Result<Option<Delivery>, Violation> {
        let index = self.incoming_index(header)?;
        let limit = self.local.max_envelope_bytes;
        let window = &mut self.recv_credit[lane_of(header.stream.get()).index()];
        let incoming = &mut self.incoming[index];
        let before = incoming.delivered();
        let arrival = incoming.accept(header, payload, limit, window, &self.buffers).inspect_err(|violation| {
            // The fault may be in the beginning of the frame. If that were kept, each connection on which the rest is
            // sent would fail again.
            if matches!(violation, Violation::Fragment { .. }) {
                incoming.give_up(window);
            }
        })?;
        self.ack_now |= incoming.is_due() || window.is_due();
        self.ack_due.get_or_insert(now + ACK_DELAY);
        Ok(Some(Delivery { stream: incoming.shared().clone(), room: incoming.delivered() - before, arrival }))
    }

    /// Returns the index of the segment's stream. A new stream begins at position 0.
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
        self.open_incoming(id, 0);
        Ok(self.incoming.len() - 1)
    }

    pub(super) fn open_incoming(&mut self, id: u32, position: u64) {
        let consumption = self.recv_credit[lane_of(id).index()].consumption();
        let stream = RecvStream::new(id, position, consumption.clone());
        // Drops the streams that have ended without any delivery. A peer may open and end any number of them.
        if self.opened.len() >= 2 * MAX_STREAMS {
            self.opened.retain(|opened| Arc::strong_count(opened) > 1);
        }
        self.opened.push(stream.shared().clone());
        self.incoming.push(stream);
    }

    /// Forgets the incoming streams for which `are_gone` returns true. Envelopes already received stay in the inbox.
    pub(super) fn forget_incoming(&mut self, are_gone: impl Fn(&RecvStream) -> bool) {
        let windows = &mut self.recv_credit;
        self.incoming.retain_mut(|stream| {
            let is_gone = are_gone(stream);
            if is_gone {
                stream.give_up(&mut windows[lane_of(stream.id()).index()]);
            }
            !is_gone
        });
    }

    fn acknowledged(&mut self, stream: u32, position: u64) -> Result<(), Violation> {
        // A segment under way may still acknowledge a stream that has ended.
        let Some(outgoing) = self.outgoing.iter_mut().find(|outgoing| outgoing.id() == stream) else { return Ok(()) };
        outgoing.acknowledge(position).map_err(|error| Violation::Acknowledgement {
            stream,
            position: error.position,
            sent: error.sent,
        })
    }
}
