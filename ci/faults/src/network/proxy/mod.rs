//! A TCP proxy on a server's host that resets connections at random bytes.
//!
//! One thread and `poll`, so that nothing else holds a connection's descriptors: dropping them sends the reset at once.
//! Commands come as lines on standard input: `cut TO SEED` resets every connection to that server after a random number
//! of further bytes, or a moment later when nothing is sent. The end of the input ends the proxy.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, set_parent_process_death_signal};
use socket2::{Domain, Socket, Type};

use crate::failure::{Context, Failure};
use crate::random::Random;

/// What a proxy leads to.
#[derive(Args, Debug)]
pub struct Arguments {
    /// One for each server: its number, where to listen, where it leads to; with commas between.
    #[arg(long = "to")]
    pub routes: Vec<String>,
}

/// Forwards until the end of standard input.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).context(|| "cannot be bound to the conductor".to_owned())?;
    let routes = arguments.routes.iter().map(|route| Route::parse(route)).collect::<Result<Vec<Route>, Failure>>()?;
    let mut connections: Vec<Connection> = Vec::new();
    let mut commands = Vec::new();
    loop {
        let ready = wait(&routes, &connections)?;
        if ready.input && !obey(&mut commands, &mut connections)? {
            return Ok(());
        }
        for (route, _) in routes.iter().zip(&ready.routes).filter(|(_, ready)| **ready) {
            // A connection that is gone again, or no descriptor for it: the server will try again.
            if let Ok((client, _)) = route.listener.accept()
                && let Ok(connection) = Connection::new(route, client.into())
            {
                connections.push(connection);
            }
        }
        connections.retain_mut(|connection| connection.turn().unwrap_or(false));
    }
}

/// A server that this proxy leads to.
struct Route {
    to: usize,
    listener: TcpListener,
    target: SocketAddr,
}

impl Route {
    fn parse(text: &str) -> Result<Route, Failure> {
        let wrong = || Failure(format!("{text} is not a route; write NUMBER,LISTEN,TARGET"));
        let mut parts = text.split(',');
        let mut next = || parts.next().ok_or_else(wrong);
        let to = next()?.parse().map_err(|_| wrong())?;
        let listen = next()?;
        let target = next()?.parse().map_err(|_| wrong())?;
        let listener = TcpListener::bind(listen).context(|| format!("cannot listen at {listen}"))?;
        listener.set_nonblocking(true)?;
        Ok(Route { to, listener, target })
    }
}

/// What `poll` found.
struct Ready {
    input: bool,
    routes: Vec<bool>,
}

fn wait(routes: &[Route], connections: &[Connection]) -> Result<Ready, Failure> {
    let input = io::stdin();
    let mut waiting = vec![PollFd::new(&input, PollFlags::IN)];
    waiting.extend(routes.iter().map(|route| PollFd::new(&route.listener, PollFlags::IN)));
    let mut hurry = false;
    for connection in connections {
        hurry |= connection.cut.is_some();
        let [up, down] = &connection.pipes;
        let wanted = |reads: &Pipe, writes: &Pipe| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, connection.connected && reads.is_empty() && !reads.ended);
            flags.set(PollFlags::OUT, !writes.is_empty());
            flags
        };
        waiting.push(PollFd::new(&connection.client, wanted(up, down)));
        let mut flags = wanted(down, up);
        flags.set(PollFlags::OUT, !connection.connected || !up.is_empty());
        waiting.push(PollFd::new(&connection.server, flags));
    }
    let longest = if hurry { LATEST_CUT } else { Duration::from_secs(1) };
    let longest = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: i64::from(longest.subsec_nanos()) };
    match poll(&mut waiting, Some(&longest)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(Failure(format!("poll: {error}"))),
    }
    let ready: Vec<bool> = waiting.iter().map(|fd| !fd.revents().is_empty()).collect();
    Ok(Ready { input: ready[0], routes: ready[1..=routes.len()].to_vec() })
}

