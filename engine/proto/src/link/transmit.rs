//! Transmission: the segments that a link sends next.

use super::{DropReason, Link, Notice, RecvCredit, RecvStream, State};
use crate::batch::Batch;
use crate::stream::{Dropped, Extent, Lane, SendWindow, Taken, lane_of};
use crate::time::Time;
use crate::wire::{
    ACK_NOW, CHECKSUMMED, FRAGMENT, GoodbyeReason, Grant, Kind, LAST, NO_STREAM, SegmentHeader, encode_goodbye,
    encode_grants, encode_skip,
};

impl Link {
    /// Fills `batch` with the segments that can be sent now. The connection sends it before the next call.
    ///
    /// Urgent streams come first. An acknowledgement travels on a data segment if there is one, and in a segment of its
    /// own when it is due. No segment is delayed in order to fill a batch.
    pub(crate) fn transmit(&mut self, now: Time, batch: &mut Batch) {
        if self.state != State::Up {
            return;
        }
        for lane in Lane::BY_URGENCY {
            self.transmit_lane(lane, now, batch);
        }
        self.end_streams(batch);
        self.transmit_acknowledgements(now, batch);
        // Follows the data, so that the acknowledgement of all of it is requested.
        if std::mem::take(&mut self.ack_requested) {
            let mut header = self.header(Kind::Heartbeat);
            header.flags = ACK_NOW.into();
            batch.push_owned(header, Vec::new());
        }
        if batch.is_empty() && now >= self.heartbeat_at {
            let mut header = self.header(Kind::Heartbeat);
            if self.outgoing.iter().any(SendWindow::is_starved) {
                // A stream still waits for credit after a heartbeat interval in which nothing was sent. `ACK_NOW`
                // requests the credit again, in case a grant was lost.
                header.flags = ACK_NOW.into();
            }
            batch.push_owned(header, Vec::new());
        }
        if !batch.is_empty() {
            self.first += 1;
            self.has_sent(batch, now);
        }
    }

    pub(super) fn has_sent(&mut self, batch: &Batch, now: Time) {
        self.sends += 1;
        self.segments += batch.segments() as u64;
        self.put_off_heartbeat(now);
    }

    /// Appends a Goodbye, the last segment of the connection. Acknowledgements that are owed precede it.
    pub(super) fn transmit_goodbye(&mut self, reason: GoodbyeReason, batch: &mut Batch) {
        self.ack_now = true;
        self.transmit_acknowledgements(Time::default(), batch);
        let header = SegmentHeader::new(Kind::Goodbye);
        batch.push_owned(header, encode_goodbye(reason).to_vec());
    }

    /// Gives up the expired and lost envelopes of all streams. Called only without a connection, which would read their
    /// bytes in place.
    pub(super) fn give_up_stale(&mut self, now: Time) {
        assert!(self.state != State::Up, "a connection reads these bytes");
        for index in 0..self.outgoing.len() {
            let before = self.outgoing[index].dropped();
            self.outgoing[index].give_up_stale(now);
            self.tell_dropped(before, self.outgoing[index].dropped());
        }
    }

    /// Sends on each stream of a lane. A stream that has sent part of a frame comes first, and sends the frame to its
    /// end or fills the batch. So no other stream begins a frame in fragments before (WIRE.md, section Fragments).
    fn transmit_lane(&mut self, lane: Lane, now: Time, batch: &mut Batch) {
        let count = self.outgoing.len();
        if self.first >= count {
            self.first = 0;
        }
        if let Some(open) = self.send_credit[lane.index()].open
            && let Some(index) = self.outgoing.iter().position(|stream| stream.id() == open)
        {
            self.transmit_stream(index, now, batch);
        }
        for index in (self.first..count).chain(0..self.first) {
            if lane_of(self.outgoing[index].id()) == lane {
                self.transmit_stream(index, now, batch);
            }
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
        self.notices
            .extend(DropReason::counts(&before, &after).map(|(reason, count)| Notice::Dropped { count, reason }));
    }

    fn fill(&mut self, index: usize, now: Time, batch: &mut Batch) {
        let stream = &mut self.outgoing[index];
        let (id, written) = (stream.id(), stream.written());
        let lane = lane_of(id).index();
        while batch.has_room() {
            let window = &mut self.send_credit[lane];
            let extent = match self.outgoing[index].take(written, now, window.room()) {
                None => return,
                Some(Taken::Data(extent)) => extent,
                Some(Taken::Skip { from, to }) => {
                    if window.open == Some(id) {
                        window.open = None;
                    }
                    let mut header = self.header(Kind::Skip);
                    header.stream = self.outgoing[index].id().into();
                    header.position = from.into();
                    batch.push_owned(header, encode_skip(to).to_vec());
                    continue;
                }
            };
            window.sent += extent.to - extent.from;
            if extent.flags & FRAGMENT != 0 {
                window.open = (extent.flags & LAST == 0).then_some(id);
            }
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

    /// Ends the streams whose outbox is gone and whose data is all acknowledged, with an End segment (WIRE.md, section
    /// Control segments).
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
        let windows = &self.recv_credit;
        let owed = self.incoming.iter().filter(|stream| is_owed(stream, windows)).count();
        if owed == 0 && !windows.iter().any(RecvCredit::is_due) {
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
        }
        let mut grants = Vec::new();
        for stream in &mut self.incoming {
            if is_owed(stream, &self.recv_credit) {
                let lane = lane_of(stream.id());
                let credit = self.recv_credit[lane.index()].grant();
                grants.push(Grant::new(stream.id(), lane, stream.acknowledge(), credit));
            }
        }
        // Credit for lanes whose streams have ended.
        for (lane, window) in Lane::ALL.into_iter().zip(&mut self.recv_credit) {
            if window.is_due() {
                grants.push(Grant::new(NO_STREAM, lane, 0, window.grant()));
            }
        }
        if !grants.is_empty() {
            batch.push_owned(SegmentHeader::new(Kind::Ack), encode_grants(&grants));
        }
        self.ack_due = None;
        self.ack_now = false;
    }

    /// Makes a header. It carries the acknowledgement of the first stream that is owed one, if there is such a stream.
    fn header(&mut self, kind: Kind) -> SegmentHeader {
        let mut header = SegmentHeader::new(kind);
        let windows = &mut self.recv_credit;
        if let Some(stream) = self.incoming.iter_mut().find(|stream| is_owed(stream, windows)) {
            header.ack_stream = stream.id().into();
            header.ack_position = stream.acknowledge().into();
            header.ack_credit = windows[lane_of(stream.id()).index()].grant().into();
        }
        debug_assert!(header.ack_stream.get() != NO_STREAM || header.ack_position.get() == 0);
        header
    }
}

/// Returns whether the peer is owed an acknowledgement of the stream, or credit for its lane.
#[inline]
fn is_owed(stream: &RecvStream, windows: &[RecvCredit; Lane::COUNT]) -> bool {
    stream.is_owed() || windows[lane_of(stream.id()).index()].is_due()
}
