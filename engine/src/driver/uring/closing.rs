//! End of a socket and of a ring. Operations under way end first, within a bounded time.
//!
//! Cancellations are submitted behind all earlier requests: the refusal of a connection that waits in the submission
//! queue is still sent. The kernel may not find an operation that is between two states. So a socket whose operations
//! have not ended is shut down, which ends those of a connection, and the operations are cancelled again. After
//! [`ATTEMPTS`] cancellations the driver gives the socket up and reports it as closed. The socket's id, and the memory
//! that the kernel may still write to or read from, are kept until the kernel releases them.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;
use std::{mem, thread};

use io_uring::opcode;
use socket2::SockRef;

use super::{CANCEL, CONNECT, RECEIVE, SEND, SocketState, Uring, tag};
use crate::driver::{Completion, Driver, Entry, SocketId, Wait};
use crate::time::Time;

/// Time between two cancellations.
const REPEAT: Duration = Duration::from_millis(50);
/// Number of cancellations before a socket is given up: two seconds in all.
const ATTEMPTS: u32 = 40;
/// Time that the drop of a ring waits for its sockets: all cancellations, and a little more.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Closing sockets in the order of their next check. The order is simple because all wait equally long.
pub(super) type Closing = VecDeque<(SocketId, Time)>;

impl Uring {
    /// Marks a socket as closing. Returns whether its operations have to end first.
    pub(super) fn begin_to_close(&mut self, socket: SocketId) -> bool {
        let Some(entry) = self.sockets.get_mut(socket).filter(|entry| !entry.closing) else { return false };
        entry.closing = true;
        if self.busy_poll.remove(socket).is_some() {
            entry.receive = None;
        }
        if entry.listens {
            // A listener is not shut down: a duplicate of its descriptor may still be in use.
            self.listeners.remove(entry.descriptor.as_fd());
        }
        if !entry.is_busy() {
            self.closed.push(socket);
            return false;
        }
        self.closing.push_back((socket, self.clock.now() + REPEAT));
        true
    }

    /// Cancels the operations under way on a closing socket.
    pub(super) fn cancel(&mut self, socket: SocketId) {
        let Some(entry) = self.sockets.get_mut(socket) else { return };
        entry.attempts += 1;
        // A cancellation by descriptor would search all operations under way on the ring.
        let under_way = [(entry.waiting, CONNECT), (entry.receive.is_some(), RECEIVE), (entry.send.is_some(), SEND)];
        for (_, operation) in under_way.iter().filter(|(is_under_way, _)| *is_under_way) {
            if let Some(entry) = self.sockets.get_mut(socket) {
                entry.cancelling += 1;
            }
            let cancel = opcode::AsyncCancel::new(tag(socket, *operation)).build();
            self.push(cancel.user_data(tag(socket, CANCEL)));
        }
    }

    /// Returns the time of the next check of the closing sockets.
    pub(super) fn next_look_at_closing(&mut self) -> Option<Time> {
        while let Some((socket, at)) = self.closing.front().copied() {
            if self.is_ending(socket) {
                return Some(at);
            }
            self.closing.pop_front();
        }
        None
    }

    /// Checks the closing sockets that are due. Cancels their operations once more, or gives the sockets up.
    pub(super) fn look_at_closing(&mut self, now: Time, completions: &mut VecDeque<Completion>) {
        while let Some((socket, _)) = self.closing.front().copied().filter(|(_, at)| *at <= now) {
            self.closing.pop_front();
            if !self.is_ending(socket) {
                continue;
            }
            let Some(entry) = self.sockets.get_mut(socket) else { continue };
            if entry.attempts < ATTEMPTS {
                // The shutdown fails where there is no connection.
                let _ = SockRef::from(&entry.descriptor).shutdown(Shutdown::Both);
                self.cancel(socket);
                self.closing.push_back((socket, now + REPEAT));
            } else {
                entry.given_up = true;
                completions.push_back(Completion::Closed { socket });
            }
        }
    }

    /// Returns whether the socket is closing and waits for its operations to end.
    fn is_ending(&self, socket: SocketId) -> bool {
        self.sockets.get(socket).is_some_and(|entry| entry.closing && !entry.given_up && entry.is_busy())
    }

    pub(super) fn forget_if_idle(&mut self, socket: SocketId, completions: &mut VecDeque<Completion>) {
        let Some(entry) = self.sockets.get(socket).filter(|entry| entry.closing && !entry.is_busy()) else { return };
        if !entry.given_up {
            completions.push_back(Completion::Closed { socket });
        }
        self.sockets.remove(socket);
    }

