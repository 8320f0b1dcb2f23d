//! Session: one connection with one peer, from its first byte to its last.
//!
//! Framing, handshake (WIRE.md, section Handshake), refusals.
//!
//! A session is pure: its owner hands it the received bytes, sends what [`Session::transmit`] produces, and calls
//! [`Session::timeout`] at [`Session::deadline`]. It finds its peer's [`Link`] in the [`Links`] of its owner. The link
//! outlives the session: streams, positions and credit belong to it, and it decides when to dial.
//!
//! A record layer, such as encryption, stands between a session and its bytes: it opens what was received before
//! [`Session::receive`], and seals what [`Session::transmit`] has produced.

mod handshake;
mod phase;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::Duration;

use self::phase::Phase;
use crate::batch::Batch;
use crate::link::{Delivery, DownReason, Link, Links, State};
use crate::time::Time;
use crate::wire::{
    GoodbyeReason, Kind, RefusalReason, SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader, encode_goodbye,
};

/// Time from an accepted connection to its Hello, at most: 5 seconds (WIRE.md, section Time).
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Connection with a peer. `K` is the key of a link in the [`Links`] of the owner.
///
/// The [crate] has an example.
#[derive(Debug)]
pub struct Session<K> {
    phase: Phase<K>,
    /// Number of received bytes, from the beginning of the owner's buffer, that were parsed.
    parsed: usize,
    /// Segment of the handshake that is sent next: a Hello, a Welcome, a Refuse or a Confirm.
    handshake: Option<Box<(Kind, Vec<u8>)>>,
}

/// Result of a received segment.
pub enum SessionEvent<K> {
    /// Envelopes, or a part of one, for the inbox. `payload` is their place in the received bytes.
    Delivery {
        /// Link of the session.
        key: K,
        /// Content of the segment.
        delivery: Delivery,
        /// Payload of the segment, as a range of the received bytes.
        payload: Range<usize>,
    },
    /// Control segment. The link may have something to send, or a notice.
    Control,
    /// The Hello was answered with a Welcome, which is to be sent. The link may [want](Link::wants) to hang up an older
    /// connection.
    Welcomed(K),
    /// The link is up on this connection. An older connection of the link is to be [abandoned](Session::abandon) and
    /// closed.
    Established(K),
    /// A Refuse is to be sent, and the connection then to be closed. The session has ended.
    Refused,
    /// The connection is to be closed. The session has ended, and its link knows.
    Closed(Option<K>),
}

impl<K: Copy> Session<K> {
    /// Makes the session of a connection that was accepted now.
    pub fn accepted(now: Time) -> Session<K> {
        Session::new(Phase::Accepted { until: now + GREETING_TIMEOUT })
    }

    /// Makes the session of a connection that a link [dials](Link::dials).
    pub fn dialing(key: K) -> Session<K> {
        Session::new(Phase::Dialing(key))
    }

    /// Makes a session that has ended.
    pub fn ended() -> Session<K> {
        Session::new(Phase::Ended)
    }

    fn new(phase: Phase<K>) -> Session<K> {
        Session { phase, parsed: 0, handshake: None }
    }

    /// Link with the peer, as far as the peer is known.
    #[inline]
    pub fn key(&self) -> Option<K> {
        match &self.phase {
            Phase::Dialing(key) | Phase::Greeting(key) | Phase::Up(key) => Some(*key),
            Phase::Greeted(greeted) => Some(greeted.key),
            Phase::Accepted { .. } | Phase::Ended => None,
        }
    }

    /// Link that is up on the connection.
    #[inline]
    pub fn up(&self) -> Option<K> {
        if let Phase::Up(key) = self.phase { Some(key) } else { None }
    }

    /// Returns whether the peer has dialed and was welcomed, and has not confirmed.
    pub fn is_greeted(&self) -> bool {
        matches!(self.phase, Phase::Greeted(_))
    }

    /// Returns whether this side's dial is under way, handshake included.
    pub fn is_dialing(&self) -> bool {
        matches!(self.phase, Phase::Dialing(_) | Phase::Greeting(_))
    }

