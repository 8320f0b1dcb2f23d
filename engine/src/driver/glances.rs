//! Receives that a loop does by itself while it does not sleep.
//!
//! A receive that is left to the ring takes two entries into it: one that asks for it, and one that runs it once something has
//! come. A loop that goes round and round anyway looks at the socket itself, a call for each look, and is there at once when
//! something comes. That pays where what it waits for comes soon, as the answer to a question does; so after many looks in vain
//! the ring is asked, and again for some receives after that. Before a loop sleeps, it asks for everything.

use std::io;
use std::os::fd::RawFd;

use super::{ReceiveBuffer, SocketId};

/// With more sockets than this, everything is left to the ring, which tells of all of them at once.
const MOST_SOCKETS: usize = 8;
/// So many looks are in vain before the ring is asked.
const LOOKS: u32 = 12;
/// So many receives are left to the ring after that.
const LEFT_TO_RING: u32 = 16;

/// The sockets that are looked at.
#[derive(Debug, Default)]
pub(super) struct Glances {
    sockets: Vec<SocketId>,
}

/// What looking at a socket has brought so far.
#[derive(Debug, Default)]
pub(super) struct Luck {
    /// Looks for the present receive.
    looks: u32,
    left_to_ring: u32,
}

impl Glances {
    /// Takes a receive, unless it is to be left to the ring. `sockets`: how many there are.
    #[inline]
    pub(super) fn take(&mut self, socket: SocketId, luck: &mut Luck, sockets: usize) -> bool {
        if sockets > MOST_SOCKETS {
            return false;
        }
        if luck.left_to_ring > 0 {
            luck.left_to_ring -= 1;
            return false;
        }
        luck.looks = 0;
        self.sockets.push(socket);
        true
    }

    /// The socket at `index`, for as long as there is one.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<SocketId> {
        self.sockets.get(index).copied()
    }

    /// One is looked at no more; which, if it is one.
    pub(super) fn remove(&mut self, socket: SocketId) -> Option<SocketId> {
        let index = self.sockets.iter().position(|other| *other == socket)?;
        Some(self.sockets.swap_remove(index))
    }

    /// One that is looked at no more, if there is any.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<SocketId> {
        self.sockets.pop()
    }
}

impl Luck {
    /// Nothing has come. Returns whether to look again.
    #[inline]
    pub(super) fn in_vain(&mut self) -> bool {
        self.looks += 1;
        let again = self.looks < LOOKS;
        if !again {
            self.left_to_ring = LEFT_TO_RING;
        }
        again
    }
}

/// Receives what is there into what is free of `buffer`; `None`: nothing is there.
#[inline]
pub(super) fn look(socket: RawFd, buffer: &mut ReceiveBuffer) -> Option<io::Result<usize>> {
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
