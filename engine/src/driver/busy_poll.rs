//! Busy polling of sockets: receives that a loop does itself while it does not sleep.
//!
//! A receive through the ring needs two entries into the kernel: one submits it, and one runs it once bytes have come.
//! A loop that spins calls `recv` itself instead, and has the bytes as soon as they come. That pays off where bytes
//! come soon, as an answer does. So after some polls that found nothing, the receive goes to the ring, and so do some
//! receives after it. Before a loop sleeps, it gives all receives to the ring.

use std::io;
use std::os::fd::RawFd;

use super::{ReceiveBuffer, SocketId};

/// Most sockets of a loop that polls them. With more sockets, all receives go to the ring, which reports all of them at
/// once.
const MOST_SOCKETS: usize = 8;
/// Polls of one receive before it goes to the ring.
const POLLS: u32 = 12;
/// Number of the socket's next receives that then go to the ring at once.
const LEFT_TO_RING: u32 = 16;

/// Polled sockets: each has a receive that is not in the ring.
#[derive(Debug, Default)]
pub(super) struct BusyPoll {
    sockets: Vec<SocketId>,
}

/// Polls of a socket, counted until its receives go to the ring.
#[derive(Debug, Default)]
pub(super) struct PollBudget {
    /// Polls of the present receive that found nothing.
    polls: u32,
    left_to_ring: u32,
}

impl BusyPoll {
    /// Starts polling for a receive, unless the receive is to go to the ring. `sockets` is the number of sockets of the
    /// loop. Returns whether the socket is polled.
    #[inline]
    pub(super) fn take(&mut self, socket: SocketId, poll_budget: &mut PollBudget, sockets: usize) -> bool {
        if sockets > MOST_SOCKETS {
            return false;
        }
        if poll_budget.left_to_ring > 0 {
            poll_budget.left_to_ring -= 1;
            return false;
        }
        poll_budget.polls = 0;
        self.sockets.push(socket);
        true
    }

    /// Returns the polled socket at `index`.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<SocketId> {
        self.sockets.get(index).copied()
    }

    /// Stops polling a socket. Returns the socket if it was polled.
    pub(super) fn remove(&mut self, socket: SocketId) -> Option<SocketId> {
        let index = self.sockets.iter().position(|other| *other == socket)?;
        Some(self.sockets.swap_remove(index))
    }

    /// Stops polling one of the sockets, and returns it.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<SocketId> {
        self.sockets.pop()
    }
}

impl PollBudget {
    /// Counts a poll that found nothing. Returns whether to poll again.
    #[inline]
    pub(super) fn spend(&mut self) -> bool {
        self.polls += 1;
        let again = self.polls < POLLS;
        if !again {
            self.left_to_ring = LEFT_TO_RING;
        }
        again
    }
}

/// Receives into the free part of `buffer` without waiting. Returns `None` if no bytes are there.
#[inline]
pub(super) fn receive(socket: RawFd, buffer: &mut ReceiveBuffer) -> Option<io::Result<usize>> {
    let (address, bytes) = buffer.target();
    // SAFETY: `bytes` bytes from `address` on belong to the buffer, which may fill them, and the kernel writes to them
    // only during the call.
    let received = unsafe { libc::recv(socket, address.cast(), bytes, libc::MSG_DONTWAIT) };
    match usize::try_from(received) {
        Ok(bytes) => {
            // SAFETY: the call has written that many bytes, and is over.
            unsafe { buffer.advance(bytes) };
            Some(Ok(bytes))
        }
        Err(_) => match io::Error::last_os_error() {
            error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
            error => Some(Err(error)),
        },
    }
}
