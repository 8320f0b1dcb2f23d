//! The protocol of one peer: handshake, positions, acknowledgements, credit, heartbeats, reconnect.
//!
//! Pure: no socket, no thread, no clock. Whoever owns those (the shard; a simulator) tells the link what happened and
//! when, sends what [`Link::transmit`] gives it, does what [`Link::wants`] asks for, and calls back at
//! [`Link::deadline`].

mod account;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod coverage;
mod credit;
mod earlier;
mod handshake;
mod heartbeat;
mod local;
mod notice;
mod receive;
mod recv_stream;
mod state;
#[cfg(test)]
mod tests;
mod transmit;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use account::LinkAccount;
pub use account::Undelivered;
pub use credit::{Consumption, RecvCredit};
pub use earlier::EarlierLink;
pub use handshake::Verdict;
pub use local::{BROADCAST, Local, Pid};
pub use notice::{Delivery, DownReason, DropReason, Notice, Want};
pub use recv_stream::{Arrival, RecvShared, RecvStream, Violation};
pub use state::{Input, State, TRANSITIONS};

use credit::SendCredit;
use handshake::Pending;
use heartbeat::HeartbeatTimes;

use crate::batch::Batch;
use crate::stream::{Buffers, Lane, SendWindow};
use crate::time::Time;
use crate::wire::{GoodbyeReason, MAX_STREAMS, WireIncarnation};

/// How long a dial, or a greeting, may go without an answer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time in which a peer that has dialed us has to show that it has read our answer.
const FIRST_WORD_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the first redial; it doubles up to [`LONGEST_PAUSE`]. Both are jittered.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Time for which the higher pid leaves it to the lower one to dial: see [`Link::wants`].
const DIAL_DELAY: Duration = Duration::from_millis(50);
/// Memory of long envelopes that was not used for so long is given back: a little at each step, for that keeps others
/// waiting.
const SPARE_TIME: Duration = Duration::from_secs(10);
const TRIM_STEP: Duration = Duration::from_millis(250);
/// One peer, as one server sees it.
///
/// The fields that an idle link reads and writes stand first and together, in this order: with thousands of links each
/// line of it comes from memory.
#[repr(C)]
pub struct Link {
    state: State,
    /// The application has been told that the link is up. Not before the peer has shown that it is there: who dialed us
    /// may have gone away long before we accepted.
    announced: bool,
    ack_now: bool,
    /// The next segment asks for an acknowledgement.
    ack_requested: bool,
    hangup: bool,
    /// Something came since the last look that may be followed by a segment of ours, or by an earlier deadline.
    needs_look: bool,
    /// The last dial reached nobody, or the peer has left.
    absent: bool,
    /// The peer has contradicted what is known of it: our next greeting says that we know nothing of it.
    forgets: bool,
    /// When the peer was last heard.
    heard: Time,
    /// When a heartbeat is due, unless something else is sent before.
    heartbeat_at: Time,
    heartbeats: HeartbeatTimes,
    jitter: u64,
    local: Arc<Local>,
    /// The greeting of this session's dialer, until that has shown that it is there. Nothing else is taken from it
    /// before.
    pending: Option<Box<Pending>>,
    /// The challenge that a dialer has to repeat as soon as it is welcome, to show that it is there.
    confirms: Option<u64>,
    ack_due: Option<Time>,
    /// When memory of long envelopes that is not used is to be given back.
    trim_at: Time,
    /// Number of times that this link has had something to send, and of segments that this took.
    sends: u64,
    segments: u64,
    notices: Vec<Notice>,
    peer: Pid,
    /// The peer's incarnation, once met.
    incarnation: Option<WireIncarnation>,
    /// The incarnation that the application was told of last.
    told: Option<WireIncarnation>,
    /// Late greetings in a row.
    late: u32,
    /// The number of the last session with the peer.
    session: u32,
    /// How often we have greeted the peer, in a Hello or a Welcome.
    greetings: u32,
    /// The number of the peer's last greeting that made a session.
    heard_greeting: u32,
    outgoing: Vec<SendWindow>,
    /// Envelopes that were acknowledged on streams that have ended, and on earlier links.
    acknowledged_before: u64,
    incoming: Vec<RecvStream>,
    /// Where long frames are put together.
    buffers: Arc<Buffers>,
    /// Flow control of what comes in, and of what goes out, by lane.
    recv_credit: [RecvCredit; Lane::COUNT],
    send_credit: [SendCredit; Lane::COUNT],
    /// The index of the stream that sends first, so that each has its turn.
    first: usize,
    /// Longest payload that the peer accepts, in bytes.
    peer_limit: u64,
    /// When the next dial is due (`Waiting`), or the present one given up (`Dialing`, `Greeting`).
    until: Time,
    /// When a link without a connection is to be dialed; set when it first needs one.
    dial_at: Option<Time>,
    failures: u32,
    /// Incoming streams that are new since the last look.
    opened: Vec<Arc<RecvShared>>,
}

