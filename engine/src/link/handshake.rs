//! The handshake: what to say, whether to believe what is said, and where each stream goes on.

use std::time::Duration;

use super::heartbeat::HeartbeatTimes;
use super::incoming::InStream;
use super::{DownReason, Event, HANDSHAKE_TIMEOUT, Link, Notice, State};
use crate::time::Time;
use crate::wire::{
    Hello, LARGEST_POSITION, MAX_SEGMENT_PAYLOAD, NO_STREAM, Receiving, Refusal, RefusalReason, Sending,
    WireIncarnation,
};

/// The answer to a peer that has dialed us.
#[derive(Debug)]
pub enum Verdict {
    /// The link is up on the new connection, which is to send this `Welcome`; an older connection is to be closed.
    Welcome(Hello),
    /// The new connection is to send this, and to be closed.
    Refuse(Refusal),
}

impl Link {
    /// The dial has reached the peer: the `Hello` to send on it.
    pub fn connected(&mut self, now: Time) -> Hello {
        self.step(Event::Connected);
        self.absent = false;
        self.until = now + HANDSHAKE_TIMEOUT;
        self.hello()
    }

    /// The peer has dialed us and said `hello`.
    pub fn greeted(&mut self, hello: &Hello, now: Time) -> Verdict {
        let from = self.local.pid;
        let refuse = |reason| Verdict::Refuse(Refusal { reason, from });
        if hello.cluster != self.local.cluster {
            return refuse(RefusalReason::WrongCluster);
        }
        if hello.to != self.local.pid {
            return refuse(RefusalReason::WrongPid);
        }
        if hello.from != self.peer {
            return refuse(RefusalReason::UnknownPeer);
        }
        if self.replaced.contains(&hello.incarnation) {
            return refuse(RefusalReason::AlreadyConnected);
        }
        // Said before what we have heard since: the other half of a tie that is decided, or left over on a connection
        // that was accepted late. What it says of the streams is not true any more.
        if self.is_old_news(hello) {
            return refuse(RefusalReason::Tie);
        }
        if self.former.is_some() && self.incarnation != Some(hello.incarnation) {
            // Of two that cannot both be the latest, the one that has not shown that it is there gives way.
            self.hangup = true;
            self.lost(DownReason::Closed, now);
        }
        let same = self.incarnation == Some(hello.incarnation);
        match self.state {
            State::Closed => return refuse(RefusalReason::Stopping),
            // Both dial at once: the connection that the lower pid dialed is kept, if it came to be.
            State::Greeting if self.local.pid < self.peer => return refuse(RefusalReason::Tie),
            // Another process claims the pid of a peer that is alive.
            State::Up if !same && now.since(self.heard) < self.local.heartbeat_interval * 2 => {
                return refuse(RefusalReason::AlreadyConnected);
            }
            _ => {}
        }
        if !self.agrees(hello) {
            return refuse(RefusalReason::Malformed);
        }
        if !self.has_room_for(hello) {
            return refuse(RefusalReason::Unread);
        }
        if self.state == State::Up && self.announced {
            self.announce_end(DownReason::Closed);
        }
        self.hangup = false;
        self.step(Event::Accepted);
        self.settle(hello, now);
        Verdict::Welcome(self.hello())
    }

    /// The peer has answered our `Hello`. `false`: the answer makes no sense, and the connection is to be closed.
    pub fn welcomed(&mut self, welcome: &Hello, now: Time) -> bool {
        let expected =
            welcome.cluster == self.local.cluster && welcome.from == self.peer && welcome.to == self.local.pid;
        if self.state != State::Greeting || !expected || !self.agrees(welcome) || !self.has_room_for(welcome) {
            self.dial_failed(now);
            return false;
        }
        self.step(Event::Welcomed);
        self.settle(welcome, now);
        // It has answered, so it is there.
        self.announce();
        self.confirms = true;
        true
    }

    /// The peer has refused our `Hello`.
    pub fn refused(&mut self, refusal: Refusal, now: Time) {
        if self.step(Event::Refused) {
            // The peer is dialing us, or has a link to us that it takes to be alive: neither is news.
            if !matches!(refusal.reason, RefusalReason::Tie | RefusalReason::Stopping) {
                self.notices.push(Notice::Refused { reason: refusal.reason });
            }
            self.pause(now);
        }
    }

