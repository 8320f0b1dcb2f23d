//! Outgoing streams of a link, and what is known of their envelopes.

use super::{Link, LinkAccount, State};
use crate::stream::SendWindow;
use crate::wire::MAX_STREAMS;

impl Link {
    /// Takes over a stream that an outbox has opened to this peer.
    pub fn open(&mut self, mut stream: SendWindow) {
        // The opener of a stream counts the streams: envelopes on a stream that is refused here would be lost.
        debug_assert!(self.outgoing.len() < MAX_STREAMS, "more streams than a greeting can name");
        if self.state == State::Up {
            stream.restart();
            stream.set_limit(self.peer_limit());
            stream.set_incarnation(self.incarnation());
            // The sender may have requested an acknowledgement before the loop knew of the stream.
            self.ack_requested |= stream.take_ack_request();
        }
        self.outgoing.push(stream);
    }

    /// Longest payload that the peer accepts, in bytes. `None` if this server sends no longer ones anyway.
    #[inline]
    pub fn peer_limit(&self) -> Option<u64> {
        Some(self.peer_limit).filter(|limit| *limit < self.local.max_envelope_bytes)
    }

    /// Applies the limit and the incarnation of the peer to the outgoing streams.
    pub(super) fn limit_streams(&mut self) {
        let (limit, incarnation) = (self.peer_limit(), self.incarnation());
        for stream in &mut self.outgoing {
            stream.set_limit(limit);
            stream.set_incarnation(incarnation);
        }
    }

    /// Streams to this peer.
    #[inline]
    pub fn outgoing(&mut self) -> &mut [SendWindow] {
        &mut self.outgoing
    }

    /// Number of streams in both directions.
    #[cfg(any(test, feature = "simulation"))]
    pub fn streams(&self) -> usize {
        self.outgoing.len() + self.incoming.len()
    }

    /// Returns whether everything written to this peer is acknowledged.
    #[inline]
    pub fn is_drained(&mut self) -> bool {
        self.outgoing.iter_mut().all(SendWindow::is_drained)
    }

    /// Returns the number of envelopes that the peer has acknowledged, at least. Walks the unacknowledged envelopes.
    #[inline]
    pub fn acknowledged_messages(&mut self) -> u64 {
        self.acknowledged_before + self.outgoing.iter_mut().map(SendWindow::acknowledged).sum::<u64>()
    }

    /// Returns the totals of both directions of the link. Walks the unacknowledged envelopes.
    pub fn account(&mut self) -> LinkAccount {
        LinkAccount {
            pid: self.peer,
            acknowledged: self.acknowledged_messages(),
            bytes_held: self.outgoing.iter_mut().map(SendWindow::held).sum(),
            bytes_unread: self.unread(),
            sends: self.sends,
            segments: self.segments,
        }
    }

    /// Returns whether a stop should wait for this peer: envelopes are undelivered, and the peer is not known to be
    /// absent.
    #[inline]
    pub fn is_draining(&mut self) -> bool {
        !self.absent && self.state != State::Closed && !self.is_drained()
    }

    /// Requests an acknowledgement from the peer, because the application waits for it.
    pub fn request_ack(&mut self) {
        for stream in &self.outgoing {
            stream.take_ack_request();
        }
        self.ack_requested = self.state == State::Up && !self.is_drained();
    }
}
