//! Busy polling of sockets: receives that a loop does itself while it does not sleep.
//!
//! A receive through the ring needs two entries into the kernel: one submits it, and one runs it once bytes have come.
//! A loop that spins calls `recv` itself instead, and has the bytes as soon as they come. That pays off where bytes
//! come soon, as an answer does. So after some polls that found nothing, the receive goes to the ring, and so do some
//! receives after it. Before a loop sleeps, it gives all receives to the ring.

use super::SocketId;

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
