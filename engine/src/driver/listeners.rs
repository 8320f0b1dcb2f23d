//! Listening sockets, watched through epoll, so that the ring holds none of them.
//!
//! An operation on a ring keeps its file open until the kernel has torn the ring down. After a SIGKILL, the kernel
//! first waits for a grace period of RCU: some milliseconds, but seconds while a task of low priority gets no
//! processor. An accept on the ring would keep the address in use for that time, and a successor of the process could
//! not start. Epoll keeps no file open: the listener is closed with the process.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use socket2::SockAddr;

use super::{ACCEPTED_AT_ONCE, SocketId};

/// Most listeners that one turn accepts from. The others wait for the next turn.
const AT_ONCE: usize = 16;

/// The listeners of a driver, in an epoll instance.
#[derive(Debug)]
pub(super) struct Listeners {
    epoll: OwnedFd,
}

impl Listeners {
    pub(super) fn new() -> io::Result<Listeners> {
        // SAFETY: epoll_create1 takes no pointers.
        let descriptor = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made, and nobody else owns it.
        Ok(Listeners { epoll: unsafe { OwnedFd::from_raw_fd(descriptor) } })
    }

    /// Descriptor of the epoll instance. It is readable when a connection waits.
    pub(super) fn descriptor(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// Adds a listener and watches it until a connection waits there.
    pub(super) fn add(&self, listener: RawFd, socket: SocketId) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, libc::EPOLLIN, listener, socket)
    }

    /// Watches a listener again, until the next connection waits there.
    pub(super) fn watch(&self, listener: RawFd, socket: SocketId) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, libc::EPOLLIN, listener, socket)
    }

    /// Stops watching a listener until [`watch`](Listeners::watch) is called.
    pub(super) fn pause(&self, listener: RawFd, socket: SocketId) {
        // The listener is in the instance, so this cannot fail.
        let _ = self.control(libc::EPOLL_CTL_MOD, 0, listener, socket);
    }

    /// Removes a listener.
    pub(super) fn remove(&self, listener: RawFd, socket: SocketId) {
        // The listener is in the instance, so this cannot fail.
        let _ = self.control(libc::EPOLL_CTL_DEL, 0, listener, socket);
    }

    /// Returns listeners at which connections wait, at most [`AT_ONCE`]. None of them is watched any longer.
    pub(super) fn ready(&self) -> Vec<SocketId> {
        let mut events = [const { libc::epoll_event { events: 0, u64: 0 } }; AT_ONCE];
        // SAFETY: the kernel writes at most `AT_ONCE` events into the array, which has that length and outlives the
        // call.
        let count = unsafe { libc::epoll_wait(self.descriptor(), events.as_mut_ptr(), AT_ONCE as libc::c_int, 0) };
        let count = usize::try_from(count).unwrap_or_default();
        events[..count].iter().map(|event| SocketId(event.u64 as u32)).collect()
    }

    fn control(
        &self,
        operation: libc::c_int,
        events: libc::c_int,
        listener: RawFd,
        socket: SocketId,
    ) -> io::Result<()> {
        let events = (events | libc::EPOLLONESHOT) as u32;
        let mut event = libc::epoll_event { events, u64: u64::from(socket.0) };
        // SAFETY: the kernel reads `event` only during the call.
        checked(unsafe { libc::epoll_ctl(self.descriptor(), operation, listener, &raw mut event) })?;
        Ok(())
    }
}

/// Accepts connections that wait at a non-blocking listener, at most [`ACCEPTED_AT_ONCE`]. Gives each to `each` with
/// its source address.
///
/// # Errors
/// The first error of the kernel that is not about a single connection.
pub(super) fn accept(listener: RawFd, mut each: impl FnMut(OwnedFd, Option<IpAddr>)) -> io::Result<()> {
    for _ in 0..ACCEPTED_AT_ONCE {
        // SAFETY: the kernel writes an address into the storage, which is large enough for every kind, and the
        // address's length into `length`.
        let accepted = unsafe {
            SockAddr::try_init(|storage, length| {
                checked(libc::accept4(listener, storage.cast(), length, libc::SOCK_CLOEXEC))
            })
        };
        match accepted {
            Ok((descriptor, source)) => {
                // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
                let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
                each(descriptor, source.as_socket().map(|source| source.ip().to_canonical()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // The peer closed the connection before it was accepted, or a signal came.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
