//! What a link sends next.

use super::{Batch, DropReason, InStream, Link, Notice, State};
use crate::stream::{Dropped, Extent, Lane, StreamReader, Taken, lane_of};
use crate::time::Time;
use crate::wire::{
    ACK_NOW, CHECKSUMMED, GoodbyeReason, Grant, Kind, NO_STREAM, SegmentHeader, encode_goodbye, encode_grants,
    encode_skip,
};

impl Link {
    /// Fills `batch` with what is to be sent now. The connection sends it before it asks again.
    ///
    /// Urgent streams come first. An acknowledgement travels on a data segment where there is one, and alone when it is
    /// due. Nothing is held back to fill a batch.
    pub fn transmit(&mut self, now: Time, batch: &mut Batch) {
        if self.state != State::Up {
            return;
        }
        if self.is_proven() {
            for lane in [Lane::Urgent, Lane::Normal] {
                for index in 0..self.outgoing.len() {
                    if lane_of(self.outgoing[index].id()) == lane {
                        self.transmit_stream(index, now, batch);
                    }
                }
            }
            self.end_streams(batch);
        }
        self.transmit_acknowledgements(now, batch);
        // After the data, so that it asks for the acknowledgement of all of it.
        if std::mem::take(&mut self.hurried) {
            let mut header = self.header(Kind::Heartbeat);
            header.flags = ACK_NOW.into();
            batch.push_owned(header, Vec::new());
        }
        let confirms = std::mem::take(&mut self.confirms);
        if batch.is_empty() && (confirms || now >= self.heartbeat_at) {
            let mut header = self.header(Kind::Heartbeat);
            if self.outgoing.iter().any(StreamReader::is_starved) {
                // The peer has been silent for as long: should its credit have been lost, it is asked for.
                header.flags = ACK_NOW.into();
            }
            batch.push_owned(header, Vec::new());
        }
        if !batch.is_empty() {
            self.has_sent(batch, now);
        }
    }

    pub(super) fn has_sent(&mut self, batch: &Batch, now: Time) {
        self.sends += 1;
        self.segments += batch.segments() as u64;
        self.put_off_heartbeat(now);
    }

    /// The last segment of the connection; acknowledgements that are owed come before it.
    pub(super) fn transmit_goodbye(&mut self, reason: GoodbyeReason, batch: &mut Batch) {
        self.ack_now = true;
        self.transmit_acknowledgements(Time::default(), batch);
        let header = self.header(Kind::Goodbye);
        batch.push_owned(header, encode_goodbye(reason).to_vec());
    }

    /// There is no connection: what waits and has expired need not wait longer.
    pub(super) fn give_up_stale(&mut self, now: Time) {
        for index in 0..self.outgoing.len() {
            let before = self.outgoing[index].dropped();
            self.outgoing[index].give_up_stale(now);
            self.tell_dropped(before, self.outgoing[index].dropped());
        }
    }

    fn transmit_stream(&mut self, index: usize, now: Time, batch: &mut Batch) {
        let before = self.outgoing[index].dropped();
        self.fill(index, now, batch);
        self.tell_dropped(before, self.outgoing[index].dropped());
    }

    #[inline]
    fn tell_dropped(&mut self, before: Dropped, after: Dropped) {
        if before != after {
            self.note_dropped(before, after);
        }
    }

    #[cold]
    fn note_dropped(&mut self, before: Dropped, after: Dropped) {
        for (reason, count) in [
            (DropReason::Expired, after.expired - before.expired),
            (DropReason::BestEffort, after.best_effort - before.best_effort),
            (DropReason::TooLarge, after.too_large - before.too_large),
        ] {
            if count > 0 {
                self.notices.push(Notice::Dropped { count, reason });
            }
        }
    }

    fn fill(&mut self, index: usize, now: Time, batch: &mut Batch) {
        let written = self.outgoing[index].written();
        while batch.has_room() {
            let extent = match self.outgoing[index].take(written, now) {
                None => return,
                Some(Taken::Data(extent)) => extent,
                Some(Taken::Skip { from, to }) => {
                    let mut header = self.header(Kind::Skip);
                    header.stream = self.outgoing[index].id().into();
                    header.position = from.into();
                    batch.push_owned(header, encode_skip(to).to_vec());
                    continue;
                }
            };
            let mut header = self.header(Kind::Data);
            header.flags = self.flags(index, &extent).into();
            let stream = &self.outgoing[index];
            header.stream = stream.id().into();
            header.position = extent.from.into();
            header.seal(&stream.slices(&extent));
            batch.push_sealed(header, |push| stream.parts(&extent, push));
        }
    }

    fn flags(&mut self, index: usize, extent: &Extent) -> u16 {
        let checksummed = if self.local.checksum_payload { CHECKSUMMED } else { 0 };
        let ack_now = if self.outgoing[index].asks() { ACK_NOW } else { 0 };
        extent.flags | checksummed | ack_now
    }

    /// Outboxes that are gone: once all they wrote is acknowledged, the peer may forget the stream.
    fn end_streams(&mut self, batch: &mut Batch) {
        let mut index = 0;
        while index < self.outgoing.len() {
            let stream = &mut self.outgoing[index];
            if stream.is_closed() && stream.is_drained() {
                let mut header = SegmentHeader::new(Kind::End);
                header.stream = stream.id().into();
                header.position = stream.acked().into();
                batch.push_owned(header, Vec::new());
                self.acknowledged_before += stream.acknowledged();
                self.outgoing.swap_remove(index);
            } else {
                index += 1;
            }
        }
    }

    fn transmit_acknowledgements(&mut self, now: Time, batch: &mut Batch) {
        let due = self.ack_now || self.ack_due.is_some_and(|due| now >= due);
        let owed = self.incoming.iter().filter(|stream| stream.is_owed() || stream.is_due()).count();
        if owed == 0 {
            self.ack_due = None;
            self.ack_now = false;
            return;
        }
        if !due {
            return;
        }
        if owed == 1 {
            let header = self.header(Kind::Heartbeat);
            batch.push_owned(header, Vec::new());
        } else {
            let owed = self.incoming.iter_mut().filter(|stream| stream.is_owed() || stream.is_due());
            let grants: Vec<Grant> = owed
                .map(|stream| {
                    let (position, credit) = stream.grant();
                    Grant::new(stream.id(), position, credit)
                })
                .collect();
            batch.push_owned(SegmentHeader::new(Kind::Ack), encode_grants(&grants));
        }
        self.ack_due = None;
        self.ack_now = false;
    }

    /// A header that carries the acknowledgement of the stream that is owed one, if any is.
    fn header(&mut self, kind: Kind) -> SegmentHeader {
        let mut header = SegmentHeader::new(kind);
        let owed = self.incoming.iter_mut().find(|stream| stream.is_owed() || stream.is_due());
        if let Some(stream) = owed {
            let (position, credit) = InStream::grant(stream);
            header.ack_stream = stream.id().into();
            header.ack_position = position.into();
            header.ack_credit = credit.into();
        }
        debug_assert!(header.ack_stream.get() != NO_STREAM || header.ack_position.get() == 0);
        header
    }
}
