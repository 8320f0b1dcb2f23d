//! The inbox: received envelopes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cluster_engine::{LoopHandle, Receiver, WrongThread};
use futures_core::Stream;

use crate::wait::wait;
use crate::{Envelope, EnvelopeRef};

/// Most segments that one [`Inbox::drain`] takes.
const DRAINED_SEGMENTS: usize = 256;

/// Inbox of a server: envelopes received from its peers.
///
/// | call | waits | returns |
/// | --- | --- | --- |
/// | [`recv`](Inbox::recv) | until there is an envelope | an [`Envelope`] |
/// | [`recv_timeout`](Inbox::recv_timeout) | at most that long | an [`Envelope`] |
/// | [`try_recv`](Inbox::try_recv) | not at all | an [`Envelope`] |
/// | [`recv_async`](Inbox::recv_async), [`Stream`] | without blocking the thread | an [`Envelope`] |
/// | [`iter`](Inbox::iter) | between envelopes, until the server stops | [`Envelope`]s |
/// | [`drain`](Inbox::drain) | not at all | all available envelopes, borrowed, without a copy: the fast path |
/// | [`drain_wait`](Inbox::drain_wait) | until there is an envelope | all available envelopes, borrowed |
///
/// Envelopes in the inbox are acknowledged to their senders. They can be read even after the server has stopped. If the
/// program does not read, the inbox fills up to `inbox_bytes` for each peer. Flow control then stops the senders: their
/// outboxes fill, and their sends find no room.
///
/// ```
/// use cluster::mock::{Cluster, Time};
/// use cluster::{Envelope, Server, TryRecvError};
///
/// let cluster = Cluster::with_time(1, Time::Virtual);
/// let mut servers = cluster.add_servers([100, 200])?;
/// servers[0].outbox().send(Envelope::to(200).id(7).body("hello"))?;
///
/// let inbox = servers[1].inbox();
/// let envelope = inbox.recv()?;
/// assert_eq!((envelope.pid, envelope.msg_id), (100, 7));
/// assert_eq!(envelope.msg, "hello");
/// assert_eq!(inbox.try_recv().unwrap_err(), TryRecvError::Empty);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Stream`]: #impl-Stream-for-Inbox
pub struct Inbox {
    receiver: Receiver,
    loop_handle: LoopHandle,
}

impl Inbox {
    pub(crate) fn new(receiver: Receiver, loop_handle: LoopHandle) -> Inbox {
        Inbox { receiver, loop_handle }
    }

    /// Waits for the next envelope and returns it.
    ///
    /// # Errors
    /// - `Stopped`: the server has stopped, and all received envelopes were taken.
    /// - `WrongThread`: the server is inline and belongs to another thread.
    #[inline(always)]
    pub fn recv(&mut self) -> Result<Envelope, RecvError> {
        self.next(None).ok_or_else(|| self.end())
    }

