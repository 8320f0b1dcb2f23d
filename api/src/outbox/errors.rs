//! Errors of sends and flushes.

use std::fmt;

use cluster_engine::{Pid, WrongThread};

use crate::{Draft, Recipients};

/// Error of [`Outbox::flush`](crate::Outbox::flush): some envelopes are not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlushError {
    /// These peers have not acknowledged everything in time.
    Timeout {
        /// Pids of these peers, ascending.
        pids: Vec<Pid>,
    },
    /// The server has stopped. The [`StopError`](crate::StopError) of its `stop` counts the undelivered envelopes.
    Stopped,
    /// The server is inline and belongs to another thread: see [`Threading::Inline`](crate::Threading::Inline).
    WrongThread,
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlushError::Timeout { pids } => {
                write!(
                    f,
                    "not acknowledged in time by {pids:?}: slow, or not there; wait longer, or look at the events"
                )
            }
            FlushError::Stopped => f.write_str("the server has stopped; its stop says what was not delivered"),
            FlushError::WrongThread => WrongThread.fmt(f),
        }
    }
}

impl std::error::Error for FlushError {}

/// Error of sending: an envelope was not sent to all of its recipients. The error contains the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// Some recipients had no room. The envelope is returned, addressed to them; all others get it.
    Full {
        /// Envelope for the recipients without room.
        envelope: Box<Draft<'static>>,
    },
    /// A recipient is not a peer, and no recipient gets the envelope. If the peer was removed while the envelope waited
    /// for room, the envelope is returned, addressed to that peer alone.
    UnknownPid {
        /// Envelope that was not sent.
        envelope: Box<Draft<'static>>,
        /// Pid that is not a peer.
        pid: Pid,
        /// Pid of this server.
        this: Pid,
    },
    /// The message is longer than the `max_envelope_bytes` of this server or of a recipient. No recipient gets the
    /// envelope. A recipient's limit is known once a link to it has been up.
    TooLarge {
        /// Envelope that was not sent.
        envelope: Box<Draft<'static>>,
        /// Limit, in bytes.
        limit: u64,
        /// Recipient whose limit this is; `None` for this server's own limit.
        pid: Option<Pid>,
    },
    /// The server has stopped.
    Stopped {
        /// Envelope for the recipients that did not get it.
        envelope: Box<Draft<'static>>,
    },
    /// More clones of the outbox are in use than a connection has streams for, or too many dropped clones have left
    /// unacknowledged envelopes on it.
    TooManyOutboxes {
        /// Envelope for the recipients that did not get it.
        envelope: Box<Draft<'static>>,
    },
    /// There is no memory for the queue of `outbox_bytes` that the first envelope to a peer needs.
    NoMemory {
        /// Envelope for the recipients that did not get it.
        envelope: Box<Draft<'static>>,
        /// Size of a queue, in bytes.
        bytes: usize,
    },
    /// The recipient is another incarnation than the [only one](Draft::only_incarnation) that the envelope is for. As a
    /// rule the recipient has been restarted, and no program waits for the envelope any more.
    Restarted {
        /// Envelope that was not sent.
        envelope: Box<Draft<'static>>,
        /// Pid of the recipient.
        pid: Pid,
    },
    /// An envelope for [one incarnation](Draft::only_incarnation) has no recipient, or several. No recipient gets it.
    NotOneRecipient {
        /// Envelope that was not sent.
        envelope: Box<Draft<'static>>,
    },
}

impl SendError {
    /// Returns the envelope, to be sent again or given up.
    pub fn into_envelope(self) -> Draft<'static> {
        match self {
            SendError::Full { envelope }
            | SendError::UnknownPid { envelope, .. }
            | SendError::TooLarge { envelope, .. }
            | SendError::Stopped { envelope }
            | SendError::TooManyOutboxes { envelope }
            | SendError::NoMemory { envelope, .. }
            | SendError::Restarted { envelope, .. }
            | SendError::NotOneRecipient { envelope } => *envelope,
        }
    }

    /// Recipients that do not get the envelope.
    pub fn recipients(&self) -> &Recipients {
        match self {
            SendError::Full { envelope }
            | SendError::UnknownPid { envelope, .. }
            | SendError::TooLarge { envelope, .. }
            | SendError::Stopped { envelope }
            | SendError::TooManyOutboxes { envelope }
            | SendError::NoMemory { envelope, .. }
            | SendError::Restarted { envelope, .. }
            | SendError::NotOneRecipient { envelope } => &envelope.to,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, recipients: &Recipients| match recipients {
            Recipients::One(pid) => write!(f, "{pid}"),
            Recipients::Several(pids) => write!(f, "{pids:?}"),
        };
        match self {
            SendError::Full { envelope } => {
                f.write_str("no room for an envelope to ")?;
                named(f, &envelope.to)?;
                f.write_str(
                    ": it is slow or not there; send again later, wait with send_timeout, or raise outbox_bytes",
                )
            }
            SendError::UnknownPid { pid, this, .. } if pid == this => {
                write!(f, "{pid} is this server itself, and a server sends to its peers; handle the message directly")
            }
            SendError::UnknownPid { pid, .. } => {
                write!(f, "no server has pid {pid}; add it to the configuration, or with add_peer")
            }
            SendError::TooLarge { envelope, limit, pid } => {
                let bytes = envelope.body.len();
                write!(f, "a message of {bytes} bytes is above the limit of {limit}")?;
                match pid {
                    Some(pid) => write!(f, " of {pid}; raise max_envelope_bytes there, or split it"),
                    None => f.write_str("; raise max_envelope_bytes, or split it"),
                }
            }
            SendError::TooManyOutboxes { .. } => {
                f.write_str(
                    "more than 256 outboxes of this server are in use, or a thousand have left unacknowledged envelopes to one \
                     peer; drop clones, share one behind a lock, or wait for the peer",
                )
            }
            SendError::NoMemory { envelope, bytes } => {
                write!(f, "no memory for a queue of {bytes} bytes to ")?;
                named(f, &envelope.to)?;
                f.write_str(": give the process more (RLIMIT_AS, its cgroup), or lower outbox_bytes")
            }
            SendError::Restarted { pid, .. } => write!(
                f,
                "{pid} is another run than the one that the envelope is for; if this one is to get it too, send it \
                 without only_incarnation"
            ),
            SendError::NotOneRecipient { .. } => {
                f.write_str("only_incarnation needs exactly one recipient; send to each with its own incarnation")
            }
            SendError::Stopped { .. } => f.write_str("the server has stopped; start it again to send"),
        }
    }
}

impl std::error::Error for SendError {}