impl Link {
    /// A link to `peer` that is not connected.
    pub fn new(local: Arc<Local>, peer: Pid) -> Link {
        let seed = u64::from_le_bytes(*local.incarnation.first_chunk().unwrap_or(&[1; 8]));
        let window_bytes = local.window_bytes;
        Link {
            heartbeat_at: Time::default(),
            heartbeats: HeartbeatTimes::new(local.heartbeat_interval),
            local,
            peer,
            state: State::Idle,
            incarnation: None,
            announced: false,
            told: None,
            confirms: None,
            pending: None,
            late: 0,
            forgets: false,
            session: 0,
            greetings: 0,
            heard_greeting: 0,
            outgoing: Vec::new(),
            acknowledged_before: 0,
            sends: 0,
            segments: 0,
            incoming: Vec::new(),
            buffers: Buffers::new(),
            trim_at: Time::default(),
            recv_credit: Lane::ALL.map(|lane| RecvCredit::of_lane(window_bytes, lane)),
            send_credit: Default::default(),
            first: 0,
            peer_limit: u64::MAX,
            heard: Time::default(),
            ack_due: None,
            ack_now: false,
            ack_requested: false,
            until: Time::default(),
            dial_at: None,
            failures: 0,
            absent: false,
            jitter: (seed ^ peer.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1,
            hangup: false,
            needs_look: false,
            notices: Vec::new(),
            opened: Vec::new(),
        }
    }

    /// The peer's pid.
    pub fn peer(&self) -> Pid {
        self.peer
    }

    /// Where the link stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The number of the last session with the peer.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Incarnation of the peer in the present session, or in the last one. All zero if there was none.
    #[inline]
    pub fn incarnation(&self) -> WireIncarnation {
        self.incarnation.unwrap_or_default()
    }

    /// What has to be told to the application since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Whether there is anything to tell.
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// The incoming streams that are new since the last call.
    pub fn take_opened(&mut self) -> Vec<Arc<RecvShared>> {
        std::mem::take(&mut self.opened)
    }

    /// Returns whether something came since the last call after which there may be something to do: anything but a mere
    /// heartbeat.
    #[inline]
    pub fn take_needs_look(&mut self) -> bool {
        std::mem::take(&mut self.needs_look) || self.ack_due.is_some() || self.ack_now
    }

    /// Returns whether this session may carry streams: the other end has shown that it is there.
    #[inline]
    pub fn is_proven(&self) -> bool {
        self.pending.is_none()
    }

    /// Takes over a stream that an outbox has opened to this peer.
    pub fn open(&mut self, mut stream: SendWindow) {
        // Whoever opens streams counts them: what is written to one that is refused here would be lost.
        debug_assert!(self.outgoing.len() < MAX_STREAMS, "more streams than a greeting can name");
        if self.state == State::Up {
            stream.restart();
            if self.is_proven() {
                stream.set_limit(self.peer_limit());
                stream.set_incarnation(self.incarnation());
            }
            // The sender may have asked before the loop came to know of the stream.
            self.ack_requested |= stream.take_ack_request();
        }
        self.outgoing.push(stream);
    }

    /// Bytes that the peer may send before the application has read them.
    pub fn inbox_bytes(&self) -> u64 {
        self.local.window_bytes
    }

    /// Longest payload that the peer accepts, in bytes, if that is less than this server sends.
    pub fn peer_limit(&self) -> Option<u64> {
        Some(self.peer_limit).filter(|limit| *limit < self.local.max_envelope_bytes)
    }

    /// Applies the peer's limit and incarnation to the streams, once the peer has shown that it is there.
    fn limit_streams(&mut self) {
        let (limit, incarnation) = (self.peer_limit(), self.incarnation());
        for stream in &mut self.outgoing {
            stream.set_limit(limit);
            stream.set_incarnation(incarnation);
        }
    }

    /// The streams to this peer.
    pub fn outgoing(&mut self) -> &mut [SendWindow] {
        &mut self.outgoing
    }

    /// Streams in both directions.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn streams(&self) -> usize {
        self.outgoing.len() + self.incoming.len()
    }

    /// Whether everything that was written to this peer is acknowledged.
    pub fn is_drained(&mut self) -> bool {
        self.outgoing.iter_mut().all(SendWindow::is_drained)
    }

    /// How many envelopes the peer has acknowledged, at least. Walks those that it has not.
    pub fn acknowledged_messages(&mut self) -> u64 {
        self.acknowledged_before + self.outgoing.iter_mut().map(SendWindow::acknowledged).sum::<u64>()
    }