    /// Returns whether the connection was accepted, and has not been greeted on.
    pub fn is_accepted(&self) -> bool {
        matches!(self.phase, Phase::Accepted { .. })
    }

    /// Returns whether the session has ended.
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Receives the next whole segment of `bytes`, the owner's buffer. `None` if more bytes are needed, or the session
    /// has ended.
    #[inline]
    pub fn receive<L: Links<Key = K>>(&mut self, bytes: &[u8], links: &mut L, now: Time) -> Option<SessionEvent<K>> {
        let Phase::Up(key) = self.phase else { return self.receive_handshake(bytes, links, now) };
        let (header, payload) = match self.next_segment(bytes) {
            Ok(segment) => segment?,
            Err(error) => return Some(self.malformed(&error, links, now)),
        };
        let Some(link) = links.get(key) else {
            self.phase = Phase::Ended;
            return Some(SessionEvent::Closed(None));
        };
        Some(match link.receive(&header, &bytes[payload.clone()], now) {
            Ok(Some(delivery)) => SessionEvent::Delivery { key, delivery, payload },
            Ok(None) if link.state() == State::Up => SessionEvent::Control,
            // The peer has said goodbye.
            Ok(None) => {
                self.phase = Phase::Ended;
                SessionEvent::Closed(Some(key))
            }
            Err(violation) => self.close_for(DownReason::Violation(violation.to_string()), links, now),
        })
    }

    /// Ends the session because the received bytes are no segment.
    #[cold]
    fn malformed<L: Links<Key = K>>(&mut self, error: &SegmentError, links: &mut L, now: Time) -> SessionEvent<K> {
        if self.is_accepted() && matches!(error, SegmentError::Version(_)) {
            return self.refuse(RefusalReason::Version, links);
        }
        self.close_for(DownReason::Violation(format!("{error}; {}", error.cure())), links, now)
    }

    fn close_for<L: Links<Key = K>>(&mut self, reason: DownReason, links: &mut L, now: Time) -> SessionEvent<K> {
        SessionEvent::Closed(self.lost(reason, links, now))
    }

    /// Appends the segment of the handshake that is to be sent. A Confirm must precede the segments of the link, in the
    /// same batch or an earlier one.
    #[inline]
    pub fn transmit_handshake(&mut self, batch: &mut Batch) {
        if let Some(segment) = self.handshake.take() {
            batch.push_owned(SegmentHeader::new(segment.0), segment.1);
        }
    }

    /// Appends the segments that can be sent now. `link` is that of the session, which is [up](Session::up).
    #[inline]
    pub fn transmit(&mut self, link: &mut Link, now: Time, batch: &mut Batch) {
        self.transmit_handshake(batch);
        link.transmit(now, batch);
    }

    /// Appends a heartbeat if one is due and the link is idle. Returns `false` if [`transmit`](Session::transmit) is to
    /// be called instead.
    #[inline]
    pub fn transmit_heartbeat(&mut self, link: &mut Link, now: Time, answers: bool, batch: &mut Batch) -> bool {
        self.handshake.is_none() && link.transmit_heartbeat(now, answers, batch)
    }

