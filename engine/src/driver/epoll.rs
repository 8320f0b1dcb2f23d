//! The driver on non-blocking sockets and epoll.
//!
//! It serves where io_uring is forbidden. It belongs to no thread: any thread may turn it, one at a time.
//!
//! Each connection is registered once, edge-triggered. The driver remembers which connections may be readable and
//! writable, and tries no others. A read or a write that moves less than it could has used the readiness up, so no
//! further call is needed to learn that (epoll(7), "Questions and answers"). The next edge comes with the next bytes.

mod socket_state;

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use self::socket_state::{Send, SocketState};
use super::sending::DirectSend;
use super::sockets::Sockets;
use super::watermark::Watermark;
use super::{
    ACCEPTED_AT_ONCE, Budget, Completion, Driver, Entry, Listener, LocalAddr, Notifier, Reaped, ReceiveBuffer,
    SocketId, Wait, Way, features, listeners, options,
};
use crate::batch::Batch;
use crate::{clock::Clock, time::Time};

/// Most events that one turn takes from the kernel.
const EVENTS: usize = 256;

/// Event data of the notifier. No socket has this number.
const NOTIFIER: u64 = u64::MAX;
/// Event data of the timer.
const TIMER: u64 = u64::MAX - 1;

/// Events of a connection. `RDHUP` and `HUP` report its end.
const CONNECTION: EventFlags = EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

/// Events after which a connection has no other: its end, or an error, can be read from now on.
const ENDED: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// An epoll instance with its sockets.
pub struct Epoll {
    poller: Arc<Poller>,
    notifier: Arc<Notifier>,
    /// Timer that ends a wait. `epoll_wait` alone counts in milliseconds.
    timer: OwnedFd,
    /// Time at which the timer expires. One expiry serves many waits: each system call that sets it costs.
    alarm: Option<Time>,
    sockets: Sockets<SocketState>,
    /// Connections with an operation under way that may make progress now, each once.
    runnable: VecDeque<SocketId>,
    /// Completions of operations that ended at once.
    done: Vec<Completion>,
    /// Sockets that were closed since the last turn.
    closed: Vec<SocketId>,
    direct_send: DirectSend,
    /// Set if a listener may have more connections than were accepted. Its event is not repeated to a reactor.
    backlog: bool,
    read: Watermark,
    clock: Clock,
}

/// The epoll instance, and the events of the last wait.
struct Poller {
    epoll: OwnedFd,
    events: Mutex<Vec<Readiness>>,
}

/// An event: its data, and the kinds of operations that would not block.
type Readiness = (u64, EventFlags);