    /// Waits for the next envelope, at most `timeout`, and returns it.
    ///
    /// # Errors
    /// `Timeout` if no envelope came in time. All other errors are those of [`recv`](Inbox::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Envelope, RecvTimeoutError> {
        match self.next(self.loop_handle.now().checked_add(timeout)) {
            Some(envelope) => Ok(envelope),
            None if self.is_stopped() => Err(RecvTimeoutError::Stopped),
            None if self.loop_handle.is_elsewhere() => Err(RecvTimeoutError::WrongThread),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Returns the next envelope, if one is available now.
    ///
    /// # Errors
    /// `Empty` if no envelope is available now. All other errors are those of [`recv`](Inbox::recv).
    #[inline(always)]
    pub fn try_recv(&mut self) -> Result<Envelope, TryRecvError> {
        match self.pop() {
            Some(envelope) => Ok(envelope),
            None if self.is_stopped() => Err(TryRecvError::Stopped),
            None if self.loop_handle.is_elsewhere() => Err(TryRecvError::WrongThread),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Returns a future of the next envelope, which does not block the thread and runs on any async runtime.
    ///
    /// **Cancel-safe**: the poll that returns an envelope takes it from the inbox. A future dropped before that has
    /// taken nothing.
    ///
    /// An inline server has no thread that wakes the future. The future turns the loop on each poll, and asks to be
    /// polled again at once.
    ///
    /// # Errors
    /// The future returns the errors of [`recv`](Inbox::recv).
    pub fn recv_async(&mut self) -> Recv<'_> {
        Recv { inbox: self }
    }

    /// Returns a blocking iterator over the envelopes. It ends when [`recv`](Inbox::recv) would return an error.
    pub fn iter(&mut self) -> Iter<'_> {
        Iter { inbox: self }
    }

    /// Passes every available envelope to `each`, borrowed from the receive buffer. Returns the number of envelopes.
    ///
    /// This is the fast path: nothing is copied and nothing is allocated. One call takes a bounded number of envelopes,
    /// so that an overloaded program gets to its other work.
    ///
    /// Returns 0 if no envelope is available. On a thread that an inline server does not belong to, the call only takes
    /// what has already arrived; [`try_recv`](Inbox::try_recv) reports the wrong thread.
    ///
    /// If `each` panics, the envelope passed to it is lost. All others stay in the inbox.
    ///
    /// ```
    /// # use cluster::{Envelope, Server, mock::{Cluster, Time}};
    /// # let cluster = Cluster::with_time(1, Time::Virtual);
    /// # let mut servers = cluster.add_servers([1, 2])?;
    /// # servers[0].outbox().send(Envelope::to(2).body("four"))?;
    /// # servers[0].outbox().send(Envelope::to(2).body("and seven"))?;
    /// # cluster.run_until_idle();
    /// # let server = &mut servers[1];
    /// let mut bytes = 0;
    /// let count = server.inbox().drain(|envelope| bytes += envelope.msg.len());
    /// assert_eq!((count, bytes), (2, 13));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&mut self, mut each: impl FnMut(EnvelopeRef<'_>)) -> usize {
        if self.receiver.is_empty() && self.loop_handle.is_inline() {
            self.loop_handle.poll();
        }
        self.receiver.drain(DRAINED_SEGMENTS, |received| each(EnvelopeRef::from_received(received)))
    }