    /// Closes all sockets and waits until no operation is under way. Returns `false` if operations are left that cannot
    /// end in time or on this thread.
    fn end_all(&mut self) -> bool {
        if self.thread.is_some_and(|thread| thread != thread::current().id()) {
            // Only that thread may enter the ring. On this thread, the ring's registered number may name another ring.
            return self.sockets.is_empty();
        }
        for socket in self.sockets.ids() {
            self.close(socket);
        }
        let mut completions = VecDeque::new();
        let give_up = self.clock.now() + PATIENCE;
        while !self.sockets.is_empty() {
            completions.clear();
            let now = self.clock.now();
            let entered = match self.begin(Wait::Until(now + 2 * REPEAT)) {
                Some(entry) => entry.enter(),
                None => Ok(()),
            };
            if entered.and_then(|()| self.reap(&mut completions, now)).is_err() || now > give_up {
                return false;
            }
        }
        true
    }
}

impl Drop for Uring {
    /// Waits until the kernel holds no buffer of the driver.
    fn drop(&mut self) {
        if self.end_all() {
            return;
        }
        // The ring belongs to another thread, or is broken. The kernel cancels operations when the ring is closed, and
        // not before. So the descriptors are closed now, those of listeners too, and the buffers are leaked, because
        // the kernel may still use them.
        for socket in self.sockets.ids() {
            if let Some(SocketState { receive, send, address, .. }) = self.sockets.take(socket) {
                mem::forget((receive, send, address));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::{AsRawFd, OwnedFd};

    use io_uring::types::Fd;

    use super::*;
    use crate::clock::Clock;
    use crate::driver::{ChunkPool, features};

    struct Turns {
        driver: Uring,
        completions: VecDeque<Completion>,
    }

    impl Turns {
        fn new() -> Turns {
            Turns { driver: Uring::new(Clock::start()).unwrap(), completions: VecDeque::new() }
        }

        fn turn(&mut self) {
            let now = self.driver.now();
            if let Some(entry) = self.driver.begin(Wait::Until(now + REPEAT)) {
                entry.enter().unwrap();
            }
            self.driver.reap(&mut self.completions, self.driver.now()).unwrap();
        }

        /// Turns the driver until the socket is closed. Returns the time that this took.
        fn until_closed(&mut self, wanted: SocketId) -> Duration {
            let begin = self.driver.now();
            loop {
                let took = self.driver.now().since(begin);
                let closed = |each: &Completion| matches!(each, Completion::Closed { socket } if *socket == wanted);
                if self.completions.iter().any(closed) {
                    return took;
                }
                assert!(took < 4 * PATIENCE, "not closed within {took:?}");
                self.turn();
            }
        }

        fn insert(&mut self, descriptor: OwnedFd) -> SocketId {
            self.driver.sockets.insert(SocketState { waiting: true, ..SocketState::new(descriptor) })
        }
    }

    fn pipe() -> (OwnedFd, OwnedFd) {
        let (reader, writer) = std::io::pipe().unwrap();
        (reader.into(), writer.into())
    }

    #[test]
    fn a_receive_whose_cancellation_is_lost_ends() {
        if features::is_forbidden() {
            return;
        }
        let mut turns = Turns::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _far = listener.accept().unwrap();
        let socket = turns.driver.sockets.insert(SocketState::new(near.into()));
        turns.driver.receive(socket, ChunkPool::new(4096, 1).take().unwrap());
        turns.turn();
        assert!(turns.driver.begin_to_close(socket));
        assert!(turns.until_closed(socket) < 10 * REPEAT);
    }

    #[test]
    fn a_cancellation_that_is_lost_is_repeated() {
        if features::is_forbidden() {
            return;
        }
        let mut turns = Turns::new();
        // A pipe cannot be shut down.
        let (reader, _writer) = pipe();
        let poll = opcode::PollAdd::new(Fd(reader.as_raw_fd()), libc::POLLIN as u32).build();
        let socket = turns.insert(reader);
        turns.driver.push(poll.user_data(tag(socket, CONNECT)));
        turns.turn();
        assert!(turns.driver.begin_to_close(socket));
        assert!(turns.until_closed(socket) < 10 * REPEAT);
        assert!(turns.driver.sockets.is_empty());
    }

    #[test]
    fn what_never_ends_is_given_up_and_its_number_is_not_used_again() {
        if features::is_forbidden() {
            return;
        }
        let mut turns = Turns::new();
        let socket = turns.insert(pipe().0);
        turns.driver.close(socket);
        let took = turns.until_closed(socket);
        assert!(took >= REPEAT * ATTEMPTS / 2, "given up after {took:?}");
        turns.turn();
        let another = turns.insert(pipe().0);
        assert_ne!(another, socket);
        let begin = std::time::Instant::now();
        drop(turns);
        assert!(begin.elapsed() < 2 * PATIENCE, "{:?}", begin.elapsed());
    }
}
