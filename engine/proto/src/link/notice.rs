//! Notices of a link for the application, and requests to its owner.

use std::sync::Arc;

use super::{Arrival, RecvShared};
use crate::stream::Dropped;
use crate::wire::{RefusalReason, WireIncarnation};

/// Reason for the end of a link's session. Its text states what to check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// Connection ended: the peer's process died, or its host reset the connection. It is dialed again.
    Closed,
    /// Silence for longer than the peer timeout: the peer's process is stopped, its host is gone, or the network is
    /// cut. The peer is dialed again.
    Silent,
    /// Goodbye of a peer that was stopped. It is reached again when it is started.
    Stopped,
    /// Goodbye of a peer that has removed this server from its cluster. The server has to be added there again, or the
    /// peer removed here.
    Removed,
    /// Violation of the protocol by the peer. The text states the violation and the cure. The connection was closed,
    /// and the peer is dialed again.
    Violation(String),
    /// Lack of memory on this server to receive segments. The peer is connected again, and sends again what was not
    /// received.
    NoMemory,
}

impl std::fmt::Display for DownReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DownReason::Closed => f.write_str("the connection ended: look whether its process runs"),
            DownReason::Silent => {
                f.write_str("nothing was heard from it: look at its process, its host and the network")
            }
            DownReason::Stopped => f.write_str("it was stopped: start it again"),
            DownReason::Removed => {
                f.write_str("it has removed this server from its peers: add it there again, or remove the peer here")
            }
            DownReason::Violation(what) => write!(f, "it broke the protocol: {what}"),
            DownReason::NoMemory => f.write_str("this process has no memory to receive what it sends"),
        }
    }
}

/// Reason why envelopes taken by the outbox are not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// Time to live: it ended before the envelopes could be sent.
    Expired,
    /// Best effort: the connection was lost before the envelopes were acknowledged. They may have arrived.
    BestEffort,
    /// Removal of the peer before it had acknowledged the envelopes. They may have arrived.
    PeerRemoved,
    /// Length: the envelopes exceed the peer's `max_envelope_bytes`, which was not known when they were sent.
    TooLarge,
    /// Incarnation: the envelopes were for one incarnation of the peer, and another one is connected. They may have
    /// arrived at the former.
    OtherIncarnation,
    /// Withdrawal by the sender before the envelopes were sent: their calls had ended.
    Withdrawn,
}

impl std::fmt::Display for DropReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DropReason::Expired => "their time to live was over",
            DropReason::BestEffort => "they were best effort, and the connection was lost",
            DropReason::PeerRemoved => "the peer was removed",
            DropReason::TooLarge => "the peer's max_envelope_bytes is less than they have; raise it there",
            DropReason::OtherIncarnation => "they were for a run of the peer that is over",
            DropReason::Withdrawn => "their sender has withdrawn them",
        })
    }
}

impl DropReason {
    /// Returns the number of envelopes that a stream has dropped between two counts, for each reason that it has.
    pub fn counts(before: &Dropped, after: &Dropped) -> impl Iterator<Item = (DropReason, u64)> {
        let counts = [
            (DropReason::Expired, after.expired - before.expired),
            (DropReason::BestEffort, after.best_effort - before.best_effort),
            (DropReason::TooLarge, after.too_large - before.too_large),
            (DropReason::OtherIncarnation, after.other_incarnation - before.other_incarnation),
            (DropReason::Withdrawn, after.withdrawn - before.withdrawn),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0)
    }

    /// Returns the value that belongs to this reason, of one value for each reason in the order of their declaration.
    #[doc(hidden)]
    pub fn pick<T>(self, [expired, best_effort, peer_removed, too_large, other_incarnation, withdrawn]: [T; 6]) -> T {
        match self {
            DropReason::Expired => expired,
            DropReason::BestEffort => best_effort,
            DropReason::PeerRemoved => peer_removed,
            DropReason::TooLarge => too_large,
            DropReason::OtherIncarnation => other_incarnation,
            DropReason::Withdrawn => withdrawn,
        }
    }
}

/// Notice of a link for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The link is up.
    Up {
        /// Incarnation of the peer.
        incarnation: WireIncarnation,
    },
    /// The link is down.
    Down {
        /// Reason for the end of the session.
        reason: DownReason,
    },
    /// The peer has been restarted since the link was last up. Its new incarnation is sent the envelopes that the old
    /// one had not acknowledged.
    Restarted {
        /// New incarnation of the peer.
        incarnation: WireIncarnation,
    },
    /// Envelopes were dropped.
    Dropped {
        /// Number of envelopes.
        count: u64,
        /// Reason for the drop.
        reason: DropReason,
    },
    /// The greetings contradicted each other about the streams, and both sides have begun anew (WIRE.md, section
    /// Resuming).
    Reset,
    /// A dial was refused.
    Refused {
        /// Reason that the peer has given.
        reason: RefusalReason,
    },
}

/// Request of a link to its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// No request.
    Nothing,
    /// Request to make a connection to the peer.
    Dial,
    /// Request to close the connection to the peer.
    Hangup,
}

/// Content of a data segment, for the inbox.
pub struct Delivery {
    /// Shared part of the stream.
    pub stream: Arc<RecvShared>,
    /// Bytes that the content occupies in the window of its lane.
    pub room: u64,
    /// Frames or fragment that arrived.
    pub arrival: Arrival,
}
