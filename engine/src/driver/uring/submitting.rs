//! Submissions: what the kernel is told to do, and how long it may use the memory for that.

use std::io;
use std::os::fd::AsRawFd;
use std::thread;

use io_uring::types::{Fd, Timespec};
use io_uring::{opcode, squeue};

use super::{ALARM, RECEIVE, Uring, tag};
use crate::driver::enter::{self, UringEntry};
use crate::driver::{Entry, SocketId};
use crate::time::Time;

impl Uring {
    /// Queues a submission. Its memory lives in `sockets` or `alarm_in` until the kernel has read it or completes the
    /// operation.
    pub(super) fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: the memory that the entry points to stays valid as long as the kernel may use it.
            // - The address, message or buffer of an operation on a socket is on the heap and owned by the socket's
            //   state. `complete` takes it out, when the operation's completion is reaped; `Drop` waits for that, or
            //   leaks it.
            // - The delay of an alarm is copied by the kernel when it takes the entry from the queue, which is within
            //   an `io_uring_enter` of the thread that drives the ring. Only `set_alarm` writes `alarm_in`, on that
            //   thread, so never meanwhile. An entry that is still queued when `alarm_in` is written again has the
            //   newer delay, and one that is queued when the driver is dropped is never read: no other thread may
            //   enter the ring, and that thread has left it, because it keeps the driver alive while it waits.
            // - All other entries point to nothing.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            if let Err(error) = self.entry(false).and_then(Entry::enter) {
                self.broken = Some(error);
                return;
            }
        }
    }

    /// Makes the kernel end a wait at `time` or before. Called by the thread that drives the ring, outside the kernel.
    pub(super) fn set_alarm(&mut self, time: Time) {
        if self.alarms.last().is_some_and(|alarm| *alarm <= time) {
            return;
        }
        debug_assert!(self.thread.is_none_or(|thread| thread == thread::current().id()), "`push` relies on the thread");
        self.alarms.push(time);
        *self.alarm_in = Timespec::from(time - self.clock.now());
        let timeout = opcode::Timeout::new(&raw const *self.alarm_in).build();
        self.push(timeout.user_data(ALARM));
    }

    /// Gives the socket's receive to the ring.
    pub(super) fn leave_to_ring(&mut self, socket: SocketId) {
        let Some(entry) = self.sockets.get_mut(socket) else { return };
        let Some(buffer) = &mut entry.receive else { return };
        let (address, bytes) = buffer.target();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let receive = opcode::Recv::new(Fd(entry.descriptor.as_raw_fd()), address, bytes).build();
        self.push(receive.user_data(tag(socket, RECEIVE)));
    }

    /// Prepares the call that submits and waits. The first one makes the ring the calling thread's.
    pub(super) fn entry(&mut self, wait: bool) -> io::Result<UringEntry> {
        let ring = match self.handle {
            Some(handle) => handle,
            None => {
                self.ring.submitter().register_enable_rings()?;
                self.thread = Some(thread::current().id());
                *self.handle.insert(enter::register(self.ring.as_raw_fd()))
            }
        };
        Ok(UringEntry { ring, submit: self.ring.submission().len() as u32, wait })
    }
}
