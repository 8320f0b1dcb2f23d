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
    /// The peer has been restarted since the link was last up: what its predecessor had not acknowledged is sent to it.
    Restarted {
        /// The peer.
        pid: Pid,
        /// Its new incarnation.
        incarnation: WireIncarnation,
    },
    /// The peer will not have us. The engine tries again, and again; it is told again when this one was read.
    Refused {
        /// The peer.
        pid: Pid,
        /// Why.
        reason: RefusalReason,
    },
    /// Envelopes that the outbox had taken were given up. One event for all of one peer and reason, until it is read or
    /// the peer goes up or down.
    Dropped {
        /// The peer.
        pid: Pid,
        /// How many since the last such event.
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
    /// Connections cannot be accepted for now, mostly for want of descriptors; the engine tries again. Told once, until
    /// [`AcceptResumed`](Event::AcceptResumed).
    AcceptFailed {
        /// The kernel's error, and what helps against it.
        error: String,
    },
    /// Connections are accepted again, and have been for a second.
    AcceptResumed,
    /// Peers cannot be dialed for now: this process, or the machine, has no descriptor or no memory left for another
    /// socket. The engine tries again. Told once, until [`DialResumed`](Event::DialResumed).
    DialFailed {
        /// The kernel's error, and what helps against it.
        error: String,
    },
    /// No peer waits for a socket any more.
    DialResumed,
    /// Events were dropped, because nobody read them and more than 1,024 came.
    ///
    /// Of what was dropped the newest of each kind comes next: the state of each peer whose newest
    /// [`Up`](Event::Up) or [`Down`](Event::Down) was among them, what it was refused for, and the sums of its
    /// [`Dropped`](Event::Dropped). Then comes what has happened since.
    Missed {
        /// How many since the last such event.
        count: u64,
    },
    /// The event loop of this server has failed, and the server has stopped with it. What had arrived can still be
    /// read; `stop` says what was not delivered.
    EngineFailed {
        /// What has happened.
        message: String,
    },
    /// Code of the application that the engine has called panicked. The panic was caught and the server goes on; a
    /// future whose waker it was may not have been woken.
    CallbackPanicked {
        /// The code.
        callback: Callback,
        /// Number of panics since the last such event.
        count: u64,
        /// The message of the first of them.
        message: String,
    },
}

/// The state of the link to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerState {
    /// Where the link stands.
    pub link: LinkState,
    /// How long it has stood there.
    pub elapsed: Duration,
}

/// Where the link to a peer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// There was no connection yet, and nothing to send that would have needed one.
    Idle,
    /// It has not been up yet. The peer is dialed, and dialed again after a while.
    Connecting,
    /// It is up: see [`Event::Up`].
    Up {
        /// The peer's incarnation.
        incarnation: WireIncarnation,
    },
    /// It was up, and is down: see [`Event::Down`]. The peer is dialed again, unless it has left and nothing waits for
    /// it.
    Down {
        /// Why.
        reason: DownReason,
    },
}
