//! The driver that a loop runs on: io_uring, or epoll where io_uring cannot be used.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::enter::UringEntry;
use super::epoll::{Epoll, EpollEntry};
use super::{
    Completion, Driver, Entry, Listener, LocalAddr, Notifier, Reaped, ReceiveBuffer, SocketId, Unavailable, Uring,
    Wait, Way,
};
use crate::batch::Batch;
use crate::{clock::Clock, time::Time};

/// Choice of the driver of an engine's event loops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DriverChoice {
    /// io_uring; epoll if this kernel has no io_uring, or forbids it to this process.
    #[default]
    Auto,
    /// io_uring, or an error.
    IoUring,
    /// Epoll and non-blocking sockets.
    Epoll,
}

/// Drivers of an engine, all of one kind.
pub(crate) struct Started {
    pub(crate) drivers: Vec<AnyDriver>,
    /// The reason if epoll takes the place of io_uring.
    pub(crate) fallback: Option<Unavailable>,
}

/// A driver over sockets of the kernel.
pub enum AnyDriver {
    /// io_uring.
    Uring(Box<Uring>),
    /// Epoll and non-blocking sockets.
    Epoll(Box<Epoll>),
}

impl AnyDriver {
    /// Descriptor for a reactor: that of the epoll instance. `None` over io_uring.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            AnyDriver::Uring(_) => None,
            AnyDriver::Epoll(driver) => Some(driver.descriptor()),
        }
    }

    /// Makes `count` drivers.
    ///
    /// # Errors
    /// When the chosen driver cannot be used, or the process has too few descriptors.
    pub(crate) fn start(choice: DriverChoice, count: usize, clock: Clock) -> Result<Started, Unavailable> {
        let uring = || (0..count).map(|_| Ok(AnyDriver::Uring(Box::new(Uring::new(clock)?)))).collect();
        let epoll = || (0..count).map(|_| Ok(AnyDriver::Epoll(Box::new(Epoll::new(clock)?)))).collect();
        let (drivers, fallback): (Result<Vec<AnyDriver>, Unavailable>, _) = match choice {
            DriverChoice::IoUring => (uring(), None),
            DriverChoice::Epoll => (epoll(), None),
            DriverChoice::Auto => match uring() {
                Err(unavailable) if unavailable.is_about_io_uring() => (epoll(), Some(unavailable)),
                drivers => (drivers, None),
            },
        };
        Ok(Started { drivers: drivers?, fallback })
    }
}

/// A prepared system call of either driver.
pub enum AnyEntry {
    /// `io_uring_enter`.
    Uring(UringEntry),
    /// `epoll_wait`.
    Epoll(EpollEntry),
}

impl Entry for AnyEntry {
    fn waits(&self) -> bool {
        match self {
            AnyEntry::Uring(entry) => entry.waits(),
            AnyEntry::Epoll(entry) => entry.waits(),
        }
    }

    #[inline]
    fn enter(self) -> io::Result<()> {
        match self {
            AnyEntry::Uring(entry) => entry.enter(),
            AnyEntry::Epoll(entry) => entry.enter(),
        }
    }
}

/// Calls a method of the driver that there is.
macro_rules! each {
    ($any:expr, $driver:ident => $call:expr) => {
        match $any {
            AnyDriver::Uring($driver) => $call,
            AnyDriver::Epoll($driver) => $call,
        }
    };
}

impl Driver for AnyDriver {
    #[inline]
    fn now(&self) -> Time {
        each!(self, driver => driver.now())
    }

    fn notifier(&self) -> Arc<Notifier> {
        each!(self, driver => driver.notifier())
    }

    fn listen(&mut self, listener: Listener, local: Option<LocalAddr>) -> io::Result<SocketId> {
        each!(self, driver => driver.listen(listener, local))
    }

    fn pause_accept(&mut self, listener: SocketId) {
        each!(self, driver => driver.pause_accept(listener));
    }

    fn resume_accept(&mut self, listener: SocketId) {
        each!(self, driver => driver.resume_accept(listener));
    }

    fn connect(&mut self, address: SocketAddr, way: Way) -> io::Result<SocketId> {
        each!(self, driver => driver.connect(address, way))
    }

    #[inline]
    fn receive(&mut self, socket: SocketId, buffer: ReceiveBuffer) {
        each!(self, driver => driver.receive(socket, buffer));
    }

    #[inline]
    fn send(&mut self, socket: SocketId, batch: Box<Batch>, skip: usize) {
        each!(self, driver => driver.send(socket, batch, skip));
    }

    #[inline]
    fn send_now(&mut self, socket: SocketId, batch: &Batch) -> io::Result<usize> {
        each!(self, driver => driver.send_now(socket, batch))
    }

    fn finish(&mut self, socket: SocketId) {
        each!(self, driver => driver.finish(socket));
    }

    fn close(&mut self, socket: SocketId) {
        each!(self, driver => driver.close(socket));
    }

    type Entry = AnyEntry;

    #[inline]
    fn begin(&mut self, wait: Wait) -> Option<AnyEntry> {
        match self {
            AnyDriver::Uring(driver) => driver.begin(wait).map(AnyEntry::Uring),
            AnyDriver::Epoll(driver) => driver.begin(wait).map(AnyEntry::Epoll),
        }
    }

    #[inline]
    fn reap(&mut self, completions: &mut VecDeque<Completion>, now: Time) -> io::Result<Reaped> {
        each!(self, driver => driver.reap(completions, now))
    }
}
