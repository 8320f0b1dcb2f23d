//! State of a socket on the ring.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::SockAddr;

use crate::driver::busy_poll::PollBudget;
use crate::driver::sending::SendOperation;
use crate::driver::sockets::Sockets;
use crate::driver::{ReceiveBuffer, SocketId};

/// A socket and its operations.
pub(super) struct SocketState {
    /// The descriptor. It stays open as long as an operation is under way.
    pub(super) descriptor: OwnedFd,
    pub(super) closing: bool,
    pub(super) listens: bool,
    /// Set while a connect is under way. The kernel reads no memory for it but `address`.
    pub(super) waiting: bool,
    pub(super) address: Option<Box<SockAddr>>,
    pub(super) receive: Option<ReceiveBuffer>,
    pub(super) poll_budget: PollBudget,
    pub(super) send: Option<Box<SendOperation>>,
    /// Number of cancellations under way, of the operations above.
    pub(super) cancelling: u8,
    /// Number of times that the operations above were cancelled.
    pub(super) attempts: u32,
    /// Set if the operations do not end. The shard was told that the socket is closed.
    pub(super) given_up: bool,
}

impl Sockets<SocketState> {
    /// Returns the descriptor of a socket that is not closing.
    pub(super) fn open_descriptor(&self, socket: SocketId) -> Option<BorrowedFd<'_>> {
        self.get(socket).filter(|state| !state.closing).map(|state| state.descriptor.as_fd())
    }
}

impl SocketState {
    pub(super) fn new(descriptor: OwnedFd) -> SocketState {
        SocketState {
            descriptor,
            closing: false,
            listens: false,
            waiting: false,
            address: None,
            receive: None,
            poll_budget: PollBudget::default(),
            send: None,
            cancelling: 0,
            attempts: 0,
            given_up: false,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.waiting || self.receive.is_some() || self.send.is_some() || self.cancelling > 0
    }
}
