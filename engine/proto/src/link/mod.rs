//! Links: the protocol between this server and one peer.
//!
//! Handshake, stream positions, acknowledgements, credit, heartbeats, reconnect.
//!
//! A link is pure: it has no socket, no thread and no clock. It lasts as long as the peer is configured, while
//! connections come and go: a [`Session`](crate::session::Session) carries it over one of them. Its owner (the shard,
//! or a simulator) does what [`Link::wants`] asks for, and calls [`Link::timeout`] at [`Link::deadline`].

mod account;
#[cfg(any(test, feature = "simulation"))]
pub mod coverage;
mod credit;
mod dialing;
mod earlier;
mod handshake;
mod heartbeat;
mod links;
mod local;
mod notice;
mod outgoing;
mod receive;
mod recv_stream;
mod state;
#[cfg(test)]
mod tests;
mod transmit;

use std::sync::Arc;
use std::time::Duration;

pub use account::LinkAccount;
pub use account::Undelivered;
pub use credit::{Consumption, RecvCredit};
pub use earlier::EarlierLink;
pub(crate) use handshake::{Unconfirmed, makes_sense};
pub use links::{Links, OneLink};
pub use local::{BROADCAST, Local, Pid};
pub use notice::{Delivery, DownReason, DropReason, Notice, Want};
pub use recv_stream::{Arrival, RecvShared, RecvStream, Violation};
pub use state::{Input, State, TRANSITIONS};

use credit::SendCredit;
use handshake::LastWelcome;
use heartbeat::HeartbeatTimes;

use crate::batch::Batch;
use crate::stream::{Buffers, Lane, SendWindow};
use crate::time::Time;
use crate::wire::{GoodbyeReason, WireIncarnation};

/// Time without an answer after which a dial, or a Hello, has failed: 2 seconds (WIRE.md, section Handshake).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time without use after which memory of long envelopes is freed. It is freed in small steps, one every [`TRIM_STEP`],
/// because a step delays other links.
const SPARE_TIME: Duration = Duration::from_secs(10);
const TRIM_STEP: Duration = Duration::from_millis(250);
/// Link of a server to one peer: the delivery in both directions, over all connections with the peer.
///
/// It is pure: its owner passes the time in, does what [`wants`](Link::wants) returns, and calls
/// [`timeout`](Link::timeout) at [`deadline`](Link::deadline).
// The fields that an idle link reads and writes come first, in this order: with thousands of links, each cache line of
// a link has to be loaded from memory.
#[repr(C)]
pub struct Link {
    state: State,
    ack_now: bool,
    /// Set if the next transmit requests an acknowledgement.
    ack_requested: bool,
    hangup: bool,
    /// Set if something was received since the last call of `take_needs_look` that may cause a segment to be sent, or
    /// an earlier deadline.
    needs_look: bool,
    /// Set if the last dial failed, or the peer has said goodbye.
    absent: bool,
    /// Set if the peer has contradicted what this side knows of it. The next greeting then states that nothing is known
    /// of the peer (WIRE.md, section Resuming).
    forgets: bool,
    /// Time at which the last segment of the peer was received.
    heard: Time,
    /// Time at which the next heartbeat is due, unless something else is sent before.
    heartbeat_at: Time,
    heartbeats: HeartbeatTimes,
    jitter: u64,
    local: Arc<Local>,
    ack_due: Option<Time>,
    /// Time at which unused memory of long envelopes is freed next.
    trim_at: Time,
    /// Number of times that this link had something to send, and number of segments sent.
    sends: u64,
    segments: u64,
    notices: Vec<Notice>,
    peer: Pid,
    /// Incarnation of the peer. `None` before the first session.
    incarnation: Option<WireIncarnation>,
    /// Incarnation of the peer that the application was last told of.
    told: Option<WireIncarnation>,
    /// Number of late greetings in a row.
    late: u32,
    /// Number of the last session with the peer, which wraps.
    session: u32,
    /// Number of greetings, Hellos and Welcomes, that this server has made for the peer.
    greetings: u32,
    /// Number of the peer's last greeting that made a session.
    heard_greeting: u32,
    /// Last Welcomes to incarnations of the peer, oldest first.
    welcomes: Vec<LastWelcome>,
    /// Number of Welcomes of this link, and the number up to which they cannot be confirmed any more.
    welcomed: u64,
    void: u64,
    /// Number of connections whose dialer was welcomed and has not confirmed. They keep this side from dialing, but not
    /// beyond `hold`.
    confirming: u32,
    /// Time until which such connections may keep this side from dialing. Set by the first one since the last dial.
    hold: Option<Time>,
    outgoing: Vec<SendWindow>,
    /// Number of envelopes acknowledged on streams that have ended, and on earlier links to the peer.
    acknowledged_before: u64,
    incoming: Vec<RecvStream>,
    /// Memory in which long frames are assembled.
    buffers: Arc<Buffers>,
    /// Flow control of the incoming and of the outgoing streams, by lane.
    recv_credit: [RecvCredit; Lane::COUNT],
    send_credit: [SendCredit; Lane::COUNT],
    /// Index of the stream that sends first. It moves on with each batch, so that each stream has its turn.
    first: usize,
    /// Longest payload that the peer accepts, in bytes.
    peer_limit: u64,
    /// Time at which the next dial is due (`Waiting`), or the present dial has failed (`Dialing`, `Greeting`).
    until: Time,
    /// Time at which an idle link is to be dialed. Set when the link first needs a connection.
    dial_at: Option<Time>,
    failures: u32,
    /// Incoming streams that are new since the last call of `take_opened`.
    opened: Vec<Arc<RecvShared>>,
}