    /// How much there is on both sides of the link. Walks what is not acknowledged.
    pub(crate) fn account(&mut self) -> LinkAccount {
        LinkAccount {
            pid: self.peer,
            acknowledged: self.acknowledged_messages(),
            bytes_held: self.outgoing.iter_mut().map(SendWindow::held).sum(),
            bytes_unread: self.unread(),
            sends: self.sends,
            segments: self.segments,
        }
    }

    /// Whether a stop should wait for this peer: it has something undelivered, and is not known to be absent.
    pub fn is_draining(&mut self) -> bool {
        !self.absent && self.state != State::Closed && !self.is_drained()
    }

    /// What the link wants now. `Hangup` is asked for once, `Dial` until the link is told that it [is
    /// dialed](Link::dials).
    ///
    /// So that not every pair makes two connections to close one of them, the higher pid leaves it to the lower one to
    /// dial, for at most 50 ms, if both are likely to want to: where links are eager, or `many_dials` are pending.
    pub fn wants(&mut self, now: Time, many_dials: bool) -> Want {
        if std::mem::take(&mut self.hangup) {
            return Want::Hangup;
        }
        let state = self.state;
        let due = match state {
            State::Idle if self.is_drained() && (!self.local.eager || self.absent) => {
                self.dial_at = None;
                false
            }
            State::Idle => {
                let leaves_it = self.peer < self.local.pid && (self.local.eager || many_dials);
                let handicap = if leaves_it { DIAL_DELAY } else { Duration::ZERO };
                now >= *self.dial_at.get_or_insert(now + handicap)
            }
            State::Waiting => now >= self.until,
            _ => false,
        };
        if due { Want::Dial } else { Want::Nothing }
    }

    /// Returns whether what there is to send waits for a dial that is under way, or that a timer or the end of another
    /// dial will begin.
    pub fn waits_for_dial(&self) -> bool {
        match self.state {
            State::Up => false,
            State::Idle => self.dial_at.is_some(),
            State::Dialing | State::Greeting | State::Waiting | State::Closed => true,
        }
    }

    /// The peer is dialed now, as the link [wants](Link::wants).
    pub fn dials(&mut self, now: Time) {
        self.step(if self.state == State::Idle { Input::Need } else { Input::RetryDue });
        self.until = now + HANDSHAKE_TIMEOUT;
    }