    /// Ends the session for good: the peer is removed, or this server stops. Appends a Goodbye, if the peer regards
    /// itself as connected.
    pub fn close<L: Links<Key = K>>(&mut self, reason: GoodbyeReason, links: &mut L, now: Time, batch: &mut Batch) {
        self.transmit_handshake(batch);
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Up(key) | Phase::Dialing(key) | Phase::Greeting(key) => {
                if let Some(link) = links.get(key)
                    && !link.close(reason, batch)
                {
                    batch.clear();
                }
            }
            Phase::Greeted(greeted) => {
                if let Some(link) = links.get(greeted.key) {
                    link.unconfirmed(now);
                }
                batch.push_owned(SegmentHeader::new(Kind::Goodbye), encode_goodbye(reason).to_vec());
            }
            Phase::Accepted { .. } | Phase::Ended => batch.clear(),
        }
    }

    /// Records that the connection has ended, or is to be closed. The link learns of it. Returns the key of the link,
    /// which may have a notice.
    pub fn lost<L: Links<Key = K>>(&mut self, reason: DownReason, links: &mut L, now: Time) -> Option<K> {
        self.handshake = None;
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Accepted { .. } | Phase::Ended => None,
            Phase::Greeted(greeted) => {
                links.get(greeted.key)?.unconfirmed(now);
                Some(greeted.key)
            }
            Phase::Dialing(key) | Phase::Greeting(key) | Phase::Up(key) => {
                links.get(key)?.lost(reason, now);
                Some(key)
            }
        }
    }

    /// Ends the session of a connection that its link has replaced or hung up, or that has not greeted.
    pub fn abandon(&mut self) {
        debug_assert!(!self.is_greeted(), "the link counts the connection");
        (self.phase, self.handshake) = (Phase::Ended, None);
    }

    /// Time at which [`timeout`](Session::timeout) is to be called next. `None` if only deadlines of the link apply.
    pub fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Accepted { until } => Some(*until),
            Phase::Greeted(greeted) => Some(greeted.until.min(greeted.heartbeat_at)),
            Phase::Dialing(_) | Phase::Greeting(_) | Phase::Up(_) | Phase::Ended => None,
        }
    }

    /// Processes the deadlines that have passed. Everything that had arrived before `caught_up` must have been handed
    /// to the session already. Returns the event of a session that has ended.
    pub fn timeout<L: Links<Key = K>>(&mut self, links: &mut L, now: Time, caught_up: Time) -> Option<SessionEvent<K>> {
        let until = match &mut self.phase {
            Phase::Accepted { until } => *until,
            Phase::Greeted(greeted) => {
                if now >= greeted.heartbeat_at {
                    greeted.heartbeat_at = now + greeted.unconfirmed.heartbeat;
                    self.handshake.get_or_insert_with(|| Box::new((Kind::Heartbeat, Vec::new())));
                }
                greeted.until
            }
            Phase::Dialing(_) | Phase::Greeting(_) | Phase::Up(_) | Phase::Ended => return None,
        };
        (now >= until && caught_up >= until).then(|| self.close_for(DownReason::Silent, links, now))
    }

    /// Returns the next whole segment: its header, and the place of its payload in `bytes`.
    #[inline]
    fn next_segment(&mut self, bytes: &[u8]) -> Result<Option<(SegmentHeader, Range<usize>)>, SegmentError> {
        let rest = &bytes[self.parsed..];
        let Some(header) = SegmentHeader::parse(rest)? else { return Ok(None) };
        let length = header.segment_bytes();
        if rest.len() < length {
            return Ok(None);
        }
        header.verify(&rest[SEGMENT_HEADER_BYTES..length])?;
        let payload = self.parsed + SEGMENT_HEADER_BYTES..self.parsed + length;
        self.parsed = payload.end;
        Ok(Some((*header, payload)))
    }

    /// Number of bytes at the beginning of the owner's buffer that were parsed and are not read any more.
    #[inline]
    pub fn parsed(&self) -> usize {
        self.parsed
    }

    /// Records that the owner's buffer begins with the byte after the [parsed](Session::parsed) ones now.
    #[inline]
    pub fn rebase(&mut self) {
        self.parsed = 0;
    }

    /// Records that the first `parsed` bytes of the owner's buffer are not read: they are lost.
    pub fn discard(&mut self, parsed: usize) {
        self.parsed = parsed;
    }

    /// Length of the unfinished segment at the end of `bytes`, as far as its header is there.
    #[inline]
    pub fn wanted(&self, bytes: &[u8]) -> usize {
        // A header that cannot be right was refused already.
        let header = SegmentHeader::parse(&bytes[self.parsed..]).ok().flatten();
        header.map_or(SEGMENT_HEADER_BYTES, SegmentHeader::segment_bytes)
    }
}