impl Link {
    /// Makes a link to `peer`. It is not connected.
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
            told: None,
            welcomes: Vec::new(),
            welcomed: 0,
            void: 0,
            confirming: 0,
            hold: None,
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

    /// Pid of the peer.
    #[inline]
    pub fn peer(&self) -> Pid {
        self.peer
    }

    /// State of the link.
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    /// Number of the last session with the peer.
    #[inline]
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Incarnation of the peer in the present session, or in the last one. All zero if there was none.
    #[inline]
    pub fn incarnation(&self) -> WireIncarnation {
        self.incarnation.unwrap_or_default()
    }

    /// Takes the notices for the application that were made since the last call.
    #[inline]
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Returns whether there are notices for the application.
    #[inline]
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Takes the incoming streams that are new since the last call.
    #[inline]
    pub fn take_opened(&mut self) -> Vec<Arc<RecvShared>> {
        std::mem::take(&mut self.opened)
    }

    /// Returns whether the link needs to be looked at: something other than a plain heartbeat was received since the
    /// last call, or an acknowledgement is owed.
    #[inline]
    pub fn take_needs_look(&mut self) -> bool {
        std::mem::take(&mut self.needs_look) || self.ack_due.is_some() || self.ack_now
    }

    /// Bytes that the peer may send before the application has read them.
    #[inline]
    pub fn inbox_bytes(&self) -> u64 {
        self.local.window_bytes
    }

    /// Time at which [`timeout`](Link::timeout) is to be called next. `None` if no deadline is pending.
    pub fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Idle => self.dial_at.max(self.dial_at.and(self.held_until())),
            State::Waiting => Some(self.until).max(self.held_until()),
            State::Closed => None,
            State::Dialing | State::Greeting => Some(self.until),
            State::Up => {
                // An envelope that waits for credit is dropped when it expires. One that does not wait has been sent
                // already.
                let starved = self.outgoing.iter().filter(|stream| stream.is_starved());
                let expiry = starved.filter_map(SendWindow::next_expiry).min();
                [Some(self.next_heartbeat()), self.ack_due, expiry].into_iter().flatten().min()
            }
        }
    }

    /// Returns the [`deadline`](Link::deadline) of a link whose last batch is still being sent. Nothing else can be
    /// sent before that batch, so the only deadline of a session is that of the peer's silence.
    pub fn deadline_of_silence(&self) -> Option<Time> {
        match self.state {
            State::Up => Some(self.silent_at()),
            _ => self.deadline(),
        }
    }

    /// Processes the deadlines that have passed. Afterwards [`wants`](Link::wants) and
    /// [`Session::transmit`](crate::session::Session::transmit) return the work to do.
    ///
    /// Everything that had arrived before `caught_up` must have been handed to the link already. A peer does not count
    /// as silent, nor a dial as unanswered, while received segments may wait to be read.
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

    /// Returns the time at which the peer counts as silent if no further segment is received.
    #[inline]
    fn silent_at(&self) -> Time {
        self.heard + self.local.peer_timeout
    }

    fn trim(&mut self, now: Time) {
        let mut more = self.buffers.trim();
        for stream in &self.outgoing {
            more |= stream.trim();
        }
        self.trim_at = now + if more { TRIM_STEP } else { SPARE_TIME };
    }

    /// Shifts the deadlines because this process did not run for `gap`: segments that the peer sent meanwhile may still
    /// be on their way.
    pub fn slept(&mut self, gap: Duration) {
        self.heard += gap;
        self.until += gap;
        self.hold = self.hold.map(|hold| hold + gap);
    }

    /// Records that the connection of the link has ended.
    pub(crate) fn lost(&mut self, reason: DownReason, now: Time) {
        match self.state {
            State::Dialing | State::Greeting => self.dial_failed(now),
            State::Up => {
                // Left by a dialer during the session.
                self.hold = None;
                self.absent = matches!(reason, DownReason::Stopped | DownReason::Removed);
                if self.absent {
                    // No timer wakes the link to free this memory any more.
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

    /// Closes the link for good. Appends a Goodbye to `batch` if the link is up, and returns whether it was.
    pub fn close(&mut self, reason: GoodbyeReason, batch: &mut Batch) -> bool {
        let is_up = self.state == State::Up;
        if is_up {
            self.transmit_goodbye(reason, batch);
        }
        self.step(Input::Close);
        is_up
    }

    /// Bytes in the inbox that the application has not taken.
    fn unread(&self) -> u64 {
        self.recv_credit.iter().map(RecvCredit::unread).sum()
    }

    /// Records that the application has taken envelopes, so that the peer may be granted credit.
    pub fn consumed(&mut self) {
        if self.state == State::Up {
            for window in &self.recv_credit {
                self.ack_now |= window.look();
            }
        }
    }

    /// Tells the application that the link is up.
    fn announce(&mut self) {
        let Some(incarnation) = self.incarnation else { return };
        if self.told.replace(incarnation).is_some_and(|told| told != incarnation) {
            self.notices.push(Notice::Restarted { incarnation });
        }
        self.notices.push(Notice::Up { incarnation });
    }

    /// Tells the application that the session has ended.
    fn announce_end(&mut self, reason: DownReason) {
        self.notices.push(Notice::Down { reason });
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
}

#[cfg(any(test, feature = "simulation"))]
impl std::fmt::Display for Link {
    /// Prints the state of the link and of its streams, for debugging.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "to {} {:?} until {:?}, {} to confirm", self.peer, self.state, self.until, self.confirming)?;
        for stream in &self.outgoing {
            write!(f, ", {}: sent {} acked {}", stream.id(), stream.sent(), stream.acked())?;
        }
        for stream in &self.incoming {
            write!(f, ", from it {stream}")?;
        }
        write!(f, ", {:?} {:?}", self.send_credit, self.recv_credit)
    }
}
