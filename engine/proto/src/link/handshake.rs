//! Handshake: the greetings, their validation, and the position at which each stream resumes (WIRE.md, sections
//! Handshake and Resuming).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::credit::RecvCredit;
use super::heartbeat::HeartbeatTimes;
use super::recv_stream::RecvStream;
use super::{DownReason, HANDSHAKE_TIMEOUT, Input, Link, Notice, State};
use crate::stream::{SendWindow, lane_of};
use crate::time::Time;
use crate::wire::{Hello, LARGEST_POSITION, NO_STREAM, Receiving, Refusal, RefusalReason, Sending, WireIncarnation};

/// Number of late greetings in a row that are refused even if the link has no live session (WIRE.md, section Handshake,
/// Late greetings).
const MOST_LATE: u32 = 3;
/// Number of incarnations of the peer of which the last Welcome is remembered. A forgotten one cannot be confirmed.
const MOST_WELCOMES: usize = 4;
/// Time that a dialer has, at least, to confirm the Welcome (WIRE.md, section Time). It may be busy with hundreds of
/// other dials, and regards itself as connected when it reads the Welcome.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// Greetings of a connection whose dialer has not confirmed yet.
///
/// Nothing of the Hello is believed before: it may come from a dead process whose successor is known already, or be the
/// replay of a recorded connection. So it belongs to the connection, and the link learns of it with the Confirm. The
/// Welcome has stated positions and credit, which must still be true then.
#[derive(Debug)]
pub(crate) struct Unconfirmed {
    hello: Hello,
    /// Set if both sides begin anew: this side forgets the dialer's streams, and the Welcome makes the dialer forget
    /// this side's.
    anew: bool,
    pub(crate) welcome: Hello,
    /// Number of the Welcome among those of this link.
    number: u64,
    /// Time between heartbeats that the dialer's timeout demands.
    pub(crate) heartbeat: Duration,
}

/// Last Welcome to an incarnation of the peer.
pub(super) struct LastWelcome {
    incarnation: WireIncarnation,
    /// Number of the Hello that was answered.
    greeting: u32,
    /// Number of the Welcome among those of this link.
    number: u64,
}

impl Link {
    /// Records that the dial has reached the peer. Returns the Hello to send.
    pub(crate) fn connected(&mut self, now: Time) -> Hello {
        self.step(Input::Connected);
        self.absent = false;
        self.until = now + HANDSHAKE_TIMEOUT;
        let hello = self.hello();
        self.begin_credit(&hello);
        hello
    }

    /// Answers the Hello of a peer that has dialed this server (WIRE.md, sections Handshake and Refusals). Its
    /// addresses are right, and it [makes sense](makes_sense).
    ///
    /// # Errors
    /// Returns the reason for which the Hello is refused.
    pub(crate) fn greeted(&mut self, hello: &Hello, now: Time) -> Result<Box<Unconfirmed>, RefusalReason> {
        if self.state == State::Closed {
            return Err(RefusalReason::Stopping);
        }
        if self.is_late(hello, now) {
            return Err(RefusalReason::Tie);
        }
        let same = self.incarnation == Some(hello.incarnation);
        match self.state {
            // Both sides dial at once: the connection dialed by the lower pid is kept, if it came to exist.
            State::Greeting if self.local.pid < self.peer => return Err(RefusalReason::Tie),
            // Another process claims the pid of a live peer.
            State::Up if !same && self.is_alive(now) => return Err(RefusalReason::AlreadyConnected),
            _ => {}
        }
        // The peer has left the present session, or the dial of this side loses. The session with another incarnation
        // goes on until the Confirm.
        if self.state != State::Up || same {
            let was_up = self.state == State::Up;
            if self.step(Input::Greeted) {
                self.hangup = true;
                self.until = now;
            }
            if was_up {
                self.announce_end(DownReason::Closed);
            }
        }
        if self.confirming == 0 && self.state == State::Idle {
            // Left by an earlier dialer, while no dial was due.
            self.hold = None;
        }
        self.hold.get_or_insert(now + self.confirm_timeout());
        self.confirming += 1;
        let anew = self.forgets || self.contradicts(hello);
        let mut welcome = self.hello();
        (welcome.known_incarnation, welcome.receiving) = match anew {
            true => Default::default(),
            false => (hello.incarnation, self.positions(hello)),
        };
        welcome.challenge = self.new_challenge();
        self.welcomed += 1;
        self.remember_welcome(hello);
        let mut hello = hello.clone();
        if anew {
            hello.known_incarnation = WireIncarnation::default();
        }
        let heartbeat = self.heartbeats_for(&hello).interval();
        Ok(Box::new(Unconfirmed { hello, anew, welcome, number: self.welcomed, heartbeat }))
    }