impl Epoll {
    /// Makes an epoll instance.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new(clock: Clock) -> Result<Epoll, features::Unavailable> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|error| features::Unavailable::epoll(error.into()))?;
        let notifier = Notifier::new().map_err(features::Unavailable::eventfd)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)
            .map_err(|error| features::Unavailable::epoll(error.into()))?;
        for (descriptor, data) in [(notifier.as_fd(), NOTIFIER), (Some(timer.as_fd()), TIMER)] {
            let Some(descriptor) = descriptor else { continue };
            // Edge-triggered: each notification and each expiry ends one wait, and the counters need not be read.
            epoll::add(&epoll, descriptor, EventData::new_u64(data), EventFlags::IN | EventFlags::ET)
                .map_err(|error| features::Unavailable::epoll(error.into()))?;
        }
        Ok(Epoll {
            poller: Arc::new(Poller { epoll, events: Mutex::new(Vec::with_capacity(EVENTS)) }),
            notifier: Arc::new(notifier),
            timer,
            alarm: None,
            sockets: Sockets::new(),
            runnable: VecDeque::new(),
            done: Vec::new(),
            closed: Vec::new(),
            direct_send: DirectSend::default(),
            backlog: false,
            read: Watermark::default(),
            clock,
        })
    }

    /// Descriptor that is readable when there is something to do: an event, a notification, or a timer.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.poller.epoll.as_fd()
    }

    fn has_work(&self) -> bool {
        !self.runnable.is_empty() || !self.done.is_empty() || !self.closed.is_empty()
    }

    /// Makes a wait end at `time` or before.
    fn set_alarm(&mut self, time: Time) -> io::Result<()> {
        let now = self.clock.now();
        // An alarm that is over may have been reported already.
        if self.alarm.is_some_and(|alarm| now < alarm && alarm <= time) {
            return Ok(());
        }
        // A time of zero would stop the timer.
        let ahead = (time - now).max(Duration::from_nanos(1));
        let it_value = Timespec { tv_sec: ahead.as_secs().cast_signed(), tv_nsec: ahead.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.alarm = Some(time);
        Ok(())
    }

    /// Returns the socket, unless it is closing or gone.
    fn open(&mut self, socket: SocketId) -> Option<&mut SocketState> {
        self.sockets.get_mut(socket).filter(|state| !state.closing)
    }

    /// Queues a connection for the next turn if an operation of it may make progress.
    fn schedule(&mut self, socket: SocketId) {
        if let Some(state) = self.sockets.get_mut(socket)
            && state.can_go_on()
            && !std::mem::replace(&mut state.runnable, true)
        {
            self.runnable.push_back(socket);
        }
    }

    /// Adds a connection and watches it.
    fn insert(&mut self, state: SocketState) -> io::Result<SocketId> {
        let socket = self.sockets.insert(state);
        if let Some(state) = self.sockets.get(socket)
            && let Err(error) = epoll::add(&self.poller.epoll, &state.descriptor, data(socket), CONNECTION)
        {
            self.sockets.remove(socket);
            return Err(error.into());
        }
        Ok(socket)
    }

    /// Processes an event of the kernel.
    fn on_event(&mut self, (number, flags): Readiness, completions: &mut VecDeque<Completion>) {
        if number == TIMER {
            self.alarm = None;
        }
        if number >= TIMER {
            return;
        }
        let socket = SocketId(number as u32);
        let Some(state) = self.open(socket) else { return };
        if state.listens {
            return self.accept(socket, completions);
        }
        state.readable |= flags.intersects(EventFlags::IN.union(ENDED));
        state.writable |= flags.intersects(EventFlags::OUT.union(ENDED));
        state.ended |= flags.intersects(ENDED);
        if state.connecting && state.writable {
            state.connecting = false;
            let error = SockRef::from(&state.descriptor).take_error().unwrap_or_else(Some);
            completions.push_back(Completion::Connected { socket, result: error.map_or(Ok(()), Err) });
        }
        self.schedule(socket);
    }

    fn accept(&mut self, listener: SocketId, completions: &mut VecDeque<Completion>) {
        let Some(state) = self.sockets.get(listener) else { return };
        let mut connections = Vec::new();
        let mut accepted = listeners::accept(state.descriptor.as_fd(), &mut connections);
        self.backlog |= connections.len() == ACCEPTED_AT_ONCE;
        for (connection, source) in connections {
            let _ = options::set_up_connection(&connection);
            match self.insert(SocketState::new(connection)) {
                Ok(socket) => completions.push_back(Completion::Accepted { listener, socket, source }),
                Err(error) => accepted = Err(error),
            }
        }
        if let Err(error) = accepted {
            self.pause_accept(listener);
            completions.push_back(Completion::AcceptFailed { listener, error });
        }
    }

    /// Changes whether a listener is watched.
    fn watch_listener(&self, listener: SocketId, events: EventFlags) {
        if let Some(state) = self.sockets.get(listener) {
            // The listener is in the instance, so this cannot fail.
            let _ = epoll::modify(&self.poller.epoll, &state.descriptor, data(listener), events);
        }
    }
}

