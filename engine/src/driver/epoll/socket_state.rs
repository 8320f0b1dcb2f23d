//! State of a socket, and its reads and writes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::batch::Batch;
use crate::driver::ReceiveBuffer;
use crate::driver::sending::DirectSend;

/// A socket and its operations.
pub(super) struct SocketState {
    pub(super) descriptor: OwnedFd,
    /// Set if the socket was closed in this turn. The next turn closes the descriptor and tells the shard.
    pub(super) closing: bool,
    pub(super) listens: bool,
    pub(super) connecting: bool,
    /// Set if the connection may be readable.
    pub(super) readable: bool,
    /// Set if the connection may be writable.
    pub(super) writable: bool,
    /// Set if the connection has ended in one direction or both. Reads do not block any more.
    pub(super) ended: bool,
    pub(super) receive: Option<ReceiveBuffer>,
    pub(super) send: Option<Send>,
    /// Set if the connection is in `runnable`.
    pub(super) runnable: bool,
}

/// A send under way: the batch, and the number of its bytes that were sent.
pub(super) struct Send {
    pub(super) batch: Box<Batch>,
    pub(super) sent: usize,
}

impl SocketState {
    pub(super) fn new(descriptor: OwnedFd) -> SocketState {
        SocketState {
            descriptor,
            closing: false,
            listens: false,
            connecting: false,
            readable: false,
            writable: true,
            ended: false,
            receive: None,
            send: None,
            runnable: false,
        }
    }

    /// Returns whether an operation may make progress.
    pub(super) fn can_go_on(&self) -> bool {
        (self.receive.is_some() && self.readable) || (self.send.is_some() && self.writable)
    }

    /// Receives once. Returns the result and the buffer, unless no bytes are there.
    pub(super) fn try_receive(&mut self) -> Option<(io::Result<usize>, ReceiveBuffer)> {
        let mut buffer = self.receive.take()?;
        let free = buffer.free();
        let result = match rustix::net::recv(&self.descriptor, buffer.spare(), RecvFlags::DONTWAIT) {
            Ok((bytes, _)) => {
                self.readable = bytes == free || self.ended;
                // SAFETY: the call has written that many bytes, and is over.
                unsafe { buffer.advance(bytes) };
                Ok(bytes)
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                self.receive = Some(buffer);
                return None;
            }
            Err(Errno::INTR) => {
                self.receive = Some(buffer);
                return None;
            }
            Err(error) => Err(error.into()),
        };
        Some((result, buffer))
    }

    /// Sends as much as the kernel takes. Returns the result and the batch, unless some of it is left.
    pub(super) fn try_send(&mut self, direct_send: &mut DirectSend) -> Option<(io::Result<()>, Box<Batch>)> {
        let Send { batch, sent } = self.send.as_mut()?;
        let result = match direct_send.send(self.descriptor.as_raw_fd(), batch, *sent) {
            Ok(bytes) => {
                *sent += bytes;
                if *sent < batch.bytes() {
                    self.writable = false;
                    return None;
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                return None;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
            Err(error) => Err(error),
        };
        self.send.take().map(|send| (result, send.batch))
    }
}