/// Does what the lines say that have come; `false` at the end of the input.
fn obey(commands: &mut Vec<u8>, connections: &mut [Connection]) -> Result<bool, Failure> {
    let mut buffer = [0; 4096];
    // Not through `io::stdin`, which reads ahead what `poll` then does not see.
    let read = rustix::io::read(rustix::stdio::stdin(), &mut buffer).context(|| "cannot read commands".to_owned())?;
    commands.extend_from_slice(&buffer[..read]);
    while let Some(end) = commands.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&commands[..end]).into_owned();
        commands.drain(..=end);
        let words: Vec<&str> = line.split(' ').collect();
        let ["cut", to, seed] = words[..] else { return Err(Failure(format!("not a command: {line}"))) };
        let (Ok(to), Ok(seed)) = (to.parse::<usize>(), seed.parse()) else {
            return Err(Failure(format!("not numbers: {line}")));
        };
        let mut random = Random::new(seed);
        for connection in connections.iter_mut().filter(|connection| connection.to == to) {
            let bytes = random.between(0, LONGEST_CUT_BYTES);
            connection.cut = Some(Cut { bytes, at: Instant::now() + LATEST_CUT });
        }
    }
    Ok(read > 0)
}

/// One connection of a server, and its other half to the peer.
struct Connection {
    to: usize,
    client: Socket,
    server: Socket,
    connected: bool,
    /// From client to server, and back.
    pipes: [Pipe; 2],
    cut: Option<Cut>,
}

/// The end that a connection is to have: after so many more bytes, or at this time.
struct Cut {
    bytes: u64,
    at: Instant,
}

impl Connection {
    fn new(route: &Route, client: Socket) -> io::Result<Connection> {
        let server = Socket::new(Domain::for_address(route.target), Type::STREAM, None)?;
        for socket in [&client, &server] {
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            // Closing resets: what was not read yet is lost, as when a host goes away.
            socket.set_linger(Some(Duration::ZERO))?;
        }
        match server.connect(&route.target.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        let pipes = [Pipe::default(), Pipe::default()];
        Ok(Connection { to: route.to, client, server, connected: false, pipes, cut: None })
    }

    /// Moves what can be moved; `false` when the connection is to be dropped, which resets both halves.
    fn turn(&mut self) -> io::Result<bool> {
        if !self.connected {
            if let Some(error) = self.server.take_error()? {
                return Err(error);
            }
            self.connected = self.server.peer_addr().is_ok();
        }
        if self.connected {
            let Connection { client, server, pipes: [up, down], cut, .. } = self;
            up.turn(client, server, cut)?;
            down.turn(server, client, cut)?;
        }
        let ended = self.pipes.iter().all(|pipe| pipe.passed_end);
        let is_due = self.cut.as_ref().is_some_and(|cut| cut.bytes == 0 || Instant::now() >= cut.at);
        Ok(!ended && !is_due)
    }
}

/// One direction.
#[derive(Default)]
struct Pipe {
    buffer: Vec<u8>,
    written: usize,
    /// The reading side has ended.
    ended: bool,
    /// The writing side was told.
    passed_end: bool,
}

impl Pipe {
    fn is_empty(&self) -> bool {
        self.written == self.buffer.len()
    }

    fn turn(&mut self, from: &mut Socket, to: &mut Socket, cut: &mut Option<Cut>) -> io::Result<()> {
        if self.is_empty() && !self.ended {
            self.buffer.resize(CHUNK_BYTES, 0);
            let read = match from.read(&mut self.buffer) {
                Ok(0) => {
                    self.ended = true;
                    0
                }
                Ok(read) => read,
                Err(error) if is_for_later(&error) => 0,
                Err(error) => return Err(error),
            };
            self.buffer.truncate(read);
            self.written = 0;
        }
        if !self.is_empty() {
            // What goes beyond the cut is never written.
            let rest = &self.buffer[self.written..];
            let most = cut.as_ref().map_or(rest.len(), |cut| rest.len().min(cut.bytes as usize));
            match to.write(&rest[..most]) {
                Ok(written) => {
                    self.written += written;
                    if let Some(cut) = cut {
                        cut.bytes -= written as u64;
                    }
                }
                Err(error) if is_for_later(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if self.ended && self.is_empty() && !self.passed_end {
            self.passed_end = true;
            to.shutdown(std::net::Shutdown::Write)?;
        }
        Ok(())
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

const CHUNK_BYTES: usize = 64 * 1024;
/// A cut comes after less than this many bytes: inside the first segments, the first long envelope, or much later.
const LONGEST_CUT_BYTES: u64 = 300_000;
/// A cut that the traffic does not reach comes after this time.
const LATEST_CUT: Duration = Duration::from_millis(50);
