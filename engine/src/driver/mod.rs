//! What the shard asks of the outside world: sockets, and a wait that a notifier can end.
//!
//! A driver knows no frames and no peers. Every operation takes its buffers along and gives them back with its
//! completion, so that what the kernel may write to or read from is owned here until then, whatever happens above.

mod budget;
mod busy_poll;
mod chunk;
mod enter;
mod features;
mod limits;
mod listeners;
mod local;
mod notifier;

mod options;
mod sending;
mod sockets;
#[cfg(test)]
mod tests;
mod uring;
mod watermark;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

pub use budget::Budget;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use budget::take_spent;
pub use chunk::{ChunkPool, PinnedChunk, ReceiveBuffer, Slice};
pub use features::{Feature, FeatureReport, Unavailable, probe};
pub use limits::raise_descriptor_limit;
pub(crate) use limits::{is_shortage, with_cure};
pub use local::{LocalAddr, LocalRegistry, LocalTransport, WINDOW_BYTES};
pub use notifier::Notifier;
pub(crate) use options::hold_at_most;
pub use uring::Uring;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use watermark::Watermark;

use crate::batch::Batch;
use crate::time::Time;

/// Number of connections of one listener that are accepted before a shard looks at them.
pub(crate) const ACCEPTED_AT_ONCE: usize = 16;

/// A socket of a driver. Its number is not used again before its [`Completion::Closed`] was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub(crate) u32);

/// Where a server is reached.
#[derive(Debug)]
pub enum Listener {
    /// A socket that listens.
    Socket(TcpListener),
    /// The driver is to make one here.
    At(SocketAddr),
}

/// How long a turn may wait for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// Until there is one, or until about then: the wait may end a little early.
    Until(Time),
    /// Until there is one.
    Forever,
}

/// Progress of a driver with what has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// Time until which everything that had arrived was handed out.
    pub until: Time,
    /// The next turn is not to wait: something is left, as far as can be told.
    pub is_left: bool,
}

/// What a driver does for a shard.
///
/// A socket has at most one receive and one send under way. Once it was told to close, nothing more is begun on it, and
/// nothing of it is reported but [`Completion::Closed`].
pub trait Driver {
    /// The present moment. Everything above a driver takes the time from it.
    fn now(&self) -> Time;

    /// The notifier that ends a wait.
    fn notifier(&self) -> Arc<Notifier>;

    /// Accepts connections on `listener` until it is closed; with a local address, also those that come through memory.
    fn listen(&mut self, listener: Listener, local: Option<LocalAddr>) -> io::Result<SocketId>;

    /// Accepts no more connections that come over TCP: they wait in the listener's backlog.
    fn pause_accept(&mut self, listener: SocketId);

    /// Goes on accepting after a pause, or a [`Completion::AcceptFailed`].
    fn resume_accept(&mut self, listener: SocketId);

    /// Dials `address`.
    fn connect(&mut self, address: SocketAddr, way: Way) -> io::Result<SocketId>;

    /// Receives into what is free of `buffer`. A connection in memory needs no buffer and no asking: what comes is
    /// [handed over](Completion::Handed).
    fn receive(&mut self, socket: SocketId, buffer: ReceiveBuffer);

    /// Sends `batch` without its first `skip` bytes.
    fn send(&mut self, socket: SocketId, batch: Box<Batch>, skip: usize);

    /// Sends as much of `batch` as the socket takes at once, and says how much that is. May be called from any thread.
    fn send_now(&mut self, socket: SocketId, batch: &Batch) -> io::Result<usize>;

    /// Returns whether the other side is known not to have read what was sent to it before: another sign of life would
    /// tell it nothing.
    fn is_unread(&self, _socket: SocketId) -> bool {
        false
    }

    /// The time until which the other side has sent what was due, if the driver knows it and that is not `now`: where
    /// its loop is late, its silence says nothing.
    fn peer_sent_until(&self, _socket: SocketId, now: Time) -> Time {
        now
    }

    /// Everything that was due on this side until then was sent.
    fn report_sent_until(&mut self, _until: Time, _now: Time) {}

    /// Says that nothing more will be sent; what was sent still arrives.
    fn finish(&mut self, socket: SocketId);

    /// Ends what is under way on the socket and closes it.
    fn close(&mut self, socket: SocketId);

    /// What has to be done to hand over what was asked for and to wait as long as `wait` says; `None`: nothing.
    ///
    /// It is apart from the driver so that others can get at the shard while its thread waits.
    fn begin(&mut self, wait: Wait) -> Option<Self::Entry>;

    /// Appends what has completed, as much as a turn has a [`Budget`] for, and the rest the next time.
    ///
    /// Numbers of sockets that were told to be [closed](Completion::Closed) by the last call may be used again from now
    /// on: not before, for whoever works through the completions may not have come to that one.
    fn reap(&mut self, completions: &mut VecDeque<Completion>, now: Time) -> io::Result<Reaped>;

    /// A way into the kernel.
    type Entry: Entry;
}

/// A way into the kernel, and back.
pub trait Entry {
    /// Hands over what was asked for, and waits. Only the thread that drives the shard may call this.
    fn enter(self) -> io::Result<()>;
}

/// How to reach a server.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Through memory, if it can be reached that way.
    pub memory: bool,
    /// Otherwise over TCP, where the kernel may hold so many bytes of the connection in each direction; 0: as many as
    /// it likes.
    pub socket_bytes: usize,
}

/// What has become of an operation.
#[derive(Debug)]
pub enum Completion {
    /// A peer has connected.
    Accepted {
        /// Where.
        listener: SocketId,
        /// The new connection.
        socket: SocketId,
        /// The address that it comes from. `None`: another server of the engine, through memory.
        source: Option<IpAddr>,
    },
    /// No more connections are accepted, for want of descriptors or memory, until
    /// [`resume_accept`](Driver::resume_accept).
    AcceptFailed {
        /// Where.
        listener: SocketId,
        /// Why.
        error: io::Error,
    },
    /// A dial has ended.
    Connected {
        /// The connection.
        socket: SocketId,
        /// Whether there is one.
        result: io::Result<()>,
    },
    /// A receive has ended.
    Received {
        /// The connection.
        socket: SocketId,
        /// How many bytes were added to the buffer; zero at the end of the connection.
        result: io::Result<usize>,
        /// The buffer.
        buffer: ReceiveBuffer,
    },
    /// The other end of a connection in memory has sent something.
    Handed {
        /// The connection.
        socket: SocketId,
        /// Whole segments.
        bytes: Slice,
    },
    /// The other end of a connection in memory sends nothing more.
    Ended {
        /// The connection.
        socket: SocketId,
    },
    /// A send has ended: all of the batch was taken by the kernel, or the connection is broken.
    Sent {
        /// The connection.
        socket: SocketId,
        /// Whether it was taken.
        result: io::Result<()>,
        /// The batch.
        batch: Box<Batch>,
    },
    /// The socket is closed, and the kernel holds nothing of it.
    Closed {
        /// Which.
        socket: SocketId,
    },
}

impl Completion {
    /// Whose it is; of an accepted connection, its own.
    fn socket_mut(&mut self) -> &mut SocketId {
        match self {
            Completion::AcceptFailed { listener, .. } => listener,
            Completion::Accepted { socket, .. }
            | Completion::Connected { socket, .. }
            | Completion::Received { socket, .. }
            | Completion::Handed { socket, .. }
            | Completion::Ended { socket }
            | Completion::Sent { socket, .. }
            | Completion::Closed { socket } => socket,
        }
    }
}
