//! Simulated kernels: the sockets of processes, and the operations on them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::super::pipe::{Connection, End, Owner, Side};
use super::super::timetable::Happening;
use super::{Network, address_of};
use crate::batch::Batch;
use crate::driver::{ACCEPTED_AT_ONCE, Budget, Completion, Reaped, ReceiveBuffer, SocketId, Watermark};
use crate::testing::batch_bytes;
use crate::testing::one_in;

/// Longest time, in nanoseconds, that a kernel takes to release a closed socket.
const LET_GO_NANOS: u64 = 50_000;

/// Process as its kernel sees it.
pub(crate) struct Process {
    machine: usize,
    sockets: Vec<Option<Socket>>,
    /// Sockets that are closed, and whose numbers are not reused yet.
    gone: Vec<SocketId>,
    done: VecDeque<Done>,
    read: Watermark,
}

struct Socket {
    kind: Kind,
    closing: bool,
    receive: Option<ReceiveBuffer>,
    /// Batch that is being sent, and the number of its bytes that were taken.
    send: Option<(Box<Batch>, usize)>,
}

enum Kind {
    Listener { address: SocketAddr, armed: bool, waiting: VecDeque<usize> },
    Connection(Side),
}

/// Completed operation. An accepted connection gets its socket number when the process reaps it, as in io_uring.
pub(crate) enum Done {
    Accepted { listener: SocketId, connection: usize },
    AcceptFailed { listener: SocketId },
    Connected { socket: SocketId, reached: bool },
    Received { socket: SocketId, result: io::Result<usize>, buffer: ReceiveBuffer },
    Sent { socket: SocketId, result: io::Result<()>, batch: Box<Batch> },
    Closed(SocketId),
}

impl Done {
    /// Returns the number of bytes that were moved.
    fn bytes(&self) -> usize {
        match self {
            Done::Received { result: Ok(bytes), .. } => *bytes,
            Done::Sent { batch, .. } => batch.bytes(),
            _ => 0,
        }
    }

    /// Returns the connection that this listener has accepted, if this is such a completion.
    fn accepted_by(&self, wanted: SocketId) -> Option<usize> {
        match self {
            Done::Accepted { listener, connection } if *listener == wanted => Some(*connection),
            _ => None,
        }
    }
}

impl Process {
    fn insert(&mut self, kind: Kind) -> SocketId {
        let socket = Some(Socket { kind, closing: false, receive: None, send: None });
        match self.sockets.iter().position(Option::is_none) {
            Some(free) => {
                self.sockets[free] = socket;
                SocketId(free as u32)
            }
            None => {
                self.sockets.push(socket);
                SocketId(self.sockets.len() as u32 - 1)
            }
        }
    }

    /// Returns the number of sockets that the kernel has not released, and of accepted connections not yet reaped.
    fn open_sockets(&self) -> usize {
        let accepted = self.done.iter().filter(|done| matches!(done, Done::Accepted { .. })).count();
        self.sockets.iter().flatten().count() + accepted
    }

    fn socket(&mut self, socket: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(socket.0 as usize)?.as_mut().filter(|socket| !socket.closing)
    }

    fn side(&mut self, socket: SocketId) -> Option<Side> {
        match self.socket(socket)?.kind {
            Kind::Connection(side) => Some(side),
            Kind::Listener { .. } => None,
        }
    }
}

impl Network {
    /// Starts a process. Returns its number.
    pub(crate) fn start_process(&mut self, machine: usize) -> usize {
        self.processes.push(Process {
            machine,
            sockets: Vec::new(),
            gone: Vec::new(),
            done: VecDeque::new(),
            read: Watermark::default(),
        });
        self.processes.len() - 1
    }

    /// Ends a process. If `silently`, its machine goes down too, so that the other ends of its connections get no
    /// reset.
    pub(crate) fn end_process(&mut self, process: usize, silently: bool) {
        self.processes[process].done.clear();
        for socket in std::mem::take(&mut self.processes[process].sockets).into_iter().flatten() {
            match socket.kind {
                _ if socket.closing => {}
                Kind::Listener { address, .. } => self.forget_listener(address, silently),
                Kind::Connection(side) => {
                    if side.end == 0 && !self.weather.calm && self.random.bool() {
                        // Bytes of the dead process stay on the way in its kernel or a proxy. Its successor may be
                        // heard before they arrive.
                        let until = self.now() + Duration::from_millis(self.random.u64(..4000));
                        self.end(side.other()).pipe.held_until = until;
                    }
                    self.leave(side, silently);
                }
            }
        }
    }

