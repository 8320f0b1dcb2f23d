//! Listening sockets, watched through epoll, so that the ring holds none of them.
//!
//! An operation on a ring keeps its file open until the kernel has torn the ring down. After a SIGKILL, the kernel
//! first waits for a grace period of RCU: some milliseconds, but seconds while a task of low priority gets no
//! processor. An accept on the ring would keep the address in use for that time, and a successor of the process could
//! not start. Epoll keeps no file open: the listener is closed with the process.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;
use socket2::SockRef;

use super::{ACCEPTED_AT_ONCE, Listener, SocketId, options};

/// Most listeners that one turn accepts from. The others wait for the next turn.
const AT_ONCE: usize = 16;

/// Events of a listener that is watched. Each ends the watch.
const WATCHED: EventFlags = EventFlags::IN.union(EventFlags::ONESHOT);

/// The listeners of a driver, in an epoll instance.
#[derive(Debug)]
pub(super) struct Listeners {
    epoll: OwnedFd,
}

impl Listeners {
    pub(super) fn new() -> io::Result<Listeners> {
        Ok(Listeners { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Descriptor of the epoll instance. It is readable when a connection waits.
    pub(super) fn descriptor(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// Adds a listener and watches it until a connection waits there.
    pub(super) fn add(&self, listener: BorrowedFd<'_>, socket: SocketId) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, listener, data(socket), WATCHED)?)
    }

    /// Watches a listener again, until the next connection waits there.
    pub(super) fn watch(&self, listener: BorrowedFd<'_>, socket: SocketId) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, listener, data(socket), WATCHED)?)
    }

    /// Stops watching a listener until [`watch`](Listeners::watch) is called.
    pub(super) fn pause(&self, listener: BorrowedFd<'_>, socket: SocketId) {
        // The listener is in the instance, so this cannot fail.
        let _ = epoll::modify(&self.epoll, listener, data(socket), EventFlags::ONESHOT);
    }

    /// Removes a listener.
    pub(super) fn remove(&self, listener: BorrowedFd<'_>) {
        // The listener is in the instance, so this cannot fail.
        let _ = epoll::delete(&self.epoll, listener);
    }

    /// Returns listeners at which connections wait, at most [`AT_ONCE`]. None of them is watched any longer.
    pub(super) fn ready(&self) -> Vec<SocketId> {
        let mut events = [const { MaybeUninit::uninit() }; AT_ONCE];
        let ready = epoll::wait(&self.epoll, &mut events, Some(&Timespec::default()));
        let ready: &[epoll::Event] = ready.map_or(&[], |(ready, _)| ready);
        ready.iter().map(|event| SocketId(event.data.u64() as u32)).collect()
    }
}

fn data(socket: SocketId) -> EventData {
    EventData::new_u64(u64::from(socket.0))
}

/// Returns a listening socket that does not block and has a long backlog.
///
/// # Errors
/// When the address cannot be bound, or the options cannot be set.
pub(super) fn open(listener: Listener) -> io::Result<TcpListener> {
    let listener = match listener {
        Listener::Socket(listener) => listener,
        Listener::At(address) => TcpListener::bind(address)?,
    };
    listener.set_nonblocking(true)?;
    options::lengthen_backlog(&listener)?;
    Ok(listener)
}

/// A connection that was accepted, and its source address.
pub(super) type Accepted = (OwnedFd, Option<IpAddr>);

/// Accepts connections that wait at a non-blocking listener, at most [`ACCEPTED_AT_ONCE`]. Adds them to `connections`,
/// those before an error too.
///
/// # Errors
/// The first error of the kernel that is not about a single connection.
pub(super) fn accept(listener: BorrowedFd<'_>, connections: &mut Vec<Accepted>) -> io::Result<()> {
    let listener = SockRef::from(&listener);
    for _ in 0..ACCEPTED_AT_ONCE {
        match listener.accept() {
            Ok((connection, source)) => {
                let source = source.as_socket().map(|source| source.ip().to_canonical());
                connections.push((connection.into(), source));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // The peer closed the connection before it was accepted, or a signal came.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
