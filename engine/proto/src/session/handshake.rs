//! Handshake of a session: greetings, their refusal, and the Confirm (WIRE.md, sections Handshake and Refusals).

use super::phase::{Greeted, Phase};
use super::{Session, SessionEvent};
use crate::link::{DownReason, Links, makes_sense};
use crate::time::Time;
use crate::wire::{
    Hello, Kind, MAX_HELLO_BYTES, Refusal, RefusalReason, SEGMENT_HEADER_BYTES, SegmentHeader, decode_challenge,
    encode_challenge,
};

/// Length of the payload of a Confirm in bytes.
pub(super) const CHALLENGE_BYTES: usize = 8;

impl<K: Copy> Session<K> {
    /// Records that the dial has reached the peer. The Hello is to be sent then. Returns `false` if the session has
    /// ended: nobody dials any more.
    pub fn connected<L: Links<Key = K>>(&mut self, links: &mut L, now: Time) -> bool {
        let Phase::Dialing(key) = self.phase else { return false };
        let Some(link) = links.get(key) else {
            self.phase = Phase::Ended;
            return false;
        };
        self.handshake = Some(Box::new((Kind::Hello, link.connected(now).encode())));
        self.phase = Phase::Greeting(key);
        true
    }

    /// Receives a segment of the handshake. Not inlined, to keep the path of a session that is up short.
    #[inline(never)]
    pub(super) fn receive_handshake<L: Links<Key = K>>(
        &mut self,
        bytes: &[u8],
        links: &mut L,
        now: Time,
    ) -> Option<SessionEvent<K>> {
        if matches!(self.phase, Phase::Ended | Phase::Dialing(_)) {
            return None;
        }
        let (header, payload) = match self.next_segment(bytes) {
            Ok(Some(segment)) => segment,
            Ok(None) => return self.refuse_long(bytes, links, now),
            Err(error) => return Some(self.malformed(&error, links, now)),
        };
        let payload = &bytes[payload];
        Some(match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Accepted { .. } => match self.greet(&header, payload, links, now) {
                Ok(event) => event,
                Err(reason) => self.refuse(reason, links),
            },
            Phase::Greeted(greeted) => self.confirm(*greeted, &header, payload, links, now),
            Phase::Greeting(key) => self.answered(key, &header, payload, links, now),
            Phase::Up(_) | Phase::Dialing(_) | Phase::Ended => return None,
        })
    }

    /// Receives the first segment of a peer that has dialed. The order of the reasons is that of WIRE.md, section
    /// Refusals.
    fn greet<L: Links<Key = K>>(
        &mut self,
        header: &SegmentHeader,
        payload: &[u8],
        links: &mut L,
        now: Time,
    ) -> Result<SessionEvent<K>, RefusalReason> {
        let hello = Some(header.kind()).filter(|kind| *kind == Kind::Hello).and_then(|_| Hello::decode(payload).ok());
        let hello = hello.filter(makes_sense).ok_or(RefusalReason::Malformed)?;
        let local = links.local();
        if hello.cluster != local.cluster {
            return Err(RefusalReason::WrongCluster);
        }
        if hello.to != local.pid {
            return Err(RefusalReason::WrongPid);
        }
        let key = links.find(hello.from).ok_or(RefusalReason::UnknownPeer)?;
        if links.is_stopping() {
            return Err(RefusalReason::Stopping);
        }
        if !links.is_reachable(key) {
            return Ok(SessionEvent::Closed(None));
        }
        let Some(link) = links.get(key) else { return Ok(SessionEvent::Closed(None)) };
        let unconfirmed = link.greeted(&hello, now)?;
        self.handshake = Some(Box::new((Kind::Welcome, unconfirmed.welcome.encode())));
        self.phase = Phase::Greeted(Box::new(Greeted {
            key,
            until: now + link.confirm_timeout(),
            heartbeat_at: now + unconfirmed.heartbeat,
            unconfirmed,
        }));
        Ok(SessionEvent::Welcomed(key))
    }

    /// Receives the first segment of a dialer after its Hello, which must repeat the challenge of the Welcome. A
    /// replayed connection cannot (WIRE.md, section Handshake).
    fn confirm<L: Links<Key = K>>(
        &mut self,
        greeted: Greeted<K>,
        header: &SegmentHeader,
        payload: &[u8],
        links: &mut L,
        now: Time,
    ) -> SessionEvent<K> {
        let challenge = decode_challenge(payload).filter(|_| header.kind() == Kind::Confirm);
        let Greeted { key, unconfirmed, .. } = greeted;
        if !links.get(key).is_some_and(|link| link.confirmed(&unconfirmed, challenge, now)) {
            return SessionEvent::Closed(Some(key));
        }
        self.phase = Phase::Up(key);
        SessionEvent::Established(key)
    }

    /// Receives the answer to this side's Hello.
    fn answered<L: Links<Key = K>>(
        &mut self,
        key: K,
        header: &SegmentHeader,
        payload: &[u8],
        links: &mut L,
        now: Time,
    ) -> SessionEvent<K> {
        let (pid, cluster) = (links.local().pid, links.local().cluster.clone());
        let Some(link) = links.get(key) else { return SessionEvent::Closed(None) };
        match header.kind() {
            Kind::Welcome => {
                let welcome = Hello::decode(payload).ok();
                let is_ours = |hello: &Hello| hello.cluster == cluster && hello.from == link.peer() && hello.to == pid;
                if let Some(welcome) = welcome.filter(is_ours)
                    && link.welcomed(&welcome, now)
                {
                    self.phase = Phase::Up(key);
                    self.handshake = Some(Box::new((Kind::Confirm, encode_challenge(welcome.challenge).to_vec())));
                    return SessionEvent::Established(key);
                }
            }
            Kind::Refuse => {
                if let Some(refusal) = Refusal::decode(payload) {
                    link.refused(refusal, now);
                }
            }
            _ => {}
        }
        link.lost(DownReason::Closed, now);
        SessionEvent::Closed(Some(key))
    }

    /// Refuses an unfinished segment that is longer than any valid one, before it has arrived.
    fn refuse_long<L: Links<Key = K>>(&mut self, bytes: &[u8], links: &mut L, now: Time) -> Option<SessionEvent<K>> {
        let payload = self.wanted(bytes) - SEGMENT_HEADER_BYTES;
        match self.phase {
            Phase::Accepted { .. } if payload > MAX_HELLO_BYTES => Some(self.refuse(RefusalReason::Malformed, links)),
            Phase::Greeted(_) if payload > CHALLENGE_BYTES => Some(self.close_for(DownReason::Closed, links, now)),
            _ => None,
        }
    }

    pub(super) fn refuse<L: Links<Key = K>>(&mut self, reason: RefusalReason, links: &L) -> SessionEvent<K> {
        let refusal = Refusal { reason, from: links.local().pid };
        self.handshake = Some(Box::new((Kind::Refuse, refusal.encode().to_vec())));
        self.phase = Phase::Ended;
        SessionEvent::Refused
    }
}
