//! Ids of sockets: those of connections in memory are odd, those of the inner driver even.

use crate::driver::{Completion, SocketId};

pub(super) fn in_memory(slot: u32) -> SocketId {
    SocketId(slot << 1 | 1)
}

pub(super) fn is_in_memory(socket: SocketId) -> bool {
    socket.0 & 1 == 1
}

pub(super) fn slot(socket: SocketId) -> usize {
    (socket.0 >> 1) as usize
}

/// Returns the shard's id of a socket of the inner driver.
pub(super) fn outside(socket: SocketId) -> SocketId {
    SocketId(socket.0 << 1)
}

/// Returns the inner driver's id of a socket of the shard.
pub(super) fn inside(socket: SocketId) -> SocketId {
    SocketId(socket.0 >> 1)
}

/// Translates a completion of the inner driver to the shard's ids.
pub(super) fn rename(completion: &mut Completion) {
    if let Completion::Accepted { listener, .. } = completion {
        *listener = outside(*listener);
    }
    let socket = completion.socket_mut();
    *socket = outside(*socket);
}
