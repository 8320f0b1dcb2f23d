//! What a server is told about its peers.

mod queue;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use queue::{EventQueue, UntoldDrops};

use crate::callback::Callback;
use crate::link::{DownReason, DropReason, Pid};
use crate::wire::{RefusalReason, WireIncarnation};

/// Something that happened to a peer, or to the server itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The link to the peer is up.
    Up {
        /// The peer.
        pid: Pid,
        /// Drawn anew each time the peer starts.
        incarnation: WireIncarnation,
    },
    /// The link to the peer is down. What was sent to it waits, and is delivered when it comes back.
    Down {
        /// The peer.
        pid: Pid,
        /// Why.
        reason: DownReason,
    },
    /// The peer has been restarted since the link was last up: what its predecessor had not acknowledged is sent to it,
    /// except for what was for the predecessor alone (`Draft::only_incarnation`).
    Restarted {
        /// The peer.
        pid: Pid,
        /// Its new incarnation.
        incarnation: WireIncarnation,
    },
    /// The peer and this server contradicted each other about their streams, and both have begun anew from what is
    /// acknowledged. Some envelopes may have been lost, or come twice; nobody knows how many.
    ///
    /// It takes a machine that was restored from a snapshot, or somebody who speaks for the peer.
    Reset {
        /// The peer.
        pid: Pid,
    },
    /// The peer refuses the connection. The engine keeps trying, and reports a further refusal once this event was
    /// read.
    Refused {
        /// The peer.
        pid: Pid,
        /// Why.
        reason: RefusalReason,
    },
    /// Envelopes that the outbox had taken were given up. One event counts all of one peer and reason, until it is read
    /// or the peer goes up or down.
    Dropped {
        /// The peer.
        pid: Pid,
        /// Number of envelopes dropped since the last such event.
        count: u64,
        /// Why.
        reason: DropReason,
    },
    /// The peer was added to this server while it ran.
    Added {
        /// The peer.
        pid: Pid,
    },
    /// The peer was removed from this server. What it had not acknowledged was given up: see [`Dropped`](Event::Dropped).
    Removed {
        /// The peer.
        pid: Pid,
    },
    /// Connections cannot be accepted for now, mostly for lack of descriptors. The engine tries again. Reported once,
    /// until [`AcceptResumed`](Event::AcceptResumed).
    AcceptFailed {
        /// The kernel's error, and what helps against it.
        error: String,
    },
    /// Connections are accepted again, and have been for a second.
    AcceptResumed,
    /// Peers cannot be dialed for now: this process or the machine has no descriptor or no memory left for another
    /// socket. The engine tries again. Reported once, until [`DialResumed`](Event::DialResumed).
    DialFailed {
        /// The kernel's error, and what helps against it.
        error: String,
    },
    /// Peers can be dialed again: none waits for a socket any more.
    DialResumed,
    /// Events were dropped, because nobody read them and more than 1,024 came.
    ///
    /// The newest dropped event of each kind comes next: the state of each peer whose newest [`Up`](Event::Up) or
    /// [`Down`](Event::Down) was dropped, its last refusal, and the sums of its [`Dropped`](Event::Dropped). Then come
    /// the events since.
    Missed {
        /// Number of dropped events since the last `Missed`.
        count: u64,
    },
    /// The event loop of this server has failed, and the server has stopped with it. Received envelopes can still be
    /// read; `stop` returns what was not delivered.
    EngineFailed {
        /// Description of the failure.
        message: String,
    },
    /// Code of the application panicked when the engine called it. The panic was caught, and the server goes on. If the
    /// code was a waker, its future may not have been woken.
    CallbackPanicked {
        /// The code that panicked.
        callback: Callback,
        /// Number of panics since the last such event.
        count: u64,
        /// The message of the first of them.
        message: String,
    },
}

/// State of the link to a peer, and its duration.
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
    /// There was no connection yet, and nothing to send that would have needed one.
    Idle,
    /// The link has not been up yet. The peer is dialed, and dialed again after a while.
    Connecting,
    /// The link is up: see [`Event::Up`].
    Up {
        /// The peer's incarnation.
        incarnation: WireIncarnation,
    },
    /// The link was up, and is down: see [`Event::Down`]. The peer is dialed again, unless it has left and nothing
    /// waits for it.
    Down {
        /// Why.
        reason: DownReason,
    },
}