    /// Waits for the first envelope, then passes every available one to `each` as [`drain`](Inbox::drain) does. Waits
    /// at most `timeout`, or without limit if it is `None`. Returns the number of envelopes.
    ///
    /// Returns 0 when the time is over, and at once when no envelope can come; [`try_recv`](Inbox::try_recv) reports
    /// the reason.
    pub fn drain_wait(&mut self, timeout: Option<Duration>, each: impl FnMut(EnvelopeRef<'_>)) -> usize {
        self.wait(timeout.and_then(|timeout| self.loop_handle.now().checked_add(timeout)));
        self.drain(each)
    }

    /// Returns whether the server has stopped and all received envelopes were taken.
    pub fn is_stopped(&self) -> bool {
        self.receiver.is_empty()
            && (self.receiver.is_closed() || self.loop_handle.is_stopped())
            && self.receiver.is_empty()
    }

    /// Returns the reason why no envelope can come.
    #[cold]
    fn end(&self) -> RecvError {
        if !self.is_stopped() && self.loop_handle.is_elsewhere() { RecvError::WrongThread } else { RecvError::Stopped }
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<Envelope> {
        if let Some(envelope) = self.receiver.pop_as(Envelope::new) {
            return Some(envelope);
        }
        if self.loop_handle.is_inline() && self.loop_handle.poll() {
            return self.receiver.pop_as(Envelope::new);
        }
        None
    }

    #[inline(always)]
    fn next(&mut self, deadline: Option<Instant>) -> Option<Envelope> {
        loop {
            if let Some(envelope) = self.receiver.pop_as(Envelope::new) {
                return Some(envelope);
            }
            if !self.wait(deadline) {
                return None;
            }
        }
    }

    /// Waits until an envelope is available. Returns `false` when the time is over, or when none can come.
    #[inline(never)]
    fn wait(&mut self, deadline: Option<Instant>) -> bool {
        let Inbox { receiver, loop_handle } = self;
        if loop_handle.is_elsewhere() {
            return !receiver.is_empty();
        }
        let something = wait(
            loop_handle,
            deadline,
            receiver,
            |receiver| (!receiver.is_empty() || receiver.is_closed() || loop_handle.is_stopped()).then_some(()),
            |receiver, waker| receiver.register(waker),
        );
        something.is_some() && !receiver.is_empty()
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Envelope>> {
        if let Some(envelope) = self.pop() {
            return Poll::Ready(Some(envelope));
        }
        self.receiver.register(context.waker());
        // Envelopes that came before the waker was registered wake no task.
        match self.pop() {
            Some(envelope) => Poll::Ready(Some(envelope)),
            None if self.is_stopped() || self.loop_handle.is_elsewhere() => Poll::Ready(None),
            None => {
                if self.loop_handle.turn_for_future() {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("empty", &self.receiver.is_empty()).finish_non_exhaustive()
    }
}

/// Asynchronous stream of the envelopes, which does not block the thread. It ends when [`Inbox::recv`] would return an
/// error. Dropping a pending `next` loses no envelope.
impl Stream for Inbox {
    type Item = Envelope;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Envelope>> {
        Inbox::poll_next(&mut self, context)
    }
}

/// Blocking iterator over received envelopes: see [`Inbox::iter`].
#[derive(Debug)]
pub struct Iter<'a> {
    inbox: &'a mut Inbox,
}

impl Iterator for Iter<'_> {
    type Item = Envelope;

    fn next(&mut self) -> Option<Envelope> {
        self.inbox.next(None)
    }
}

/// Future of the next envelope: see [`Inbox::recv_async`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Recv<'a> {
    inbox: &'a mut Inbox,
}

impl Future for Recv<'_> {
    type Output = Result<Envelope, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.inbox.poll_next(context).map(|envelope| envelope.ok_or_else(|| self.inbox.end()))
    }
}

/// Reason why [`Inbox::recv`] returned no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The server has stopped, and all received envelopes were taken.
    Stopped,
    /// The server is inline and belongs to another thread: see [`Threading::Inline`](crate::Threading::Inline).
    WrongThread,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Stopped => f.write_str("the server has stopped: nothing more will arrive"),
            RecvError::WrongThread => WrongThread.fmt(f),
        }
    }
}

impl std::error::Error for RecvError {}

/// Reason why [`Inbox::recv_timeout`] returned no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// No envelope came in time.
    Timeout,
    /// The server has stopped, and all received envelopes were taken.
    Stopped,
    /// The server is inline and belongs to another thread: see [`Threading::Inline`](crate::Threading::Inline).
    WrongThread,
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvTimeoutError::Timeout => f.write_str("nothing arrived in time"),
            RecvTimeoutError::Stopped => RecvError::Stopped.fmt(f),
            RecvTimeoutError::WrongThread => WrongThread.fmt(f),
        }
    }
}

impl std::error::Error for RecvTimeoutError {}

/// Reason why [`Inbox::try_recv`] returned no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// No envelope is available now.
    Empty,
    /// The server has stopped, and all received envelopes were taken.
    Stopped,
    /// The server is inline and belongs to another thread: see [`Threading::Inline`](crate::Threading::Inline).
    WrongThread,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryRecvError::Empty => f.write_str("nothing has arrived"),
            TryRecvError::Stopped => RecvError::Stopped.fmt(f),
            TryRecvError::WrongThread => WrongThread.fmt(f),
        }
    }
}

impl std::error::Error for TryRecvError {}