impl Driver for Epoll {
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
        if let Some(state) = self.sockets.get(socket)
            && let Err(error) = epoll::add(&self.poller.epoll, &state.descriptor, data(socket), EventFlags::IN)
        {
            self.sockets.remove(socket);
            return Err(error.into());
        }
        Ok(socket)
    }

    fn pause_accept(&mut self, listener: SocketId) {
        self.watch_listener(listener, EventFlags::empty());
    }

    fn resume_accept(&mut self, listener: SocketId) {
        self.watch_listener(listener, EventFlags::IN);
    }

    fn connect(&mut self, address: SocketAddr, way: Way) -> io::Result<SocketId> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // The sizes are set before the connection is made, because the two sides then negotiate the largest window.
        options::hold_at_most(way.socket_bytes, &socket);
        socket.set_nonblocking(true)?;
        let connected = socket.connect(&address.into());
        let descriptor = OwnedFd::from(socket);
        options::set_up_connection(&descriptor)?;
        // A failure that is known at once is reported like any other.
        let failed = connected.err().filter(|error| error.raw_os_error() != Some(libc::EINPROGRESS));
        let state = SocketState { connecting: failed.is_none(), writable: false, ..SocketState::new(descriptor) };
        let socket = self.insert(state)?;
        if let Some(error) = failed {
            self.done.push(Completion::Connected { socket, result: Err(error) });
        }
        Ok(socket)
    }

    fn receive(&mut self, socket: SocketId, buffer: ReceiveBuffer) {
        let Some(state) = self.open(socket) else { return };
        assert!(state.receive.is_none(), "one receive at a time");
        state.receive = Some(buffer);
        self.schedule(socket);
    }

    fn send(&mut self, socket: SocketId, batch: Box<Batch>, skip: usize) {
        let Some(state) = self.sockets.get_mut(socket).filter(|state| !state.closing) else { return };
        assert!(state.send.is_none(), "one send at a time");
        state.send = Some(Send { batch, sent: skip });
        if state.writable
            && let Some((result, batch)) = state.try_send(&mut self.direct_send)
        {
            self.done.push(Completion::Sent { socket, result, batch });
        }
        self.schedule(socket);
    }

    fn send_now(&mut self, socket: SocketId, batch: &Batch) -> io::Result<usize> {
        let state = self.sockets.get_mut(socket).filter(|state| !state.closing).ok_or(io::ErrorKind::NotConnected)?;
        if !state.writable {
            return Ok(0);
        }
        let sent = self.direct_send.send(state.descriptor.as_raw_fd(), batch, 0);
        state.writable = match &sent {
            Ok(bytes) => *bytes == batch.bytes(),
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        sent
    }

    fn finish(&mut self, socket: SocketId) {
        if let Some(state) = self.sockets.get(socket) {
            // If the peer is gone already, the operations under way report that.
            let _ = SockRef::from(&state.descriptor).shutdown(Shutdown::Write);
        }
    }

    fn close(&mut self, socket: SocketId) {
        let Some(state) = self.open(socket) else { return };
        (state.closing, state.receive, state.send) = (true, None, None);
        if let Some(state) = self.sockets.get(socket) {
            // A duplicate of the descriptor may be open, for which the instance would go on to report events.
            let _ = epoll::delete(&self.poller.epoll, &state.descriptor);
        }
        self.done.retain_mut(|completion| *completion.socket_mut() != socket);
        self.closed.push(socket);
    }

    fn begin(&mut self, wait: Wait) -> Option<EpollEntry> {
        let timeout = match wait {
            Wait::No => Some(Timespec::default()),
            _ if self.has_work() => Some(Timespec::default()),
            // Without its timer, the loop spins.
            Wait::Until(time) => self.set_alarm(time).err().map(|_| Timespec::default()),
            Wait::Forever => None,
        };
        Some(EpollEntry { poller: self.poller.clone(), timeout })
    }

    fn reap(&mut self, completions: &mut VecDeque<Completion>, now: Time) -> io::Result<Reaped> {
        self.sockets.reuse();
        completions.extend(self.done.drain(..));
        for socket in self.closed.drain(..) {
            self.sockets.remove(socket);
            completions.push_back(Completion::Closed { socket });
        }
        let poller = self.poller.clone();
        let mut events = poller.events.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, is_full) = (events.len(), events.len() >= EVENTS);
        for event in events.drain(..) {
            self.on_event(event, completions);
        }
        drop(events);
        let mut budget = Budget::default();
        let mut served = 0;
        while budget.is_left()
            && let Some(socket) = self.runnable.pop_front()
        {
            served += 1;
            let Some(state) = self.sockets.get_mut(socket) else { continue };
            state.runnable = false;
            let mut bytes = 0;
            if state.readable
                && let Some((result, buffer)) = state.try_receive()
            {
                bytes += result.as_ref().map_or(0, |bytes| *bytes);
                completions.push_back(Completion::Received { socket, result, buffer });
            }
            if state.writable
                && let Some((result, batch)) = state.try_send(&mut self.direct_send)
            {
                bytes += batch.bytes();
                completions.push_back(Completion::Sent { socket, result, batch });
            }
            budget.spend(bytes);
            // An interrupted call is made again.
            self.schedule(socket);
        }
        // A full list of events may have left others in the kernel, at most one of each socket.
        let left = self.runnable.len() + if is_full { self.sockets.len() } else { 0 };
        let is_left = std::mem::take(&mut self.backlog) || left > 0;
        Ok(Reaped { until: self.read.read(served + taken, left, now), is_left })
    }

    type Entry = EpollEntry;
}

/// A prepared `epoll_wait` call.
pub struct EpollEntry {
    poller: Arc<Poller>,
    /// Longest wait; `None`: until an event.
    timeout: Option<Timespec>,
}

impl Entry for EpollEntry {
    fn waits(&self) -> bool {
        self.timeout.is_none()
    }

    fn enter(self) -> io::Result<()> {
        let mut buffer = [const { MaybeUninit::uninit() }; EVENTS];
        let events: &[Event] = match epoll::wait(&self.poller.epoll, &mut buffer, self.timeout.as_ref()) {
            Ok((events, _)) => events,
            // A signal ended the wait: the turn goes on.
            Err(Errno::INTR) => &[],
            Err(error) => return Err(error.into()),
        };
        let mut ready = self.poller.events.lock().unwrap_or_else(PoisonError::into_inner);
        ready.extend(events.iter().map(|event| (event.data.u64(), event.flags)));
        Ok(())
    }
}

fn data(socket: SocketId) -> EventData {
    EventData::new_u64(u64::from(socket.0))
}
