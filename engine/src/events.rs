//! Events about the peers of a server, and about the server itself.

mod queue;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use queue::{EventQueue, UnreportedDrops};

use crate::callback::Callback;
use crate::link::{DownReason, DropReason, Pid};
use crate::wire::{RefusalReason, WireIncarnation};

/// Event about a peer, or about the server itself.
///
/// An application reads the events of its server in order. At most 1,024 wait to be read: see
/// [`Missed`](Event::Missed).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The link to the peer is up.
    Up {
        /// Pid of the peer.
        pid: Pid,
        /// Incarnation of the peer: a number that it draws anew at each start.
        incarnation: WireIncarnation,
    },
    /// The link to the peer is down. Envelopes to it wait in their outboxes, and are delivered when the link comes
    /// back.
    Down {
        /// Pid of the peer.
        pid: Pid,
        /// Reason for the loss of the link.
        reason: DownReason,
    },
    /// The peer has been restarted since the link was last up. Envelopes that its previous incarnation had not
    /// acknowledged are sent to the new one, except for those that were for the previous one alone
    /// (`Draft::only_incarnation`).
    Restarted {
        /// Pid of the peer.
        pid: Pid,
        /// New incarnation of the peer.
        incarnation: WireIncarnation,
    },
    /// The peer and this server disagreed about the positions of their streams. Both have started over from the
    /// acknowledged positions. An unknown number of envelopes may have been lost or delivered twice.
    ///
    /// Possible causes are a machine that was restored from a snapshot, and a process that impersonates the peer.
    Reset {
        /// Pid of the peer.
        pid: Pid,
    },
    /// The peer refuses the connection. The engine keeps dialing. A repeated refusal for one reason is reported only
    /// after this event was read, or after the link went up or down.
    Refused {
        /// Pid of the peer.
        pid: Pid,
        /// Reason for the refusal.
        reason: RefusalReason,
    },
    /// Envelopes that an outbox had accepted were given up. One event counts all drops of one peer and reason, until it
    /// is read or the peer goes up or down.
    Dropped {
        /// Pid of the peer.
        pid: Pid,
        /// Number of envelopes dropped since the last event of this peer and reason.
        count: u64,
        /// Reason for the drop.
        reason: DropReason,
    },
    /// The peer was added to this server while the server ran.
    Added {
        /// Pid of the peer.
        pid: Pid,
    },
    /// The peer was removed from this server. Envelopes that it had not acknowledged were given up: see
    /// [`Dropped`](Event::Dropped).
    Removed {
        /// Pid of the peer.
        pid: Pid,
    },
    /// Connections cannot be accepted at present, mostly for lack of file descriptors. The engine keeps trying. The
    /// event is not repeated before [`AcceptResumed`](Event::AcceptResumed).
    AcceptFailed {
        /// Error of the kernel, and its cure.
        error: String,
    },
    /// Connections are accepted again, and no accept has failed for a second.
    AcceptResumed,
    /// Peers cannot be dialed at present: this process or the machine has no file descriptor or no memory left for
    /// another socket. The engine keeps trying. The event is not repeated before [`DialResumed`](Event::DialResumed).
    DialFailed {
        /// Error of the kernel, and its cure.
        error: String,
    },
    /// Peers can be dialed again: none waits for a socket any more.
    DialResumed,
    /// Events were dropped, because more than 1,024 were unread.
    ///
    /// The newest dropped event of each kind follows: the state of each peer whose newest [`Up`](Event::Up) or
    /// [`Down`](Event::Down) was dropped, the last refusal by each peer, and the sums of the dropped
    /// [`Dropped`](Event::Dropped) events. After them come the events that were kept.
    Missed {
        /// Number of events dropped since the last `Missed`.
        count: u64,
    },
    /// The event loop of this server has failed, and the server has stopped with it. Received envelopes can still be
    /// read. `stop` returns the envelopes that were not delivered.
    EngineFailed {
        /// Description of the failure.
        message: String,
    },
    /// The server runs on epoll, because this kernel has no io_uring or forbids it to this process. Everything works;
    /// it costs more system calls. This is the first event of such a server, unless epoll was configured.
    EpollFallback {
        /// Rule that forbids io_uring, or part that it lacks, and the cure.
        reason: String,
    },
    /// Code of the application panicked when the engine called it. The engine caught the panic, and the server goes on.
    /// If the code was a waker, its future may not have been woken.
    CallbackPanicked {
        /// Kind of the code that panicked.
        callback: Callback,
        /// Number of panics of this code since the last event about it.
        count: u64,
        /// Message of the first of these panics.
        message: String,
    },
}

/// State of the link to a peer, and the time since it was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerState {
    /// State of the link.
    pub link: LinkState,
    /// Time since the link entered this state.
    pub elapsed: Duration,
}

/// State of the link to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// No connection has been made yet, and nothing was sent that needs one.
    Idle,
    /// The link has not been up yet. The peer is dialed, and dialed again after a pause.
    Connecting,
    /// The link is up, as [`Event::Up`] reports.
    Up {
        /// Incarnation of the peer.
        incarnation: WireIncarnation,
    },
    /// The link was up and is down, as [`Event::Down`] reports. The peer is dialed again, unless it has left and
    /// nothing waits to be sent to it.
    Down {
        /// Reason for the loss of the link.
        reason: DownReason,
    },
}
