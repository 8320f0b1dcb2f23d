//! Bare TCP connections in place of servers, watched by one epoll loop: the floor for the cost of an idle mesh.
//!
//! Each pair of endpoints shares a connection, which the endpoint with the lower index dials. While idle, every process
//! sends one message on each of its connections at each tick, as servers send heartbeats.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use super::endpoints::Endpoints;
use super::protocol::{Command, EventCounts, Job, Progress, REPORT_INTERVAL};

/// Connections of the endpoints of one process.
pub struct Connections {
    connections: Vec<Connection>,
    epoll: Epoll,
    /// Bytes that each connection carries in each direction before the idle phase.
    expected: u64,
    endpoints: usize,
    down: u64,
}

struct Connection {
    stream: TcpStream,
    sent: u64,
    received: u64,
}

impl Endpoints for Connections {
    fn start(job: &Job, listeners: Vec<TcpListener>, addresses: &[SocketAddr]) -> Result<Self, String> {
        let streams = connect(job.first, listeners, addresses).map_err(|error| format!("connecting: {error}"))?;
        let epoll = Epoll::new().map_err(|error| format!("epoll: {error}"))?;
        let mut connections = Vec::with_capacity(streams.len());
        for stream in streams {
            let watched = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
            watched
                .and_then(|()| epoll.add(&stream, connections.len()))
                .map_err(|error| format!("watching a connection: {error}"))?;
            connections.push(Connection { stream, sent: 0, received: 0 });
        }
        let expected = job.messages * MESSAGE.len() as u64;
        Ok(Self { connections, epoll, expected, endpoints: job.count, down: 0 })
    }

    fn pass(&mut self, sending: bool) -> Result<bool, String> {
        let mut moved = false;
        for connection in self.connections.iter_mut().filter(|connection| sending && connection.sent < self.expected) {
            moved |= connection.send(self.expected)?;
        }
        Ok(moved | self.receive(Duration::ZERO)?)
    }

    fn wait(&mut self) -> Result<(), String> {
        let is_sent = self.connections.iter().all(|connection| connection.sent >= self.expected);
        self.receive(if is_sent { REPORT_INTERVAL } else { PAUSE })?;
        Ok(())
    }

    fn is_exact(&self) -> bool {
        self.connections
            .iter()
            .all(|connection| connection.sent >= self.expected && connection.received >= self.expected)
    }

    fn progress(&mut self) -> Progress {
        let delivered = self.connections.iter().map(|connection| connection.received / MESSAGE.len() as u64).sum();
        let events = EventCounts { up: self.connections.len() as u64, down: self.down, ..EventCounts::default() };
        Progress { delivered, complete: if self.is_exact() { self.endpoints } else { 0 }, events }
    }

    fn idle(&mut self, commands: &Receiver<Command>) -> Result<Command, String> {
        let phase = Duration::from_micros(fastrand::u64(..TICK.as_micros() as u64));
        let mut next = Instant::now() + phase;
        loop {
            let now = Instant::now();
            if now < next {
                // Rounded up: otherwise the loop would run early and wait a second time.
                self.receive(next - now + Duration::from_millis(1))?;
                continue;
            }
            match commands.try_recv() {
                Ok(command) => return Ok(command),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Err("standard input has ended".to_owned()),
            }
            for connection in &mut self.connections {
                let length = connection.sent + MESSAGE.len() as u64;
                connection.send(length)?;
            }
            next += TICK;
        }
    }

    fn stop(self) {}
}

impl Connections {
    /// Reads what has arrived, and waits at most `timeout` for it. Returns whether any connection was ready.
    fn receive(&mut self, timeout: Duration) -> Result<bool, String> {
        let mut ready = [libc::epoll_event { events: 0, u64: 0 }; READY];
        let count = self.epoll.wait(&mut ready, timeout).map_err(|error| format!("epoll: {error}"))?;
        let mut buffer = [0; BUFFER];
        for event in &ready[..count] {
            let connection = &mut self.connections[event.u64 as usize];
            match connection.stream.read(&mut buffer) {
                Ok(0) => {
                    self.down += 1;
                    self.epoll.remove(&connection.stream).map_err(|error| format!("epoll: {error}"))?;
                }
                Ok(bytes) => connection.received += bytes as u64,
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(format!("receiving: {error}")),
            }
        }
        Ok(count > 0)
    }
}

impl Connection {
    /// Sends messages until `length` bytes are sent, or the socket has no room. Returns whether anything was sent.
    fn send(&mut self, length: u64) -> Result<bool, String> {
        let before = self.sent;
        while self.sent < length {
            // After a partial write, the rest of that message comes first.
            let begun = (self.sent % MESSAGE.len() as u64) as usize;
            match self.stream.write(&MESSAGE[begun..]) {
                Ok(bytes) => self.sent += bytes as u64,
                Err(error) if is_transient(&error) => break,
                Err(error) => return Err(format!("sending: {error}")),
            }
        }
        Ok(self.sent > before)
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Connects the endpoints from index `first` on with all others. Every process dials and accepts in the order of the
/// indices, so that two processes never wait for each other.
fn connect(first: usize, listeners: Vec<TcpListener>, addresses: &[SocketAddr]) -> io::Result<Vec<TcpStream>> {
    let own = first..first + listeners.len();
    let accept = move || -> io::Result<Vec<TcpStream>> {
        let dialed = |(index, listener): (usize, TcpListener)| {
            (0..index).map(move |_| listener.accept().map(|(stream, _)| stream))
        };
        (first..).zip(listeners).flat_map(dialed).collect()
    };
    let accepting = thread::spawn(accept);
    let mut streams = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        for _ in own.clone().filter(|own| *own < index) {
            streams.push(TcpStream::connect(address)?);
        }
    }
    streams.extend(accepting.join().map_err(|_| io::Error::other("the accepting thread panicked"))??);
    Ok(streams)
}

/// Sockets that are watched for bytes to read.
struct Epoll(OwnedFd);

impl Epoll {
    fn new() -> io::Result<Self> {
        // SAFETY: the call accesses no memory of this process.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    fn add(&self, stream: &TcpStream, index: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, stream, index)
    }

    fn remove(&self, stream: &TcpStream) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, stream, 0)
    }

    fn control(&self, operation: libc::c_int, stream: &TcpStream, index: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
        // SAFETY: both descriptors stay open while they are borrowed, and the kernel reads one event.
        let result = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, stream.as_raw_fd(), &raw mut event) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn wait(&self, ready: &mut [libc::epoll_event], timeout: Duration) -> io::Result<usize> {
        let milliseconds = timeout.as_millis() as libc::c_int;
        // SAFETY: the kernel writes at most as many events as the slice has.
        let count = unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), ready.as_mut_ptr(), ready.len() as libc::c_int, milliseconds)
        };
        match usize::try_from(count) {
            Ok(count) => Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                error => Err(error),
            },
        }
    }
}

/// A message, as long as a heartbeat of the engine.
const MESSAGE: [u8; 48] = [7; 48];
/// Time between two messages on an idle connection: the engine's default heartbeat interval.
const TICK: Duration = Duration::from_millis(400);
/// Pause of a process that could not send all messages.
const PAUSE: Duration = Duration::from_millis(2);
/// Most connections that one call of epoll reports.
const READY: usize = 256;
/// Most bytes that are read from a connection at once.
const BUFFER: usize = 4096;