    fn hello(&mut self) -> Hello {
        self.greetings = self.greetings.saturating_add(1);
        Hello {
            from: self.local.pid,
            to: self.peer,
            incarnation: self.local.incarnation,
            known_incarnation: self.incarnation.unwrap_or_default(),
            max_envelope_bytes: self.local.max_envelope_bytes,
            window_bytes: self.local.window_bytes,
            peer_timeout_ms: u32::try_from(self.local.peer_timeout.as_millis()).unwrap_or(u32::MAX),
            features: 0,
            greeting: self.greetings,
            cluster: self.local.cluster.clone(),
            sending: self.outgoing.iter().map(|stream| Sending::new(stream.id(), stream.acked())).collect(),
            receiving: self.incoming.iter().map(InStream::entry).collect(),
        }
    }

    /// Returns whether the greeting makes sense, and the positions that it states are possible.
    fn agrees(&self, hello: &Hello) -> bool {
        let known = self.incarnation == Some(hello.incarnation);
        hello.incarnation != WireIncarnation::default()
            && (MAX_SEGMENT_PAYLOAD as u64..=LARGEST_POSITION).contains(&hello.window_bytes)
            && are_different(hello.sending.iter().map(|entry| entry.stream.get()))
            && are_different(hello.receiving.iter().map(|entry| entry.stream.get()))
            && hello.sending.iter().all(|entry| {
                // What has such a number could not be acknowledged: it stands for none there.
                if entry.stream.get() == NO_STREAM || !entry.position.get().is_multiple_of(8) {
                    return false;
                }
                let ours = self.incoming.iter().find(|stream| known && stream.id() == entry.stream.get());
                let ours = ours.filter(|stream| !stream.is_untouched());
                entry.position.get() <= ours.map_or(LARGEST_POSITION, InStream::received)
            })
            && hello.receiving.iter().all(|entry| {
                let ours = self.outgoing.iter().find(|stream| stream.id() == entry.stream.get());
                let position = entry.position.get();
                hello.known_incarnation != self.local.incarnation
                    || ours.is_none_or(|stream| {
                        // A receiver that has not received anything may have learned the position from an old greeting.
                        position <= stream.acked() || known && stream.can_resume(position)
                    })
            })
    }

    /// Takes over what the peer said: each stream goes on where the receiving side stands.
    fn settle(&mut self, hello: &Hello, now: Time) {
        if self.incarnation != Some(hello.incarnation) {
            self.set_aside(hello.incarnation);
        }
        self.heard_greeting = hello.greeting;
        self.session = self.session.wrapping_add(1);
        self.peer_window = hello.window_bytes;
        self.peer_limit = hello.max_envelope_bytes;
        let peer_timeout = Duration::from_millis(hello.peer_timeout_ms.into());
        self.heartbeats = HeartbeatTimes::for_peer(self.local.heartbeat_interval, peer_timeout);
        for stream in &mut self.outgoing {
            let entry = hello.receiving.iter().find(|entry| entry.stream.get() == stream.id());
            let entry = entry.filter(|_| hello.known_incarnation == self.local.incarnation);
            match entry.filter(|entry| stream.can_resume(entry.position.get())) {
                Some(entry) => stream.resume(entry.position.get(), entry.credit.get()),
                None => stream.restart(hello.window_bytes),
            }
        }
        if self.is_proven() {
            self.limit_streams();
        }
        // What the peer does not list has ended; what it lists further on than we have begun it, begins there.
        self.forget_incoming(|stream| {
            let listed = hello.sending.iter().find(|entry| entry.stream.get() == stream.id());
            listed.is_none_or(|entry| entry.position.get() > stream.received())
        });
        for entry in &hello.sending {
            if self.incoming.iter().all(|stream| stream.id() != entry.stream.get()) {
                self.open_incoming(entry.stream.get(), entry.position.get());
            }
        }
        for stream in &mut self.incoming {
            stream.reopen();
        }
        self.heard = now;
        self.draw_heartbeat(now);
        self.ack_due = None;
        self.ack_now = true;
        self.failures = 0;
        self.absent = false;
        self.confirms = false;
    }
}

/// Returns whether no stream is listed twice.
fn are_different(streams: impl Iterator<Item = u32>) -> bool {
    let mut streams: Vec<u32> = streams.collect();
    streams.sort_unstable();
    streams.windows(2).all(|pair| pair[0] != pair[1])
}

impl InStream {
    fn entry(&self) -> Receiving {
        Receiving::new(self.id(), self.received(), self.granted())
    }
}
