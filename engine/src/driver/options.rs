//! Options of sockets.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use socket2::SockRef;

/// Connections that the kernel keeps for a listener until they are accepted; it may keep fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Makes room for peers that dial at once, of which there may be hundreds. A peer that finds none tries again after a second.
pub(super) fn lengthen_backlog(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).listen(BACKLOG)
}

/// Limits what the kernel holds of a connection, in each direction; of a listener's, of all connections that it
/// accepts. 0: as much as the kernel likes, which may be many megabytes that nothing can overtake.
pub(crate) fn hold_at_most<'s>(bytes: usize, socket: impl Into<SockRef<'s>>) {
    if bytes > 0 {
        let socket = socket.into();
        // The kernel makes both twice as long as it is asked, and sets half of what arrives aside for its own overhead,
        // but fills all of the other. Where it grants less, less it is.
        let _ = socket.set_recv_buffer_size(bytes).and_then(|()| socket.set_send_buffer_size(bytes / 2));
    }
}

/// Envelopes are batched here; the kernel is not to wait for more.
pub(super) fn set_up_connection(descriptor: &OwnedFd) -> io::Result<()> {
    SockRef::from(descriptor).set_tcp_nodelay(true)
}