    /// Removes a listener, and closes the connections that it has not accepted. In some cases a proxy stands in front
    /// of the listener, and keeps such a connection for the next listener at this address.
    fn forget_listener(&mut self, address: SocketAddr, silently: bool) {
        let Some(listener) = self.listeners.remove(&address) else { return };
        for connection in 0..self.connections.len() {
            let Connection { listener: reached, ends, .. } = &self.connections[connection];
            if *reached == Some(listener) && ends[1].owner == Owner::Kernel {
                if !silently && !self.weather.calm && self.random.bool() {
                    self.connections[connection].listener = None;
                    continue;
                }
                self.leave(Side { connection, end: 1 }, silently);
            }
        }
    }

    fn leave(&mut self, side: Side, silently: bool) {
        if silently { self.end(side).owner = Owner::Closed } else { self.abandon(side) }
    }

    /// Returns whether the process has completions to reap.
    pub(crate) fn has_done(&self, process: usize) -> bool {
        !self.processes[process].done.is_empty()
    }

    pub(crate) fn done(&mut self, process: usize, done: Done) {
        let process = &mut self.processes[process];
        if !process.sockets.is_empty() {
            process.done.push_back(done);
        }
    }

    pub(crate) fn listen(&mut self, process: usize, address: SocketAddr) -> io::Result<SocketId> {
        let kind = Kind::Listener { address, armed: true, waiting: VecDeque::new() };
        let listener = self.processes[process].insert(kind);
        self.listeners.insert(address, (process, listener));
        for connection in 0..self.connections.len() {
            let Connection { address: dialed, listener: reached, ends } = &mut self.connections[connection];
            if *dialed == address && reached.is_none() && ends[1].owner == Owner::Kernel {
                *reached = Some((process, listener));
                self.after_delay(Happening::Acceptable { connection });
            }
        }
        Ok(listener)
    }

    /// Offers a connection to a listener, which accepts it, fails to, or is paused.
    pub(crate) fn offer(&mut self, process: usize, listener: SocketId, connection: usize) {
        let fails = !self.weather.calm && one_in(&mut self.random, 15);
        let fails = fails || self.processes[process].open_sockets() >= self.descriptors;
        let Some(Socket { kind: Kind::Listener { armed, waiting, .. }, .. }) = self.processes[process].socket(listener)
        else {
            return;
        };
        if !*armed {
            waiting.push_back(connection);
        } else if fails {
            *armed = false;
            waiting.push_back(connection);
            self.done(process, Done::AcceptFailed { listener });
        } else {
            self.done(process, Done::Accepted { listener, connection });
        }
    }

    pub(crate) fn pause_accept(&mut self, process: usize, listener: SocketId) {
        let state = &mut self.processes[process];
        let unseen: Vec<usize> = state.done.iter().filter_map(|done| done.accepted_by(listener)).collect();
        state.done.retain(|done| done.accepted_by(listener).is_none());
        if let Some(Socket { kind: Kind::Listener { armed, waiting, .. }, .. }) = state.socket(listener) {
            *armed = false;
            waiting.extend(unseen);
        }
    }

    pub(crate) fn resume_accept(&mut self, process: usize, listener: SocketId) {
        let Some(Socket { kind: Kind::Listener { armed, waiting, .. }, .. }) = self.processes[process].socket(listener)
        else {
            return;
        };
        *armed = true;
        for connection in std::mem::take(waiting) {
            self.after_delay(Happening::Acceptable { connection });
        }
    }

