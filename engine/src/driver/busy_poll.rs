//! Busy polling of sockets: receives that a loop does by itself while it does not sleep.
//!
//! A receive through the ring takes two entries: one that submits it, and one that runs it once bytes have come. A loop
//! that spins calls `recv` itself instead, and has the bytes as soon as they come. That pays where bytes come soon, as an
//! answer does. So after some polls that found nothing, the receive goes to the ring, and so do some receives after it.
//! Before a loop sleeps, it gives all receives to the ring.

use std::io;
use std::os::fd::RawFd;

use super::{ReceiveBuffer, SocketId};

/// Most sockets of a loop that polls them. With more, all receives go to the ring, which reports all of them at once.
const MOST_SOCKETS: usize = 8;
/// Polls of one receive before it goes to the ring.
const POLLS: u32 = 12;
/// Receives of a socket that go to the ring after that.
const LEFT_TO_RING: u32 = 16;

/// The sockets that are polled.
#[derive(Debug, Default)]
pub(super) struct BusyPoll {
    sockets: Vec<SocketId>,
}

/// Polls that a socket has left before its receives go to the ring.
#[derive(Debug, Default)]
pub(super) struct PollBudget {
    /// Polls of the present receive.
    polls: u32,
    left_to_ring: u32,
}

impl BusyPoll {
    /// Takes over a receive, unless it is to go to the ring. `sockets`: the number of sockets of the loop.
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

    /// The polled socket at `index`.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<SocketId> {
        self.sockets.get(index).copied()
    }

    /// Stops polling a socket. Returns it if it was polled.
    pub(super) fn remove(&mut self, socket: SocketId) -> Option<SocketId> {
        let index = self.sockets.iter().position(|other| *other == socket)?;
        Some(self.sockets.swap_remove(index))
    }

    /// Stops polling any one socket, and returns it.
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

/// Receives into the free part of `buffer` without waiting. `None` if no bytes are there.
#[inline]
pub(super) fn receive(socket: RawFd, buffer: &mut ReceiveBuffer) -> Option<io::Result<usize>> {
    let (address, bytes) = buffer.target();
    // SAFETY: so many bytes at the address are the buffer's to fill, and the kernel writes to them during the call alone.
    let received = unsafe { libc::recv(socket, address.cast(), bytes, libc::MSG_DONTWAIT) };
    match usize::try_from(received) {
        Ok(bytes) => {
            // SAFETY: so many were written, and the call is over.
            unsafe { buffer.advance(bytes) };
            Some(Ok(bytes))
        }
        Err(_) => match io::Error::last_os_error() {
            error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
            error => Some(Err(error)),
        },
    }
}
