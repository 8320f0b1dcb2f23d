//! Simulated TCP connections: two pipes of bytes each.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::driver::SocketId;
use crate::time::Time;

/// Name of one end of a connection. End 0 has dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Side {
    pub(super) connection: usize,
    pub(super) end: usize,
}

impl Side {
    pub(super) fn other(self) -> Side {
        Side { connection: self.connection, end: 1 - self.end }
    }
}

/// Connection between two ends.
pub(super) struct Connection {
    pub(super) address: SocketAddr,
    /// Listener that the dial has reached. A connection that was not accepted ends with its listener.
    pub(super) listener: Option<(usize, SocketId)>,
    pub(super) ends: [End; 2],
}

/// Owner of an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The kernel: the connection was not accepted yet.
    Kernel,
    /// A process, with a socket.
    Socket { process: usize, socket: SocketId },
    /// A stranger, who never greets this server.
    Stranger { server: usize },
    /// A replayer, who sends the recording of a dialer.
    Replayer,
    /// None: the end is closed.
    Closed,
}

/// End of a connection.
pub(super) struct End {
    pub(super) machine: usize,
    pub(super) owner: Owner,
    /// The end has learned that the connection is over.
    pub(super) reset: bool,
    /// Bytes on their way to this end.
    pub(super) pipe: Pipe,
}

impl End {
    pub(super) fn new(machine: usize, owner: Owner) -> End {
        End { machine, owner, reset: false, pipe: Pipe::default() }
    }
}

/// Bytes that one end sends and the other has not read.
#[derive(Default)]
pub(super) struct Pipe {
    /// Chunks on their way, in order. `None` is the end of what is sent.
    pub(super) under_way: VecDeque<Option<Vec<u8>>>,
    pub(super) arrived: Vec<u8>,
    /// Number of bytes of `arrived` that were read.
    pub(super) read: usize,
    /// Bytes that take room in the kernels' buffers.
    pub(super) bytes: usize,
    /// The writer has ended its direction.
    pub(super) finished: bool,
    /// The end of the writer's direction has arrived.
    pub(super) ended: bool,
    /// All bytes that are written are lost.
    pub(super) cut: bool,
    /// Time before which nothing arrives.
    pub(super) held_until: Time,
    /// Arrival time of the last chunk that was sent.
    pub(super) last_arrival: Time,
}

impl Pipe {
    pub(super) fn unread(&self) -> &[u8] {
        &self.arrived[self.read..]
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.read += bytes;
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.read == self.arrived.len() {
            self.arrived.clear();
            self.read = 0;
        }
    }

    /// Cuts the pipe. Of the bytes under way, only the first `keep` still arrive. All later bytes are lost.
    pub(super) fn cut(&mut self, mut keep: usize) {
        self.cut = true;
        for chunk in &mut self.under_way {
            let length = chunk.as_ref().map_or(0, Vec::len);
            match chunk {
                Some(bytes) if keep < length => bytes.truncate(keep),
                _ => {}
            }
            keep = keep.saturating_sub(length);
        }
        self.under_way.retain(|chunk| chunk.as_ref().is_some_and(|bytes| !bytes.is_empty()));
    }

    pub(super) fn bytes_under_way(&self) -> usize {
        self.under_way.iter().flatten().map(Vec::len).sum()
    }
}
