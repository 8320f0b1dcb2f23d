//! Drivers: the sockets of a shard, and a wait that a notifier can end.
//!
//! A driver knows no frames and no peers. Every operation takes ownership of its buffers and gives them back with its
//! completion. So the driver owns all memory that the kernel may write to or read from until the operation is over,
//! whatever the layers above do meanwhile.

mod any;
#[cfg(feature = "tokio")]
mod async_fd;
mod budget;
mod busy_poll;
mod chunk;
mod enter;
mod epoll;
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

pub(crate) use any::Started;
pub use any::{AnyDriver, DriverChoice};
#[cfg(feature = "tokio")]
pub(crate) use async_fd::register;
pub use budget::Budget;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use budget::take_spent;
pub use chunk::{ChunkPool, PinnedChunk, ReceiveBuffer, Slice};
pub use epoll::Epoll;
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

/// Most connections of one listener that a driver accepts before the shard processes them.
pub(crate) const ACCEPTED_AT_ONCE: usize = 16;

/// Id of a socket of a driver. It is reused only after its [`Completion::Closed`] was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub(crate) u32);

/// Source of a listening socket.
#[derive(Debug)]
pub enum Listener {
    /// A socket that listens already.
    Socket(TcpListener),
    /// An address at which the driver makes a listening socket.
    At(SocketAddr),
}

/// Time that a turn may wait for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// No wait.
    No,
    /// A wait until there is a completion, or until about this time: it may end a little early.
    Until(Time),
    /// A wait until there is a completion.
    Forever,
}

/// Progress of a driver: the result of [`Driver::reap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// Time until which everything that had arrived was handed out.
    pub until: Time,
    /// Set if something is left to hand out, as far as is known. The next turn must not wait then.
    pub is_left: bool,
}

/// Operations of a driver, for one shard.
///
/// A socket has at most one receive and one send under way. After [`close`](Driver::close), the driver begins nothing
/// more on the socket and reports nothing about it but [`Completion::Closed`].
pub trait Driver {
    /// Returns the present time. Everything above a driver takes the time from here.
    fn now(&self) -> Time;

    /// Returns the notifier that ends a wait.
    fn notifier(&self) -> Arc<Notifier>;

    /// Accepts connections on `listener` until it is closed. With a local address, also accepts connections through
    /// memory.
    ///
    /// # Errors
    /// Returns an error when no listening socket can be made.
    fn listen(&mut self, listener: Listener, local: Option<LocalAddr>) -> io::Result<SocketId>;

    /// Stops accepting connections over TCP. They wait in the listener's backlog.
    fn pause_accept(&mut self, listener: SocketId);

    /// Resumes accepting after [`pause_accept`](Driver::pause_accept) or a [`Completion::AcceptFailed`].
    fn resume_accept(&mut self, listener: SocketId);

    /// Dials `address`. [`Completion::Connected`] reports the outcome.
    ///
    /// # Errors
    /// Returns an error when no socket can be made, for example for lack of descriptors.
    fn connect(&mut self, address: SocketAddr, way: Way) -> io::Result<SocketId>;

    /// Receives into the free part of `buffer`. A connection in memory ignores the buffer: its bytes come without a
    /// request, as [`Completion::Handed`].
    fn receive(&mut self, socket: SocketId, buffer: ReceiveBuffer);

    /// Sends `batch` without its first `skip` bytes.
    fn send(&mut self, socket: SocketId, batch: Box<Batch>, skip: usize);

    /// Sends as much of `batch` as the socket takes without waiting. Returns the number of bytes sent. May be called
    /// from any thread.
    ///
    /// # Errors
    /// Returns an error when the socket is full (`WouldBlock`; a full socket may also take zero bytes), or the
    /// connection is broken.
    fn send_now(&mut self, socket: SocketId, batch: &Batch) -> io::Result<usize>;

    /// Returns whether the peer has not yet read what was sent earlier, as far as is known. Another heartbeat would
    /// tell such a peer nothing.
    fn is_unread(&self, _socket: SocketId) -> bool {
        false
    }

