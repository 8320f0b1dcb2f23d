//! Options of sockets.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use socket2::SockRef;

/// Connections that the kernel keeps for a listener until they are accepted. The kernel may keep fewer
/// (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Lengthens the backlog for peers that dial at once, of which there may be hundreds. A peer that finds the backlog
/// full tries again after a second.
pub(super) fn lengthen_backlog(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).listen(BACKLOG)
}

/// Limits the bytes that the kernel holds of a connection in each direction. A limit on a listener holds for each
/// connection that it accepts. 0: no limit; the kernel may then hold many megabytes that nothing can overtake.
pub(crate) fn hold_at_most<'s>(bytes: usize, socket: impl Into<SockRef<'s>>) {
    if bytes > 0 {
        let socket = socket.into();
        // The kernel doubles both sizes. It sets half of the receive buffer aside for its own overhead, but fills all
        // of the send buffer. A smaller size that the kernel grants is accepted.
        let _ = socket.set_recv_buffer_size(bytes).and_then(|()| socket.set_send_buffer_size(bytes / 2));
    }
}

/// Sets up a connection: turns Nagle's algorithm off. The engine batches envelopes itself, so the kernel must not wait
/// for more.
pub(super) fn set_up_connection(descriptor: &OwnedFd) -> io::Result<()> {
    SockRef::from(descriptor).set_tcp_nodelay(true)
}
