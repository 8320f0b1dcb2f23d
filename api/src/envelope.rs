//! Envelopes: what is sent, and what arrives.

use std::time::Duration;

use cluster_engine::{BROADCAST, Body, Lane, Payload, Pid, Received};

use crate::Incarnation;

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
    ///
    /// One of less than 16 KiB has memory of its own. A longer one that came in one segment shares the receive buffer
    /// that it came in, 260 KiB, and keeps all of it: copy what is kept for long, as with
    /// `Bytes::copy_from_slice(&envelope.msg)`. [`Engine::receive_bytes`](crate::Engine::receive_bytes) says how much
    /// is kept.
    pub msg: Payload,
    incarnation: Incarnation,
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
    #[inline]
    pub fn to(recipients: impl Into<Recipients>) -> Draft<'static> {
        Draft::new(recipients.into(), Lane::Normal)
    }

    /// Incarnation of the sender: which of its runs has sent this. It is drawn anew each time the sender starts, and
    /// the same as in its [`Event::Up`](crate::Event::Up).
    ///
    /// An answer that is for this run alone is sent with [`only_incarnation`](Draft::only_incarnation).
    #[inline]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    #[inline(always)]
    pub(crate) fn new(pid: Pid, incarnation: &Incarnation, msg_id: i64, msg: Payload) -> Envelope {
        Envelope { pid, msg_id, msg, incarnation: *incarnation }
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

    /// An envelope of its own, with a copy of the message.
    pub fn to_owned(&self) -> Envelope {
        Envelope::new(self.pid, self.incarnation, self.msg_id, Payload::copy_from_slice(self.msg))
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

/// An envelope that is to be sent.
///
/// It may borrow its message: sending copies a short one into the stream to each recipient, and nothing else copies it.
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
    /// The message. A slice, a `str`, or a reference to what has arrived is borrowed, and copied when it is sent. A `Vec`,
    /// a `String` or `Bytes` is handed over: if it is longer than 16 KiB, nothing copies it.
    #[inline]
    pub fn body<'b>(self, body: impl Into<Body<'b>>) -> Draft<'b> {
        let Draft { to, id, lane, ttl, best_effort, only, .. } = self;
        Draft { to, id, body: body.into(), lane, ttl, best_effort, only }
    }

    /// The message id. Without one the outbox gives the next free one.
    #[inline]
    pub fn id(mut self, id: i64) -> Draft<'a> {
        self.id = Some(id);
        self
    }

    /// On the urgent lane: it does not wait behind what is on the normal one. Order holds within a lane. What has arrived is read
    /// in the order in which it came.
    #[inline]
    pub fn urgent(mut self) -> Draft<'a> {
        self.lane = Lane::Urgent;
        self
    }

    /// Drops the envelope if it could not be sent within `ttl`: who gets it late has no use for it.
    ///
    /// It counts from the `send`. What is dropped is counted, in [`Event::Dropped`](crate::Event::Dropped) and in the
    /// statistics. While the recipient is away, what is stale makes room for what is sent later, about once a second.
    pub fn ttl(mut self, ttl: Duration) -> Draft<'a> {
        self.ttl = Some(ttl);
        self
    }

    /// Sends the envelope once and not again: if the connection is lost before it is acknowledged, it is dropped, and
    /// counted as with [`ttl`](Draft::ttl). For what is soon said anew, such as a heartbeat.
    pub fn best_effort(mut self) -> Draft<'a> {
        self.best_effort = true;
        self
    }

    /// Only for this [incarnation](Envelope::incarnation) of the recipient, of which there must be exactly one.
    ///
    /// Servers wait for a peer that is away, so what one run of it was to get is otherwise given to its next run. For
    /// answers that is wrong: the next run may have asked something else with the same message id, and would take this
    /// for the answer.
    ///
    /// If the recipient is known to be another incarnation, the send returns
    /// [`SendError::Restarted`](crate::SendError::Restarted). If it turns out to be one later, the envelope is dropped,
    /// and counted: see [`DropReason::OtherIncarnation`](crate::DropReason::OtherIncarnation).
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

    /// The same envelope to others.
    pub fn readdressed(mut self, recipients: impl Into<Recipients>) -> Draft<'a> {
        self.to = recipients.into();
        self
    }

    /// The same envelope with a message of its own: copied if it was borrowed.
    pub fn into_owned(self) -> Draft<'static> {
        let Draft { to, id, body, lane, ttl, best_effort, only } = self;
        Draft { to, id, body: body.into_owned(), lane, ttl, best_effort, only }
    }

    #[inline]
    pub(crate) fn is_droppable(&self) -> bool {
        self.best_effort || self.ttl.is_some() || self.only.is_some()
    }

    /// Returns whether it is for one server, whatever the form of its recipients.
    pub(crate) fn has_one_recipient(&self) -> bool {
        match &self.to {
            Recipients::One(pid) => *pid != BROADCAST,
            Recipients::Several(pids) => pids.len() == 1,
        }
    }

    /// Who it is for.
    pub fn recipients(&self) -> &Recipients {
        &self.to
    }

    /// The message so far.
    pub fn message(&self) -> &[u8] {
        &self.body
    }
}