    /// Takes the Confirm of a dialer, after which the contents of its Hello are believed. Returns whether the link is
    /// up on this connection now; an older connection, or a dial, is over then. Otherwise the connection is to be
    /// closed: the challenge is wrong, or the Welcome is not true any more.
    pub(crate) fn confirmed(&mut self, unconfirmed: &Unconfirmed, challenge: Option<u64>, now: Time) -> bool {
        if challenge != Some(unconfirmed.welcome.challenge) || !self.is_true(unconfirmed, now) {
            self.unconfirmed(now);
            return false;
        }
        self.confirming -= 1;
        if self.state == State::Up {
            self.announce_end(DownReason::Closed);
        }
        self.hangup = false;
        self.step(Input::Accepted);
        self.begin_session(&unconfirmed.hello, now);
        self.void = unconfirmed.number;
        self.begin_credit(&unconfirmed.welcome);
        self.settle(&unconfirmed.hello);
        self.announce();
        true
    }

    /// Records that a connection has ended whose dialer was welcomed and has not confirmed.
    pub(crate) fn unconfirmed(&mut self, now: Time) {
        self.confirming -= 1;
        if self.confirming == 0
            && self.state == State::Waiting
            && let Some(hold) = self.hold
        {
            let pause = self.jittered_pause();
            self.until = self.until.max((now + pause).min(hold));
        }
    }

    /// Time that a dialer has to confirm the Welcome.
    pub(crate) fn confirm_timeout(&self) -> Duration {
        self.local.peer_timeout.max(CONFIRM_TIMEOUT)
    }

    /// Returns whether the Welcome would say the same now, except for streams that were opened since, and the greeting
    /// may still replace the present session.
    fn is_true(&self, Unconfirmed { hello, anew, welcome, number, .. }: &Unconfirmed, now: Time) -> bool {
        let same = self.incarnation == Some(hello.incarnation);
        let acked = |id| self.outgoing.iter().find(|stream| stream.id() == id).map(SendWindow::acked);
        self.state != State::Closed
            // A dialer that was welcomed before the last session or dial began has had its time, or it has left, or has
            // a successor. One that was welcomed again has left the older connection.
            && *number > self.void
            && self.last_welcome(hello.incarnation).is_some_and(|last| last.number == *number)
            && (same || !self.is_alive(now))
            && (*anew || !self.forgets && !self.contradicts(hello) && self.positions(hello) == welcome.receiving)
            && welcome.sending.iter().all(|entry| acked(entry.stream.get()) == Some(entry.position.get()))
            && self.recv_credit.iter().zip(welcome.credit).all(|(window, credit)| window.offer() >= credit)
    }

    /// Takes the peer's Welcome, whose addresses are right. Returns `false` if it is not acceptable: the connection is
    /// to be closed.
    pub(crate) fn welcomed(&mut self, welcome: &Hello, now: Time) -> bool {
        // If it contradicts this side's knowledge, the next greeting states that nothing is known of the peer.
        let contradicts = makes_sense(welcome) && self.contradicts(welcome);
        self.forgets |= contradicts;
        if self.state != State::Greeting || !makes_sense(welcome) || contradicts {
            self.dial_failed(now);
            return false;
        }
        self.step(Input::Welcomed);
        self.begin_session(welcome, now);
        self.settle(welcome);
        // The Welcome proves that the peer is present.
        self.announce();
        true
    }

    /// Takes the peer's refusal of the Hello.
    pub(crate) fn refused(&mut self, refusal: Refusal, now: Time) {
        if self.step(Input::Refused) {
            // The peer is dialing this server, or has a link to it that it regards as alive; or it is stopping. Neither
            // is news.
            if !matches!(refusal.reason, RefusalReason::Tie | RefusalReason::Stopping) {
                self.notices.push(Notice::Refused { reason: refusal.reason });
            }
            self.pause(now);
        }
    }