    /// Returns the time until which the peer has sent everything that was due; `now` if the driver does not know.
    /// Silence after that time proves nothing, because the peer's loop is late.
    fn peer_sent_until(&self, _socket: SocketId, now: Time) -> Time {
        now
    }

    /// Reports at `now` that this side has sent everything that was due until `until`.
    fn report_sent_until(&mut self, _until: Time, _now: Time) {}

    /// Ends the sending direction of the connection. Bytes sent before still arrive.
    fn finish(&mut self, socket: SocketId);

    /// Ends the operations under way on the socket, and closes it.
    fn close(&mut self, socket: SocketId);

    /// Prepares the system call that submits the requested operations and waits as `wait` says. Returns `None` if no
    /// call is needed.
    ///
    /// The call itself is an [`Entry`], which does not borrow the driver. So other threads can use the shard while its
    /// thread waits.
    fn begin(&mut self, wait: Wait) -> Option<Self::Entry>;

    /// Appends completions to `completions`, as many as a turn has a [`Budget`] for. The next call appends the rest.
    ///
    /// The ids of sockets that the previous call reported as [closed](Completion::Closed) may be reused from this call
    /// on. An earlier reuse would be wrong: a caller that works through the completions may not have come to that one
    /// yet.
    ///
    /// # Errors
    /// Returns an error when a call into the kernel has failed. The driver is unusable then.
    fn reap(&mut self, completions: &mut VecDeque<Completion>, now: Time) -> io::Result<Reaped>;

    /// System call that [`begin`](Driver::begin) prepares.
    type Entry: Entry;
}

/// Prepared system call that submits operations and may wait.
pub trait Entry {
    /// Submits the requested operations, and waits. Only the thread that drives the shard may call this.
    ///
    /// # Errors
    /// Returns an error when the call into the kernel has failed.
    fn enter(self) -> io::Result<()>;

    /// Returns whether the call may wait: the driver has nothing to do without it.
    fn waits(&self) -> bool;
}

/// Allowed transports of a dial.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Set if the dial may go through memory. It does if a server of the same engine listens at the address.
    pub memory: bool,
    /// Limit of the bytes that the kernel holds of a TCP connection in each direction; 0: no limit.
    pub socket_bytes: usize,
}

/// Outcome of an operation.
#[derive(Debug)]
pub enum Completion {
    /// A peer has connected.
    Accepted {
        /// Listening socket.
        listener: SocketId,
        /// New connection.
        socket: SocketId,
        /// Address of the peer. `None`: another server of the engine, through memory.
        source: Option<IpAddr>,
    },
    /// The listener accepts no more connections, for lack of descriptors or memory, until
    /// [`resume_accept`](Driver::resume_accept).
    AcceptFailed {
        /// Listening socket.
        listener: SocketId,
        /// Error of the kernel.
        error: io::Error,
    },
    /// A dial has ended.
    Connected {
        /// Connection that the completion is about.
        socket: SocketId,
        /// `Ok` if the connection is established.
        result: io::Result<()>,
    },
    /// A receive has ended.
    Received {
        /// Connection that the completion is about.
        socket: SocketId,
        /// Number of bytes added to the buffer; zero at the end of the connection.
        result: io::Result<usize>,
        /// Buffer that was received into.
        buffer: ReceiveBuffer,
    },
    /// The peer of a connection in memory has sent something.
    Handed {
        /// Connection that the completion is about.
        socket: SocketId,
        /// Whole segments.
        bytes: Slice,
    },
    /// The peer of a connection in memory sends nothing more.
    Ended {
        /// Connection that the completion is about.
        socket: SocketId,
    },
    /// A send has ended: the kernel took all of the batch, or the connection is broken.
    Sent {
        /// Connection that the completion is about.
        socket: SocketId,
        /// `Ok` if all of the batch was taken.
        result: io::Result<()>,
        /// Batch that was sent, given back to its owner.
        batch: Box<Batch>,
    },
    /// The socket is closed, and the kernel holds no memory of it.
    Closed {
        /// Socket that is closed.
        socket: SocketId,
    },
}

impl Completion {
    /// Returns the socket that the completion is about. For `Accepted`, that is the new connection, not the listener.
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
