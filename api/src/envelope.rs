//! Envelopes: what is sent, and what arrives.

use bytes::Bytes;
use cluster_engine::{BROADCAST, Lane, Pid, Received};

/// An envelope that has arrived.
///
/// [`Envelope::to`] begins one that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The sender's pid.
    pub pid: Pid,
    /// The message id that the sender gave it.
    pub msg_id: i64,
    /// The message.
    pub msg: Bytes,
}

impl Envelope {
    /// Begins an envelope to a pid, to several, or to [`BROADCAST`].
    ///
    /// ```
    /// use cluster::{BROADCAST, Envelope};
    ///
    /// let one = Envelope::to(200).body("unicast");
    /// let some = Envelope::to([200, 300]).id(7).body(vec![1, 2, 3]);
    /// let all = Envelope::to(BROADCAST).urgent().body("vote for me");
    /// ```
    pub fn to(recipients: impl Into<Recipients>) -> Draft {
        Draft { to: recipients.into(), id: None, body: Bytes::new(), lane: Lane::Normal }
    }

    pub(crate) fn from_message(message: cluster_engine::Message) -> Envelope {
        Envelope { pid: message.pid, msg_id: message.id, msg: message.payload }
    }
}

/// An envelope that has arrived, borrowed from where it was received: see [`Inbox::drain`](crate::Inbox::drain).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvelopeRef<'a> {
    /// The sender's pid.
    pub pid: Pid,
    /// The message id that the sender gave it.
    pub msg_id: i64,
    /// The message, aligned to 8 bytes.
    pub msg: &'a [u8],
}

impl<'a> EnvelopeRef<'a> {
    #[inline]
    pub(crate) fn from_received(received: Received<'a>) -> EnvelopeRef<'a> {
        EnvelopeRef { pid: received.pid, msg_id: received.id, msg: received.payload }
    }

    /// An envelope of its own, with a copy of the message.
    pub fn to_owned(&self) -> Envelope {
        Envelope { pid: self.pid, msg_id: self.msg_id, msg: Bytes::copy_from_slice(self.msg) }
    }
}

/// Who gets an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// One server, or every peer for [`BROADCAST`].
    One(Pid),
    /// These servers, in this order; one that is named twice gets it twice.
    Several(Vec<Pid>),
}

impl Recipients {
    /// Whether every peer is meant.
    pub fn is_broadcast(&self) -> bool {
        *self == Recipients::One(BROADCAST)
    }
}

impl From<Pid> for Recipients {
    fn from(pid: Pid) -> Recipients {
        Recipients::One(pid)
    }
}

impl<const N: usize> From<[Pid; N]> for Recipients {
    fn from(pids: [Pid; N]) -> Recipients {
        Recipients::Several(pids.to_vec())
    }
}

impl From<&[Pid]> for Recipients {
    fn from(pids: &[Pid]) -> Recipients {
        Recipients::Several(pids.to_vec())
    }
}

impl From<Vec<Pid>> for Recipients {
    fn from(pids: Vec<Pid>) -> Recipients {
        Recipients::Several(pids)
    }
}

/// An envelope that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an envelope does nothing until it is sent"]
pub struct Draft {
    pub(crate) to: Recipients,
    pub(crate) id: Option<i64>,
    pub(crate) body: Bytes,
    pub(crate) lane: Lane,
}

impl Draft {
    /// The message. `Bytes`, a `Vec` and a `&'static str` are taken as they are, without a copy.
    pub fn body(mut self, body: impl Into<Bytes>) -> Draft {
        self.body = body.into();
        self
    }

    /// The message id. Without one the outbox gives the next free one.
    pub fn id(mut self, id: i64) -> Draft {
        self.id = Some(id);
        self
    }

    /// On the urgent lane: it does not wait behind what is on the normal one. Order holds within a lane.
    pub fn urgent(mut self) -> Draft {
        self.lane = Lane::Urgent;
        self
    }

    /// Who it is for.
    pub fn recipients(&self) -> &Recipients {
        &self.to
    }

    /// The message so far.
    pub fn message(&self) -> &Bytes {
        &self.body
    }
}
