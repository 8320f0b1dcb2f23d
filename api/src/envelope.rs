//! Envelopes: received ones and drafts to send.

use std::time::Duration;

use cluster_engine::{BROADCAST, Body, Lane, Payload, Pid, Received};

use crate::Incarnation;

/// Received envelope: a message with its sender and its message id.
///
/// [`Envelope::to`] begins an envelope to send.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// Pid of the sender.
    pub pid: Pid,
    /// Message id that the sender gave the envelope.
    pub msg_id: i64,
    /// Message of the envelope.
    ///
    /// A message of less than 16 KiB has its own memory. A longer message that came in one segment shares its receive
    /// buffer of 260 KiB and keeps the whole buffer alive. A program that keeps messages for long should copy them, for
    /// example with `Bytes::copy_from_slice(&envelope.msg)`. [`Engine::receive_bytes`](crate::Engine::receive_bytes)
    /// counts the buffers in use.
    pub msg: Payload,
    incarnation: Incarnation,
}

impl Envelope {
    /// Begins an envelope to a pid, to several pids, or to [`BROADCAST`].
    ///
    /// ```
    /// use cluster::{BROADCAST, Envelope};
    ///
    /// let one = Envelope::to(200).body("unicast");
    /// let some = Envelope::to([200, 300]).id(7).body(vec![1, 2, 3]);
    /// let all = Envelope::to(BROADCAST).urgent().body("vote for me");
    /// ```
    #[inline]
    pub fn to(recipients: impl Into<Recipients>) -> Draft<'static> {
        Draft::new(recipients.into(), Lane::Normal)
    }

    /// Incarnation of the sender: identifies the run of the sender that sent this envelope. The sender draws a new one
    /// each time it starts, and [`Event::Up`](crate::Event::Up) reports it.
    ///
    /// [`only_incarnation`](Draft::only_incarnation) sends an answer to this incarnation alone.
    #[inline]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    #[inline(always)]
    pub(crate) fn new(pid: Pid, incarnation: &Incarnation, msg_id: i64, msg: Payload) -> Envelope {
        Envelope { pid, msg_id, msg, incarnation: *incarnation }
    }
}

/// Received envelope, borrowed from the receive buffer: see [`Inbox::drain`](crate::Inbox::drain).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvelopeRef<'a> {
    /// Pid of the sender.
    pub pid: Pid,
    /// Message id that the sender gave the envelope.
    pub msg_id: i64,
    /// Message of the envelope, aligned to 8 bytes.
    pub msg: &'a [u8],
    incarnation: &'a Incarnation,
}

impl<'a> EnvelopeRef<'a> {
    #[inline]
    pub(crate) fn from_received(received: Received<'a>) -> EnvelopeRef<'a> {
        let Received { pid, incarnation, id, payload } = received;
        EnvelopeRef { pid, msg_id: id, msg: payload, incarnation }
    }

    /// Incarnation of the sender: see [`Envelope::incarnation`].
    #[inline]
    pub fn incarnation(&self) -> Incarnation {
        *self.incarnation
    }

    /// Returns an owned envelope with a copy of the message.
    pub fn to_owned(&self) -> Envelope {
        Envelope::new(self.pid, self.incarnation, self.msg_id, Payload::copy_from_slice(self.msg))
    }
}

/// Recipients of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// One server, or every peer for [`BROADCAST`].
    One(Pid),
    /// Several servers, in this order. A pid that is listed twice gets the envelope twice.
    Several(Vec<Pid>),
}

impl Recipients {
    /// Returns whether the envelope goes to every peer.
    pub fn is_broadcast(&self) -> bool {
        *self == Recipients::One(BROADCAST)
    }
}

impl From<Pid> for Recipients {
    #[inline]
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
        match pids[..] {
            [pid] => Recipients::One(pid),
            _ => Recipients::Several(pids),
        }
    }
}

/// Envelope to send: see [`Envelope::to`].
///
/// A draft may borrow its message. Sending copies a short message once, into the stream to each recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an envelope does nothing until it is sent"]
pub struct Draft<'a> {
    pub(crate) to: Recipients,
    pub(crate) id: Option<i64>,
    pub(crate) body: Body<'a>,
    pub(crate) lane: Lane,
    pub(crate) ttl: Option<Duration>,
    pub(crate) best_effort: bool,
    pub(crate) only: Option<Incarnation>,
}

impl Draft<'static> {
    #[inline]
    pub(crate) fn new(to: Recipients, lane: Lane) -> Draft<'static> {
        Draft { to, id: None, body: Body::default(), lane, ttl: None, best_effort: false, only: None }
    }
}

