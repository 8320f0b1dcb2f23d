//! The driver on io_uring.
//!
//! Each shard has one ring, which one thread uses (`SINGLE_ISSUER`). Its completions run when that thread enters the
//! kernel (`DEFER_TASKRUN`). Receives are one-shot into one contiguous buffer, so that each segment is contiguous.
//! While the thread does not sleep, it polls for them with [busy_poll](super::busy_poll). The kernel gathers sends from the places of
//! their bytes. `bench/EXPERIMENTS.md` has the measurements behind these choices.
//!
//! A loop that spins reads the flag of `TASKRUN_FLAG` in memory, and enters the kernel only if there is work to run.
//! The kernel sets the flag after it has queued the work, sometimes when the work was run already, and then leaves it
//! set until the next work comes. So the flag is worth one look. It neither keeps a loop awake nor proves that
//! something is unread.

mod closing;
mod socket_state;
mod submitting;
mod watching;

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread::ThreadId;

use io_uring::types::{Fd, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use self::closing::Closing;

use self::socket_state::SocketState;
use self::watching::claims_work;
use super::busy_poll::BusyPoll;
use super::enter::{RingHandle, UringEntry};
use super::listeners::{self, Listeners};
use super::sending::{DirectSend, SendOperation};
use super::sockets::Sockets;
use super::watermark::Watermark;
use super::{
    Budget, Completion, Driver, Listener, LocalAddr, Notifier, Reaped, ReceiveBuffer, SocketId, Wait, Way, features,
    options,
};
use crate::batch::Batch;
use crate::{clock::Clock, time::Time};

/// Number of submissions between two turns. More are submitted early.
const ENTRIES: u32 = 256;
/// Number of completions in the ring. The kernel keeps an overflow, and loses nothing.
const COMPLETIONS: u32 = 4096;

/// Completions that one entry into the kernel runs at least, if as many are ready.
const RUN_AT_ONCE: usize = 16;

/// Expected number of alarms. Each is earlier than those before it, so there are few.
const ALARMS: usize = 16;

const LISTENERS: u64 = 1;
const CONNECT: u64 = 2;
const RECEIVE: u64 = 3;
const SEND: u64 = 4;
const CANCEL: u64 = 5;
const NOTIFIER: u64 = 6;
const ALARM: u64 = 7;

/// An io_uring instance with its sockets.
pub struct Uring {
    ring: IoUring,
    /// Name of the ring in system calls; `None` until the thread that drives the ring has entered it once.
    handle: Option<RingHandle>,
    /// The thread that drives the ring, once it has entered it.
    thread: Option<ThreadId>,
    notifier: Arc<Notifier>,
    listeners: Listeners,
    /// Set while a poll of the listeners is under way.
    watching: bool,
    sockets: Sockets<SocketState>,
    /// Sockets that were closed while no operation was under way.
    closed: Vec<SocketId>,
    /// Closing sockets with operations under way.
    closing: Closing,
    broken: Option<io::Error>,
    clock: Clock,
    /// Times at which the timeouts under way end a wait, the earliest last. One timeout serves many waits: a wait with
    /// a timeout of its own would cost the setting and the cancelling of a timer.
    alarms: Vec<Time>,
    /// Delay of the alarm that is being submitted. The kernel reads it during the submission.
    alarm_in: Box<Timespec>,
    direct_send: DirectSend,
    /// Sockets whose receive was not given to the ring yet.
    busy_poll: BusyPoll,
    read: Watermark,
    /// Set if the kernel is entered in this turn.
    entered: bool,
}

impl Uring {
    /// Sets up a ring. The ring belongs to the thread that makes the first [entry](Driver::begin).
    ///
    /// # Errors
    /// When io_uring cannot be used, or the process has no descriptor left.
    pub fn new(clock: Clock) -> Result<Uring, features::Unavailable> {
        let ring = features::set_up(ENTRIES, COMPLETIONS)?;
        let notifier = Notifier::new().map_err(features::Unavailable::eventfd)?;
        let listeners = Listeners::new().map_err(features::Unavailable::epoll)?;
        let mut driver = Uring {
            ring,
            handle: None,
            thread: None,
            notifier: Arc::new(notifier),
            listeners,
            watching: false,
            sockets: Sockets::new(),
            closed: Vec::new(),
            closing: Closing::new(),
            broken: None,
            clock,
            alarms: Vec::with_capacity(ALARMS),
            alarm_in: Box::default(),
            direct_send: DirectSend::default(),
            busy_poll: BusyPoll::default(),
            read: Watermark::default(),
            entered: false,
        };
        driver.watch_notifier();
        Ok(driver)
    }

    /// Takes a completion of the ring.
    fn complete(&mut self, entry: &cqueue::Entry, completions: &mut VecDeque<Completion>) {
        let (operation, socket) = (entry.user_data() & 0xFF, SocketId((entry.user_data() >> 8) as u32));
        if operation == NOTIFIER {
            if !cqueue::more(entry.flags()) {
                self.watch_notifier();
            }
            return;
        }
        if operation == ALARM {
            self.alarms.pop();
            return;
        }
        if operation == LISTENERS {
            self.watching = false;
            return self.accept_ready(completions);
        }
        let Some(state) = self.sockets.get_mut(socket) else { return };
        let result = outcome(entry.result());
        match operation {
            CONNECT => {
                state.waiting = false;
                state.address = None;
                if !state.closing {
                    completions.push_back(Completion::Connected { socket, result: result.map(drop) });
                }
            }
            RECEIVE => {
                if let Some(mut buffer) = state.receive.take() {
                    if let Ok(bytes) = result {
                        // SAFETY: the kernel reports that it has written that many bytes, and the receive is over.
                        unsafe { buffer.advance(bytes) };
                    }
                    if !state.closing {
                        completions.push_back(Completion::Received { socket, result, buffer });
                    }
                }
            }
            SEND => {
                if let Some(send) = state.send.take()
                    && !state.closing
                {
                    let (batch, result) = send.end(result);
                    completions.push_back(Completion::Sent { socket, result, batch });
                }
            }
            _ => state.cancelling = state.cancelling.saturating_sub(1),
        }
        self.forget_if_idle(socket, completions);
    }

    /// Polls the sockets whose receives are not in the ring.
    fn poll(&mut self, completions: &mut VecDeque<Completion>) {
        let mut index = 0;
        while let Some(socket) = self.busy_poll.get(index) {
            let Some(entry) = self.sockets.get_mut(socket) else { return };
            let Some(mut buffer) = entry.receive.take() else { return };
            let result = match rustix::net::recv(&entry.descriptor, buffer.spare(), RecvFlags::DONTWAIT) {
                Ok((bytes, _)) => {
                    // SAFETY: the call has written that many bytes, and is over.
                    unsafe { buffer.advance(bytes) };
                    Ok(bytes)
                }
                Err(Errno::AGAIN | Errno::INTR) => {
                    entry.receive = Some(buffer);
                    if entry.poll_budget.spend() {
                        index += 1;
                    } else {
                        self.busy_poll.remove(socket);
                        self.leave_to_ring(socket);
                    }
                    continue;
                }
                Err(error) => Err(error.into()),
            };
            self.busy_poll.remove(socket);
            completions.push_back(Completion::Received { socket, result, buffer });
        }
    }

    /// Returns the socket, unless it is closing or gone.
    fn open(&mut self, socket: SocketId) -> Option<&mut SocketState> {
        self.sockets.get_mut(socket).filter(|entry| !entry.closing)
    }
}

impl Driver for Uring {
    #[inline]
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn notifier(&self) -> Arc<Notifier> {
        self.notifier.clone()
    }

    fn listen(&mut self, listener: Listener, _local: Option<LocalAddr>) -> io::Result<SocketId> {
        let listener = listeners::open(listener)?;
        let socket = self.sockets.insert(SocketState { listens: true, ..SocketState::new(listener.into()) });
        if let Some(descriptor) = self.sockets.open_descriptor(socket)
            && let Err(error) = self.listeners.add(descriptor, socket)
        {
            self.sockets.remove(socket);
            return Err(error);
        }
        self.watch_listeners();
        Ok(socket)
    }

    fn pause_accept(&mut self, listener: SocketId) {
        if let Some(descriptor) = self.sockets.open_descriptor(listener) {
            self.listeners.pause(descriptor, listener);
        }
    }

    fn resume_accept(&mut self, listener: SocketId) {
        if let Some(descriptor) = self.sockets.open_descriptor(listener) {
            // The listener was watched before, so this hardly fails. There is no caller to report a failure to.
            let _ = self.listeners.watch(descriptor, listener);
        }
    }

    fn connect(&mut self, address: SocketAddr, way: Way) -> io::Result<SocketId> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // The sizes are set before the connection is made, because the two sides then negotiate the largest window.
        options::hold_at_most(way.socket_bytes, &socket);
        let descriptor = OwnedFd::from(socket);
        options::set_up_connection(&descriptor)?;
        let address = Box::new(SockAddr::from(address));
        let connect = opcode::Connect::new(Fd(descriptor.as_raw_fd()), address.as_ptr().cast(), address.len()).build();
        let socket =
            self.sockets.insert(SocketState { waiting: true, address: Some(address), ..SocketState::new(descriptor) });
        self.push(connect.user_data(tag(socket, CONNECT)));
        Ok(socket)
    }

    fn receive(&mut self, socket: SocketId, buffer: ReceiveBuffer) {
        let sockets = self.sockets.len();
        let Some(entry) = self.sockets.get_mut(socket).filter(|entry| !entry.closing) else { return };
        assert!(entry.receive.is_none(), "one receive at a time");
        entry.receive = Some(buffer);
        if !self.busy_poll.take(socket, &mut entry.poll_budget, sockets) {
            self.leave_to_ring(socket);
        }
    }

    fn send(&mut self, socket: SocketId, batch: Box<Batch>, skip: usize) {
        let Some(entry) = self.open(socket) else { return };
        assert!(entry.send.is_none(), "one send at a time");
        let send = SendOperation::new(batch, skip);
        let message = send.message();
        // WAITALL: the kernel continues after a short write, and completes when all bytes are taken or the connection
        // is broken.
        let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32;
        let operation = opcode::SendMsg::new(Fd(entry.descriptor.as_raw_fd()), message).flags(flags).build();
        entry.send = Some(send);
        self.push(operation.user_data(tag(socket, SEND)));
    }

    fn send_now(&mut self, socket: SocketId, batch: &Batch) -> io::Result<usize> {
        let entry = self.sockets.get(socket).ok_or(io::ErrorKind::NotConnected)?;
        self.direct_send.send(entry.descriptor.as_raw_fd(), batch, 0)
    }

    fn finish(&mut self, socket: SocketId) {
        if let Some(entry) = self.sockets.get(socket) {
            // If the peer is gone already, the operations under way report that.
            let _ = SockRef::from(&entry.descriptor).shutdown(Shutdown::Write);
        }
    }

    fn close(&mut self, socket: SocketId) {
        if self.begin_to_close(socket) {
            self.cancel(socket);
        }
    }

    type Entry = UringEntry;

    fn begin(&mut self, wait: Wait) -> Option<UringEntry> {
        let wait = match wait {
            Wait::No => false,
            _ if !self.closed.is_empty() || self.broken.is_some() || !self.ring.completion().is_empty() => false,
            wait => {
                let until = if let Wait::Until(time) = wait { Some(time) } else { None };
                if let Some(time) = until.into_iter().chain(self.next_look_at_closing()).min() {
                    self.set_alarm(time);
                }
                true
            }
        };
        if wait {
            while let Some(socket) = self.busy_poll.pop() {
                self.leave_to_ring(socket);
            }
        }
        let queue = self.ring.submission();
        // A turn that has nothing to submit, nothing to run and nothing to wait for needs no system call.
        let needed = wait || !queue.is_empty() || claims_work(&queue);
        drop(queue);
        self.entered = needed || self.handle.is_none();
        if !self.entered {
            return None;
        }
        match self.entry(wait) {
            Ok(entry) => Some(entry),
            Err(error) => {
                self.broken = Some(error);
                None
            }
        }
    }

    fn reap(&mut self, completions: &mut VecDeque<Completion>, now: Time) -> io::Result<Reaped> {
        self.sockets.reuse();
        for socket in std::mem::take(&mut self.closed) {
            self.forget_if_idle(socket, completions);
        }
        if !self.closing.is_empty() {
            self.look_at_closing(now, completions);
        }
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let mut budget = Budget::default();
        let mut reaped = [const { MaybeUninit::uninit() }; 32];
        let mut taken = 0;
        while budget.is_left() {
            let reaped = self.ring.completion().fill(&mut reaped);
            if reaped.is_empty() {
                break;
            }
            taken += reaped.len();
            for entry in reaped.iter() {
                budget.spend(usize::try_from(entry.result()).unwrap_or_default());
                self.complete(entry, completions);
            }
        }
        self.poll(completions);
        let claimed = self.left_to_run();
        let unread = self.ring.completion().len();
        let run = if self.entered && unread == 0 { taken.max(RUN_AT_ONCE) } else { taken };
        let in_vain = self.entered && taken == 0;
        Ok(Reaped {
            until: self.read.read(run, unread + claimed, now),
            is_left: unread > 0 || (claimed > 0 && !in_vain),
        })
    }
}

fn tag(socket: SocketId, operation: u64) -> u64 {
    u64::from(socket.0) << 8 | operation
}

fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
