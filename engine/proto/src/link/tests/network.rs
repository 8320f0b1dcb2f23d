//! Simulated TCP connections: two queues of bytes, which may be cut, stall, or end without notice.

use crate::batch::Batch;
use crate::session::Session;
use crate::time::Time;

/// One end of a connection. End 0 has dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Socket {
    pub(super) connection: usize,
    pub(super) end: usize,
}

impl Socket {
    pub(super) fn other(self) -> Socket {
        Socket { connection: self.connection, end: 1 - self.end }
    }
}

pub(super) struct End {
    pub(super) side: usize,
    /// Session of the process with this end. The key is the life of the server.
    pub(super) session: Session<u32>,
    /// Set while the process has the connection: it was dialed or accepted, and not closed.
    pub(super) open: bool,
    pub(super) deadline: Option<Time>,
    /// Batch under way, and the number of bytes that the kernel has taken. The rest is read when the kernel takes it.
    pub(super) sending: Option<(Batch, usize)>,
    pub(super) next: Option<Batch>,
    /// Received bytes that are not a whole segment yet.
    pub(super) received: Vec<u8>,
    /// Bytes under way to this end.
    pub(super) pipe: Pipe,
}

#[derive(Default)]
pub(super) struct Pipe {
    pub(super) bytes: Vec<u8>,
    /// Set if the writer has closed: the end of the connection follows the bytes.
    pub(super) closed: bool,
    /// Set if written bytes are lost.
    pub(super) dead: bool,
    pub(super) stalled_until: Time,
    /// Set if an arrival is on the timetable.
    pub(super) scheduled: bool,
}

impl End {
    pub(super) fn new(side: usize, session: Session<u32>, open: bool) -> End {
        End {
            side,
            session,
            open,
            deadline: None,
            sending: None,
            next: None,
            received: Vec::new(),
            pipe: Pipe::default(),
        }
    }
}
