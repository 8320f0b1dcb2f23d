//! The inbox: what arrives.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cluster_engine::{LoopHandle, Receiver, WrongThread};
use futures_core::Stream;

use crate::wait::wait;
use crate::{Envelope, EnvelopeRef};

/// Segments that one [`Inbox::drain`] takes at most.
const DRAINED_SEGMENTS: usize = 256;

/// What arrives at a server.
///
/// | call | waits | gives |
/// | --- | --- | --- |
/// | [`recv`](Inbox::recv) | until there is one | an [`Envelope`] |
/// | [`recv_timeout`](Inbox::recv_timeout) | for at most that long | an [`Envelope`] |
/// | [`try_recv`](Inbox::try_recv) | not at all | an [`Envelope`] |
/// | [`recv_async`](Inbox::recv_async), [`Stream`] | without blocking the thread | an [`Envelope`] |
/// | [`iter`](Inbox::iter) | between envelopes, until the server stops | [`Envelope`]s |
/// | [`drain`](Inbox::drain) | not at all | all there are, borrowed, without a copy: the fast path |
/// | [`drain_wait`](Inbox::drain_wait) | until there is one | all there are, borrowed |
///
/// An envelope in the inbox is acknowledged to its sender, and can be read even after the server has stopped. An inbox
/// that nobody reads fills up to `inbox_bytes` for each peer; then its senders are told that there is no room.
pub struct Inbox {
    receiver: Receiver,
    loop_handle: LoopHandle,
}

impl Inbox {
    pub(crate) fn new(receiver: Receiver, loop_handle: LoopHandle) -> Inbox {
        Inbox { receiver, loop_handle }
    }

    /// The next envelope; waits for it.
    ///
    /// # Errors
    /// `Stopped` when the server has stopped and everything that had arrived was taken; `WrongThread` on another thread
    /// than the one that an inline server belongs to.
    #[inline(always)]
    pub fn recv(&mut self) -> Result<Envelope, RecvError> {
        self.next(None).ok_or_else(|| self.end())
    }

    /// The next envelope; waits at most `timeout` for it.
    ///
    /// # Errors
    /// `Timeout` when none came in time; otherwise as [`recv`](Inbox::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Envelope, RecvTimeoutError> {
        match self.next(self.loop_handle.now().checked_add(timeout)) {
            Some(envelope) => Ok(envelope),
            None if self.is_stopped() => Err(RecvTimeoutError::Stopped),
            None if self.loop_handle.is_elsewhere() => Err(RecvTimeoutError::WrongThread),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// The next envelope, if one is there.
    ///
    /// # Errors
    /// `Empty` when none is there now; otherwise as [`recv`](Inbox::recv).
    #[inline(always)]
    pub fn try_recv(&mut self) -> Result<Envelope, TryRecvError> {
        match self.pop() {
            Some(envelope) => Ok(envelope),
            None if self.is_stopped() => Err(TryRecvError::Stopped),
            None if self.loop_handle.is_elsewhere() => Err(TryRecvError::WrongThread),
            None => Err(TryRecvError::Empty),
        }
    }

    /// The next envelope, without blocking the thread; on any async runtime.
    ///
    /// **Cancel-safe**: an envelope is taken out of the inbox by the poll that returns it. A future that is dropped before
    /// has taken nothing.
    ///
    /// The server of an inline engine has no thread to wake the future: it turns the loop each time it is polled, and
    /// asks to be polled again at once.
    ///
    /// # Errors
    /// As [`recv`](Inbox::recv).
    pub fn recv_async(&mut self) -> Recv<'_> {
        Recv { inbox: self }
    }

    /// The envelopes as they come; ends when [`recv`](Inbox::recv) would return an error.
    pub fn iter(&mut self) -> Iter<'_> {
        Iter { inbox: self }
    }

    /// Hands every envelope that is there to `each`, borrowed from where it was received, and returns how many there were.
    ///
    /// This is the fast path: nothing is copied and nothing is allocated. One call takes a bounded number, so that a
    /// program that is sent more than it can handle gets to its other work.
    ///
    /// Returns 0 on another thread than the one that an inline server belongs to, unless something is there;
    /// [`try_recv`](Inbox::try_recv) tells the difference.
    ///
    /// A panic of `each` takes the envelope that it was given, and leaves all others in the inbox.
    ///
    /// ```no_run
    /// # let config = cluster::Config::new([(1, "127.0.0.1:8001"), (2, "127.0.0.1:8002")]).unwrap();
    /// # use cluster::Server;
    /// let mut server = cluster::start(1, &config).unwrap();
    /// let mut bytes = 0;
    /// server.inbox().drain(|envelope| bytes += envelope.msg.len());
    /// ```
    pub fn drain(&mut self, mut each: impl FnMut(EnvelopeRef<'_>)) -> usize {
        if self.receiver.is_empty() && self.loop_handle.is_inline() {
            self.loop_handle.poll();
        }
        self.receiver.drain(DRAINED_SEGMENTS, |received| each(EnvelopeRef::from_received(received)))
    }

    /// As [`drain`](Inbox::drain), but waits for the first envelope, at most `timeout` if there is one.
    ///
    /// Returns 0 when the time is over, and at once when nothing can come: [`try_recv`](Inbox::try_recv) tells why.
    pub fn drain_wait(&mut self, timeout: Option<Duration>, each: impl FnMut(EnvelopeRef<'_>)) -> usize {
        self.wait(timeout.and_then(|timeout| self.loop_handle.now().checked_add(timeout)));
        self.drain(each)
    }

    /// Whether the server has stopped and everything that had arrived was taken.
    pub fn is_stopped(&self) -> bool {
        self.receiver.is_empty()
            && (self.receiver.is_closed() || self.loop_handle.is_stopped())
            && self.receiver.is_empty()
    }

    /// Why nothing comes.
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

    /// Waits until something is there; `false` when the time is over, or nothing will come.
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
        // What came before the waker was registered wakes nobody.
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

/// The envelopes as they come, without blocking the thread; ends when [`Inbox::recv`] would return an error.
/// Cancel-safe, as [`Inbox::recv_async`].
impl Stream for Inbox {
    type Item = Envelope;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Envelope>> {
        Inbox::poll_next(&mut self, context)
    }
}

/// The envelopes as they come: see [`Inbox::iter`].
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

/// The next envelope: see [`Inbox::recv_async`].
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

/// Why [`Inbox::recv`] has no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The server has stopped, and everything that had arrived was taken.
    Stopped,
    /// The server is inline, and belongs to another thread: see [`Threading::Inline`](crate::Threading::Inline).
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

/// Why [`Inbox::recv_timeout`] has no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// None came in time.
    Timeout,
    /// The server has stopped, and everything that had arrived was taken.
    Stopped,
    /// The server is inline, and belongs to another thread: see [`Threading::Inline`](crate::Threading::Inline).
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

/// Why [`Inbox::try_recv`] has no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// None is there now.
    Empty,
    /// The server has stopped, and everything that had arrived was taken.
    Stopped,
    /// The server is inline, and belongs to another thread: see [`Threading::Inline`](crate::Threading::Inline).
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