    /// When [`timeout`](Link::timeout) is to be called next; `None`: not until something happens.
    pub fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Idle => self.dial_at,
            State::Closed => None,
            State::Dialing | State::Greeting | State::Waiting => Some(self.until),
            State::Up => {
                // What waits for credit is dropped when it expires; what does not wait is gone already.
                let starved = self.outgoing.iter().filter(|stream| stream.is_starved() && self.is_proven());
                let expiry = starved.filter_map(SendWindow::next_expiry).min();
                [Some(self.next_heartbeat()), self.ack_due, expiry].into_iter().flatten().min()
            }
        }
    }

    /// As [`deadline`](Link::deadline), while the last batch is still being sent: nothing can be said before that ends,
    /// so that only what is heard, or not heard, has a deadline.
    pub fn deadline_of_silence(&self) -> Option<Time> {
        match self.state {
            State::Up => Some(self.silent_at()),
            _ => self.deadline(),
        }
    }

    /// Looks at the time. Afterwards [`wants`](Link::wants) and [`transmit`](Link::transmit) say what there is to do.
    ///
    /// What had arrived before `caught_up` must have been handed to the link already: a peer is not silent that was not
    /// listened to, and a dial is not without an answer that may wait to be read.
    pub fn timeout(&mut self, now: Time, caught_up: Time) {
        match self.state {
            State::Dialing | State::Greeting if now >= self.until && caught_up >= self.until => {
                self.hangup = true;
                self.dial_failed(now);
            }
            State::Up if caught_up >= self.silent_at() => {
                self.hangup = true;
                self.lost(DownReason::Silent, now);
            }
            _ => {}
        }
        if now >= self.trim_at {
            self.trim(now);
        }
    }

    /// When the peer counts as silent, if nothing more comes.
    #[inline]
    fn silent_at(&self) -> Time {
        let timeout = self.local.peer_timeout;
        // Who has dialed us may be busy with hundreds of other dials: it takes itself to be connected when it comes to
        // our answer.
        let unheard = self.pending.as_ref().is_some_and(|pending| {
            // A newcomer is given no more time than the peer that it is to replace.
            self.incarnation.is_none_or(|known| known == pending.hello.incarnation)
        });
        self.heard + if unheard { timeout.max(FIRST_WORD_TIMEOUT) } else { timeout }
    }

    fn trim(&mut self, now: Time) {
        let mut more = self.buffers.trim();
        for stream in &self.outgoing {
            more |= stream.trim();
        }
        self.trim_at = now + if more { TRIM_STEP } else { SPARE_TIME };
    }

    /// Our own process did not run for `gap`: what the peers sent meanwhile may still be on its way to us.
    pub fn slept(&mut self, gap: Duration) {
        self.heard += gap;
        self.until += gap;
    }

    /// The dial came to nothing.
    pub fn dial_failed(&mut self, now: Time) {
        if self.step(Input::Failed) {
            self.absent = true;
            self.pause(now);
        }
    }

    /// The connection that the link had ended.
    pub fn lost(&mut self, reason: DownReason, now: Time) {
        match self.state {
            State::Dialing | State::Greeting => self.dial_failed(now),
            State::Up => {
                self.absent = matches!(reason, DownReason::Stopped | DownReason::Removed);
                if self.absent {
                    // Nothing wakes the link for this any more.
                    self.buffers = Buffers::new();
                    self.outgoing.iter().for_each(SendWindow::give_back_spare);
                }
                self.step(if self.absent { Input::PeerLeft } else { Input::Lost });
                self.announce_end(reason);
                self.ack_due = None;
                self.ack_now = false;
                self.failures = 0;
                self.pause(now);
            }
            State::Idle | State::Waiting | State::Closed => {}
        }
    }

    /// Ends the link for good, with a goodbye for the peer if there is a connection to say it on.
    pub fn close(&mut self, reason: GoodbyeReason, batch: &mut Batch) {
        if self.state == State::Up {
            self.transmit_goodbye(reason, batch);
        }
        self.step(Input::Close);
    }

    /// Bytes in the inbox that the application has not taken.
    fn unread(&self) -> u64 {
        self.recv_credit.iter().map(RecvCredit::unread).sum()
    }

    /// Somebody waits for what was sent to be acknowledged: asks the peer for it.
    pub fn request_ack(&mut self) {
        for stream in &self.outgoing {
            stream.take_ack_request();
        }
        self.ack_requested = self.state == State::Up && !self.is_drained();
    }

    /// The inbox has taken envelopes, and the peer may be out of credit.
    pub fn consumed(&mut self) {
        if self.state == State::Up {
            for window in &self.recv_credit {
                self.ack_now |= window.look();
            }
        }
    }

    /// A number from 0 to below `limit`.
    fn random(&mut self, limit: u64) -> u64 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        (self.jitter >> 32) % limit
    }

    /// The peer is there: tells so, once in a session.
    #[inline]
    fn announce(&mut self) {
        if !std::mem::replace(&mut self.announced, true) {
            self.announce_now();
        }
    }

    #[cold]
    fn announce_now(&mut self) {
        let Some(incarnation) = self.incarnation else { return };
        if self.told.replace(incarnation).is_some_and(|told| told != incarnation) {
            self.notices.push(Notice::Restarted { incarnation });
        }
        self.notices.push(Notice::Up { incarnation });
    }

    /// The session is over: tells so if its beginning was told.
    fn announce_end(&mut self, reason: DownReason) {
        self.pending = None;
        if std::mem::take(&mut self.announced) {
            self.notices.push(Notice::Down { reason });
        }
    }

    fn step(&mut self, event: Input) -> bool {
        match self.state.after(event) {
            Some(next) => {
                #[cfg(any(test, feature = "simulation"))]
                coverage::took(self.state, event);
                self.state = next;
                true
            }
            None => false,
        }
    }

    /// Sets the time of the next dial. Of two that lost each other, the lower pid, whose connection is kept when both
    /// dial at once, goes first.
    fn pause(&mut self, now: Time) {
        self.give_up_stale(now);
        let pause = (FIRST_PAUSE * (1 << self.failures.min(10))).min(LONGEST_PAUSE);
        self.failures += 1;
        let jittered = pause.mul_f64(0.5 + self.random(1000) as f64 / 2000.0);
        let handicap = if self.peer < self.local.pid { DIAL_DELAY / 2 } else { Duration::ZERO };
        self.dial_at = None;
        self.until = now + jittered + handicap;
    }
}

#[cfg(any(test, feature = "simulation"))]
impl std::fmt::Display for Link {
    /// The state of the link and of its streams, for whoever looks for a fault.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "to {} {:?} until {:?}, proven: {}", self.peer, self.state, self.until, self.is_proven())?;
        for stream in &self.outgoing {
            write!(f, ", {}: sent {} acked {}", stream.id(), stream.sent(), stream.acked())?;
        }
        for stream in &self.incoming {
            write!(f, ", from it {stream}")?;
        }
        write!(f, ", {:?} {:?}", self.send_credit, self.recv_credit)
    }
}