    fn hello(&mut self) -> Hello {
        self.greetings = self.greetings.saturating_add(1);
        let known = self.incarnation.filter(|_| !self.forgets);
        let incoming = if self.forgets { &[][..] } else { &self.incoming };
        Hello {
            from: self.local.pid,
            to: self.peer,
            incarnation: self.local.incarnation,
            known_incarnation: known.unwrap_or_default(),
            max_envelope_bytes: self.local.max_envelope_bytes,
            credit: self.recv_credit.each_ref().map(RecvCredit::offer),
            peer_timeout_ms: u32::try_from(self.local.peer_timeout.as_millis()).unwrap_or(u32::MAX),
            challenge: 0,
            features: 0,
            greeting: self.greetings,
            cluster: self.local.cluster.clone(),
            sending: self.outgoing.iter().map(|stream| Sending::new(stream.id(), stream.acked())).collect(),
            receiving: incoming.iter().map(RecvStream::entry).collect(),
        }
    }

    /// Returns a number that no other process can guess. It differs with each greeting.
    fn new_challenge(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.local.secret, self.local.incarnation, self.peer, self.greetings).hash(&mut hasher);
        hasher.finish()
    }

    /// Returns whether the peer of the session was heard within the last two heartbeat intervals.
    fn is_alive(&self, now: Time) -> bool {
        self.state == State::Up && now.since(self.heard) < self.local.heartbeat_interval * 2
    }

    /// Returns whether a greeting is older than one that was received before: it lost a tie that is already decided, or
    /// it waited on a connection that was accepted late (WIRE.md, section Handshake, Late greetings).
    ///
    /// After a few late greetings the next one is believed, unless the session is alive. A machine that was restored
    /// from a snapshot counts its greetings from an earlier number on.
    fn is_late(&mut self, hello: &Hello, now: Time) -> bool {
        let welcomed = self.last_welcome(hello.incarnation).map(|last| last.greeting);
        let heard = (self.incarnation == Some(hello.incarnation)).then_some(self.heard_greeting);
        if welcomed.max(heard).is_none_or(|last| hello.greeting > last) {
            return false;
        }
        if self.is_alive(now) {
            return true;
        }
        self.late = self.late.saturating_add(1);
        self.late <= MOST_LATE
    }

    /// Returns the last Welcome to an incarnation of the peer.
    fn last_welcome(&self, incarnation: WireIncarnation) -> Option<&LastWelcome> {
        self.welcomes.iter().find(|last| last.incarnation == incarnation)
    }

    fn remember_welcome(&mut self, hello: &Hello) {
        let incarnation = hello.incarnation;
        self.welcomes.retain(|last| last.incarnation != incarnation);
        if self.welcomes.len() >= MOST_WELCOMES {
            self.welcomes.remove(0);
        }
        self.welcomes.push(LastWelcome { incarnation, greeting: hello.greeting, number: self.welcomed });
    }

    /// Returns whether `receiving` in the greeting refers to this incarnation of the server.
    fn knows_us(&self, hello: &Hello) -> bool {
        hello.known_incarnation == self.local.incarnation
    }

    /// Returns whether positions in the greeting contradict what is known here (WIRE.md, section Resuming). Such a
    /// greeting comes from an outdated state of the peer, or another process has impersonated it.
    fn contradicts(&self, hello: &Hello) -> bool {
        let known = self.incarnation == Some(hello.incarnation);
        let lies_ahead = |entry: &Sending| {
            let ours = self.incoming.iter().find(|stream| stream.id() == entry.stream.get());
            // A stream of which nothing has arrived may have begun for this side's predecessor, which has acknowledged
            // more of it since the position was listed.
            ours.is_some_and(|stream| entry.position.get() > stream.received() && !stream.is_untouched())
        };
        let cannot_be = |entry: &Receiving| {
            let ours = self.outgoing.iter().find(|stream| stream.id() == entry.stream.get());
            let position = entry.position.get();
            // A receiver without any received bytes may know the position from an old greeting.
            ours.is_some_and(|stream| position > stream.acked() && !(known && stream.can_resume(position)))
        };
        self.knows_us(hello)
            && !self.forgets
            && (known && hello.sending.iter().any(lies_ahead) || hello.receiving.iter().any(cannot_be))
    }

    /// Returns the position expected next on each stream that the peer lists.
    fn positions(&self, hello: &Hello) -> Vec<Receiving> {
        let is_known = self.incarnation == Some(hello.incarnation) && self.knows_us(hello);
        hello.sending.iter().map(|entry| self.expected(entry, is_known)).collect()
    }

    /// Returns the position expected next on a stream that the peer lists. `known`: the bytes received of it stay
    /// valid.
    fn expected(&self, entry: &Sending, known: bool) -> Receiving {
        let ours = self.incoming.iter().find(|stream| known && stream.id() == entry.stream.get());
        let ours = ours.filter(|stream| entry.position.get() <= stream.received());
        Receiving::new(entry.stream.get(), ours.map_or(entry.position.get(), RecvStream::received))
    }

    /// Returns the heartbeats that the peer's timeout demands.
    fn heartbeats_for(&self, hello: &Hello) -> HeartbeatTimes {
        let peer_timeout = Duration::from_millis(hello.peer_timeout_ms.into());
        HeartbeatTimes::for_peer(self.local.heartbeat_interval, peer_timeout)
    }

    /// Begins a session on a new connection.
    fn begin_session(&mut self, hello: &Hello, now: Time) {
        self.session = self.session.wrapping_add(1);
        self.heartbeats = self.heartbeats_for(hello);
        self.heard = now;
        self.draw_heartbeat(now);
        (self.ack_due, self.ack_now) = (None, false);
        (self.failures, self.absent) = (0, false);
        self.hold = None;
    }

    /// Begins to count the credit that a greeting of this side has offered.
    fn begin_credit(&mut self, greeting: &Hello) {
        for (window, offered) in self.recv_credit.iter_mut().zip(greeting.credit) {
            window.begin(offered);
        }
    }

    /// Takes over the contents of the peer's greeting. Each stream resumes at the position of its receiver (WIRE.md,
    /// section Resuming).
    fn settle(&mut self, hello: &Hello) {
        let same = self.incarnation == Some(hello.incarnation);
        let knows_us = self.knows_us(hello);
        if !same || !knows_us || self.forgets {
            let resets = same && self.incoming.iter().any(|stream| !stream.is_untouched());
            if std::mem::take(&mut self.forgets) || resets {
                self.notices.push(Notice::Reset);
            }
            self.forget_incoming(|_| true);
        }
        self.incarnation = Some(hello.incarnation);
        self.heard_greeting = hello.greeting;
        self.late = 0;
        self.peer_limit = hello.max_envelope_bytes;
        for stream in &mut self.outgoing {
            let entry = hello.receiving.iter().find(|entry| entry.stream.get() == stream.id());
            let entry = entry.filter(|_| knows_us);
            match entry.filter(|entry| stream.can_resume(entry.position.get())) {
                Some(entry) => stream.resume(entry.position.get()),
                None => stream.restart(),
            }
        }
        for (window, credit) in self.send_credit.iter_mut().zip(hello.credit) {
            window.begin(credit);
        }
        for stream in self.outgoing.iter().filter(|stream| stream.is_inside_frame()) {
            self.send_credit[lane_of(stream.id()).index()].open = Some(stream.id());
        }
        if !same {
            self.outgoing.iter_mut().for_each(SendWindow::forget_sent);
        }
        self.limit_streams();
        // A stream that the peer does not list has ended. One that it lists beyond the received position begins anew
        // there.
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
        self.ack_now = true;
    }
}

/// Returns whether a greeting is well-formed.
pub(crate) fn makes_sense(hello: &Hello) -> bool {
    // A stream with the number `NO_STREAM` could not be acknowledged: in an acknowledgement that number stands for
    // none.
    let can_be = |entry: &Sending| {
        let position = entry.position.get();
        entry.stream.get() != NO_STREAM && position.is_multiple_of(8) && position <= LARGEST_POSITION
    };
    hello.incarnation != WireIncarnation::default()
        && hello.credit.iter().all(|credit| *credit <= LARGEST_POSITION)
        && are_different(hello.sending.iter().map(|entry| entry.stream.get()))
        && are_different(hello.receiving.iter().map(|entry| entry.stream.get()))
        && hello.sending.iter().all(can_be)
}

/// Returns whether no stream is listed twice.
fn are_different(streams: impl Iterator<Item = u32>) -> bool {
    let mut streams: Vec<u32> = streams.collect();
    streams.sort_unstable();
    streams.windows(2).all(|pair| pair[0] != pair[1])
}

impl RecvStream {
    fn entry(&self) -> Receiving {
        Receiving::new(self.id(), self.received())
    }
}