impl<'a> Draft<'a> {
    /// Sets the message. A slice, a `str`, or a reference to a received message is borrowed, and copied when it is
    /// sent. A `Vec`, a `String` or `Bytes` is moved: if it is longer than 16 KiB, it is not copied.
    #[inline]
    pub fn body<'b>(self, body: impl Into<Body<'b>>) -> Draft<'b> {
        let Draft { to, id, lane, ttl, best_effort, only, .. } = self;
        Draft { to, id, body: body.into(), lane, ttl, best_effort, only }
    }

    /// Sets the message id. Without one, the outbox assigns the next automatic id.
    #[inline]
    pub fn id(mut self, id: i64) -> Draft<'a> {
        self.id = Some(id);
        self
    }

    /// Uses the urgent lane: the envelope does not wait behind those on the normal lane. Order holds within a lane. The
    /// recipient reads envelopes of both lanes in the order in which they arrived.
    #[inline]
    pub fn urgent(mut self) -> Draft<'a> {
        self.lane = Lane::Urgent;
        self
    }

    /// Sets the time to live: drops the envelope if it could not be sent within `ttl`, because it is of no use later.
    ///
    /// The time counts from the `send`. [`Event::Dropped`](crate::Event::Dropped) and the statistics count dropped
    /// envelopes. While the recipient is absent, expired envelopes make room for new ones, about once a second.
    pub fn ttl(mut self, ttl: Duration) -> Draft<'a> {
        self.ttl = Some(ttl);
        self
    }

    /// Sends the envelope best effort: once and not again. If the connection is lost before the acknowledgement, the
    /// envelope is dropped and counted in [`Event::Dropped`](crate::Event::Dropped) and the statistics. Best effort
    /// suits messages that are soon repeated, such as heartbeats.
    pub fn best_effort(mut self) -> Draft<'a> {
        self.best_effort = true;
        self
    }

    /// Restricts the envelope to this [incarnation](Envelope::incarnation) of the recipient. The envelope must have
    /// exactly one recipient.
    ///
    /// Servers wait for an absent peer, so the next incarnation of a peer receives the envelopes that the previous one
    /// did not get. For answers that is wrong: the next incarnation may have asked something else with the same message
    /// id, and would mistake the envelope for its answer.
    ///
    /// If the recipient is known to be another incarnation, the send returns
    /// [`SendError::Restarted`](crate::SendError::Restarted). If this becomes known later, the envelope is dropped and
    /// counted: see [`DropReason::OtherIncarnation`](crate::DropReason::OtherIncarnation). With no recipient or
    /// several, the send returns [`SendError::NotOneRecipient`](crate::SendError::NotOneRecipient).
    ///
    /// ```
    /// # use cluster::{Envelope, SendError, Server};
    /// fn answer(server: &mut impl Server, question: &Envelope) -> Result<(), SendError> {
    ///     let answer = Envelope::to(question.pid).id(question.msg_id).body("done");
    ///     match server.outbox().send(answer.only_incarnation(question.incarnation())) {
    ///         // Nobody waits for it any more.
    ///         Err(SendError::Restarted { .. }) => Ok(()),
    ///         sent => sent,
    ///     }
    /// }
    /// ```
    pub fn only_incarnation(mut self, incarnation: Incarnation) -> Draft<'a> {
        self.only = Some(incarnation);
        self
    }

    /// Replaces the recipients.
    pub fn readdressed(mut self, recipients: impl Into<Recipients>) -> Draft<'a> {
        self.to = recipients.into();
        self
    }

    /// Converts the draft to one that owns its message. A borrowed message is copied.
    pub fn into_owned(self) -> Draft<'static> {
        let Draft { to, id, body, lane, ttl, best_effort, only } = self;
        Draft { to, id, body: body.into_owned(), lane, ttl, best_effort, only }
    }

    #[inline]
    pub(crate) fn is_droppable(&self) -> bool {
        self.best_effort || self.ttl.is_some() || self.only.is_some()
    }

    /// Returns whether the draft has exactly one recipient, in either form of [`Recipients`].
    pub(crate) fn has_one_recipient(&self) -> bool {
        match &self.to {
            Recipients::One(pid) => *pid != BROADCAST,
            Recipients::Several(pids) => pids.len() == 1,
        }
    }

    /// Recipients of the envelope.
    pub fn recipients(&self) -> &Recipients {
        &self.to
    }

    /// Message of the envelope; empty until [`body`](Draft::body) sets it.
    pub fn message(&self) -> &[u8] {
        &self.body
    }
}