    pub(crate) fn connect(&mut self, process: usize, address: SocketAddr) -> io::Result<SocketId> {
        let fails = !self.weather.calm && one_in(&mut self.random, 30);
        if fails || self.processes[process].open_sockets() >= self.descriptors {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory));
        }
        let connection = self.connections.len();
        let machine = self.processes[process].machine;
        let socket = self.processes[process].insert(Kind::Connection(Side { connection, end: 0 }));
        let ends = [End::new(machine, Owner::Socket { process, socket }), End::new(machine, Owner::Closed)];
        self.connections.push(Connection { address, listener: None, ends });
        self.after_delay(Happening::DialReaches { connection, attempt: 0 });
        Ok(socket)
    }

    pub(crate) fn receive(&mut self, process: usize, socket: SocketId, buffer: ReceiveBuffer) {
        let Some(side) = self.processes[process].side(socket) else { return };
        let Some(state) = self.processes[process].socket(socket) else { return };
        assert!(state.receive.is_none(), "one receive at a time");
        assert!(buffer.free() > 0, "a receive needs room");
        state.receive = Some(buffer);
        self.try_receive(side);
    }

    /// Completes the receive of this end, if one is pending and there is something to report.
    pub(crate) fn try_receive(&mut self, side: Side) {
        let Owner::Socket { process, socket } = self.end(side).owner else { return };
        let Some(state) = self.processes[process].socket(socket) else { return };
        let Some(mut buffer) = state.receive.take() else { return };
        let short = self.weather.short && one_in(&mut self.random, 3);
        let end = &mut self.connections[side.connection].ends[side.end];
        let unread = end.pipe.unread();
        let result = if !unread.is_empty() {
            let most = unread.len().min(buffer.free());
            let bytes = if short { self.random.usize(1..=most) } else { most };
            buffer.append(&unread[..bytes]);
            end.pipe.take(bytes);
            self.after_delay(Happening::HasRoom(side.other()));
            Ok(bytes)
        } else if end.reset {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        } else if end.pipe.ended {
            Ok(0)
        } else {
            if let Some(state) = self.processes[process].socket(socket) {
                state.receive = Some(buffer);
            }
            return;
        };
        self.done(process, Done::Received { socket, result, buffer });
    }

    pub(crate) fn send(&mut self, process: usize, socket: SocketId, batch: Box<Batch>, skip: usize) {
        let Some(side) = self.processes[process].side(socket) else { return };
        let Some(state) = self.processes[process].socket(socket) else { return };
        assert!(state.send.is_none(), "one send at a time");
        state.send = Some((batch, skip));
        self.try_send(side);
    }

    /// Takes bytes of the send that is pending at this end, as far as there is room, and completes it when all are
    /// taken.
    pub(crate) fn try_send(&mut self, side: Side) {
        let Owner::Socket { process, socket } = self.end(side).owner else { return };
        let Some(state) = self.processes[process].socket(socket) else { return };
        let Some((batch, sent)) = state.send.take() else { return };
        let result = match self.write(side, &batch, sent) {
            Ok(more) if sent + more == batch.bytes() => Ok(()),
            Ok(more) => {
                if more > 0 {
                    self.after_delay(Happening::HasRoom(side));
                }
                if let Some(state) = self.processes[process].socket(socket) {
                    state.send = Some((batch, sent + more));
                }
                return;
            }
            Err(error) => Err(error),
        };
        self.done(process, Done::Sent { socket, result, batch });
    }

    pub(crate) fn send_now(&mut self, process: usize, socket: SocketId, batch: &Batch) -> io::Result<usize> {
        let side = self.processes[process].side(socket).ok_or(io::ErrorKind::NotConnected)?;
        match self.write(side, batch, 0)? {
            0 => Err(io::Error::from(io::ErrorKind::WouldBlock)),
            sent => Ok(sent),
        }
    }

    /// Sends bytes of a batch from `from` on, as far as there is room. Returns the number of bytes that were taken.
    fn write(&mut self, side: Side, batch: &Batch, from: usize) -> io::Result<usize> {
        let end = self.end(side);
        if end.reset {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        let short = self.weather.short && one_in(&mut self.random, 3);
        let held = self.end(side.other()).pipe.bytes;
        let room = self.weather.buffer_bytes.saturating_sub(held);
        let most = room.min(batch.bytes() - from);
        let bytes = if short && most > 0 { self.random.usize(1..=most) } else { most };
        if bytes > 0 {
            let taken = batch_bytes(batch, from, from + bytes);
            self.record_sent(side, &taken);
            self.end(side.other()).pipe.bytes += bytes;
            self.put_under_way(side.other(), Some(taken));
        }
        Ok(bytes)
    }

    pub(crate) fn finish(&mut self, process: usize, socket: SocketId) {
        if let Some(side) = self.processes[process].side(socket) {
            self.finish_side(side);
        }
    }

    pub(crate) fn finish_side(&mut self, side: Side) {
        if !std::mem::replace(&mut self.end(side.other()).pipe.finished, true) {
            self.put_under_way(side.other(), None);
        }
    }

    /// Closes an end: with a reset if bytes are unread, and at random, else with the end of what is sent.
    pub(crate) fn abandon(&mut self, side: Side) {
        let abrupt = one_in(&mut self.random, 8);
        let end = self.end(side);
        end.owner = Owner::Closed;
        if abrupt || !end.pipe.unread().is_empty() {
            self.after_delay(Happening::Reset(side.other()));
        } else {
            self.finish_side(side);
        }
    }

    pub(crate) fn close(&mut self, process: usize, socket: SocketId) {
        let Some(state) = self.processes[process].socket(socket) else { return };
        state.closing = true;
        (state.receive, state.send) = (None, None);
        match state.kind {
            Kind::Listener { address, .. } => self.forget_listener(address, false),
            Kind::Connection(side) => self.abandon(side),
        }
        let at = self.now() + Duration::from_nanos(self.random.u64(1..=LET_GO_NANOS));
        self.timetable.at(at, Happening::LetGo { process, socket: socket.0 });
    }

    /// Hands over completions, at most as many as the io_uring driver takes in a turn.
    pub(crate) fn reap(&mut self, process: usize, completions: &mut VecDeque<Completion>) -> Reaped {
        let (mut budget, before) = (Budget::default(), self.processes[process].done.len());
        let state = &mut self.processes[process];
        for socket in state.gone.drain(..) {
            state.sockets[socket.0 as usize] = None;
        }
        let mut accepted = 0;
        let mut later = Vec::new();
        while budget.is_left()
            && let Some(done) = self.processes[process].done.pop_front()
        {
            budget.spend(done.bytes());
            if matches!(done, Done::Accepted { .. }) {
                accepted += 1;
                if accepted > ACCEPTED_AT_ONCE {
                    later.push(done);
                    continue;
                }
            }
            let state = &mut self.processes[process];
            let completion = match done {
                Done::Accepted { listener, connection } => {
                    let side = Side { connection, end: 1 };
                    if state.socket(listener).is_none() {
                        self.abandon(side);
                        continue;
                    }
                    let socket = state.insert(Kind::Connection(side));
                    self.end(side).owner = Owner::Socket { process, socket };
                    let source = Some(address_of(self.end(side.other()).machine, 0).ip());
                    Completion::Accepted { listener, socket, source }
                }
                Done::Closed(socket) => {
                    state.gone.push(socket);
                    Completion::Closed { socket }
                }
                Done::AcceptFailed { listener: socket }
                | Done::Connected { socket, .. }
                | Done::Received { socket, .. }
                | Done::Sent { socket, .. }
                    if state.socket(socket).is_none() =>
                {
                    continue;
                }
                Done::AcceptFailed { listener } => {
                    Completion::AcceptFailed { listener, error: io::Error::from(io::ErrorKind::OutOfMemory) }
                }
                Done::Connected { socket, reached } => {
                    let result = if reached { Ok(()) } else { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) };
                    Completion::Connected { socket, result }
                }
                Done::Received { socket, result, buffer } => Completion::Received { socket, result, buffer },
                Done::Sent { socket, result, batch } => Completion::Sent { socket, result, batch },
            };
            completions.push_back(completion);
        }
        let (now, claimed) = (self.now(), usize::from(self.claims_more));
        let state = &mut self.processes[process];
        let (taken, left) = (before - state.done.len(), state.done.len());
        let until = state.read.read(taken.max(claimed), left + claimed, now);
        state.done.extend(later);
        Reaped { until, is_left: left > 0 }
    }
}
