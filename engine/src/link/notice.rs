//! What a link says: to the application, and to whoever drives it.

use std::sync::Arc;

use super::{Arrival, RecvShared};
use crate::wire::{RefusalReason, WireIncarnation};

/// Reason why a link went down. Its text says what to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// The connection ended: the peer's process died, or its host reset the connection. It is dialed again.
    Closed,
    /// Nothing came for longer than the peer timeout: the process is stopped, the host is gone, or the cable is cut. It
    /// is dialed again.
    Silent,
    /// The peer was stopped, and said so. It is reached again when it is started.
    Stopped,
    /// The peer has removed this server from its cluster, and said so. It has to be added there again, or removed here.
    Removed,
    /// The peer broke the protocol; the text says how, and what to do. Its connection was closed, and it is dialed
    /// again.
    Violation(String),
    /// This server has no memory to receive what the peer sends. It connects again, and what was not received is sent
    /// again.
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

/// Why envelopes that the outbox had taken do not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// Their time to live was over before they could be sent.
    Expired,
    /// They were best effort, and the connection was lost before they were acknowledged. They may have arrived.
    BestEffort,
    /// The peer was removed before it had acknowledged them. They may have arrived.
    PeerRemoved,
    /// They are longer than the peer's `max_envelope_bytes`, which was not known when they were sent.
    TooLarge,
    /// They were for one incarnation of the peer, and another one is there. They may have arrived at the one they were
    /// for.
    OtherIncarnation,
}

impl std::fmt::Display for DropReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DropReason::Expired => "their time to live was over",
            DropReason::BestEffort => "they were best effort, and the connection was lost",
            DropReason::PeerRemoved => "the peer was removed",
            DropReason::TooLarge => "the peer's max_envelope_bytes is less than they have; raise it there",
            DropReason::OtherIncarnation => "they were for a run of the peer that is over",
        })
    }
}

/// What a link tells the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The link is up.
    Up {
        /// The peer's incarnation.
        incarnation: WireIncarnation,
    },
    /// The link is down.
    Down {
        /// Why.
        reason: DownReason,
    },
    /// The peer has been restarted since the link was last up: what it had not acknowledged is sent to its new incarnation.
    Restarted {
        /// The peer's new incarnation.
        incarnation: WireIncarnation,
    },
    /// Envelopes were given up.
    Dropped {
        /// How many.
        count: u64,
        /// Why.
        reason: DropReason,
    },
    /// The two contradicted each other about their streams, and both have begun anew.
    Reset,
    /// A dial was refused.
    Refused {
        /// Why.
        reason: RefusalReason,
    },
}

/// What a link wants of whoever drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing now.
    Nothing,
    /// A connection to the peer.
    Dial,
    /// The end of its connection.
    Hangup,
}

/// What a data segment brought.
pub struct Delivery {
    /// The stream, as the inbox shares it.
    pub stream: Arc<RecvShared>,
    /// Bytes that it takes up in the window of its lane.
    pub room: u64,
    /// What arrived.
    pub arrival: Arrival,
}
