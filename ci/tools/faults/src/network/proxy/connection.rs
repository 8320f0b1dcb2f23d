//! One connection of a server through a proxy, and its other half to the peer.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use cluster::Pid;
use socket2::{Domain, Socket, Type};

use super::lies::Told;
use super::replay::Recording;
use super::segments::{Armed, Segments};
use super::{Route, is_for_later};
use crate::plan::Lie;

/// Connection of a server, and its other half to the peer.
pub struct Connection {
    pub to: Pid,
    pub client: Socket,
    pub server: Socket,
    pub connected: bool,
    /// Directions: from client to server, and back.
    pub pipes: [Pipe; 2],
    pub cut: Option<Cut>,
    /// Beginning of what the client has sent.
    pub recording: Recording,
    /// Times of the lies told on the connection.
    pub lied_at: Vec<u64>,
}

/// Planned end of a connection: after `bytes` more bytes, or at the time `at`.
pub struct Cut {
    pub bytes: u64,
    pub at: Instant,
}

impl Connection {
    pub fn new(route: &Route, client: Socket) -> io::Result<Connection> {
        let server = Socket::new(Domain::for_address(route.target), Type::STREAM, None)?;
        for socket in [&client, &server] {
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            // Closing resets the connection: unread bytes are lost, as when a host disappears.
            socket.set_linger(Some(Duration::ZERO))?;
        }
        match server.connect(&route.target.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        Ok(Connection {
            to: route.to,
            client,
            server,
            connected: false,
            pipes: Default::default(),
            cut: None,
            recording: Recording::default(),
            lied_at: Vec::new(),
        })
    }

    /// Arms a lie for one of the two ends, to be told in the first suitable segment.
    pub fn arm(&mut self, to_server: bool, armed: Armed) {
        self.pipes[usize::from(!to_server)].segments.arm(armed);
    }

    /// Moves bytes in both directions, by way of `chunk`. Returns `false` when the connection is to be dropped, which
    /// resets both halves.
    ///
    /// Before a lie is sent, calls `tell` with it, and with whether it is for the server; `tell` returns the time.
    pub fn turn(
        &mut self,
        chunk: &mut [u8],
        mut tell: impl FnMut(bool, Lie, Told) -> io::Result<u64>,
    ) -> io::Result<bool> {
        if !self.connected {
            if let Some(error) = self.server.take_error()? {
                return Err(error);
            }
            self.connected = self.server.peer_addr().is_ok();
        }
        if self.connected {
            let Connection { client, server, pipes: [up, down], cut, recording, lied_at, .. } = self;
            if let Some(read) = up.read(client, chunk)? {
                recording.add(read);
                if let Some((lie, told)) = up.pass(read) {
                    lied_at.push(tell(true, lie, told)?);
                }
            }
            up.write(server, cut)?;
            if let Some(read) = down.read(server, chunk)?
                && let Some((lie, told)) = down.pass(read)
            {
                lied_at.push(tell(false, lie, told)?);
            }
            down.write(client, cut)?;
        }
        let ended = self.pipes.iter().all(|pipe| pipe.passed_end);
        let is_due = self.cut.as_ref().is_some_and(|cut| cut.bytes == 0 || Instant::now() >= cut.at);
        Ok(!ended && !is_due)
    }
}

/// One direction of a connection.
#[derive(Default)]
pub struct Pipe {
    buffer: Vec<u8>,
    written: usize,
    segments: Segments,
    /// True if the reading side has ended.
    pub ended: bool,
    /// True if the writing side was told of the end.
    passed_end: bool,
}

impl Pipe {
    pub fn is_empty(&self) -> bool {
        self.written == self.buffer.len()
    }

    /// Reads, unless earlier bytes are still to be written.
    fn read<'c>(&mut self, from: &mut Socket, chunk: &'c mut [u8]) -> io::Result<Option<&'c [u8]>> {
        if !self.is_empty() || self.ended {
            return Ok(None);
        }
        self.buffer.clear();
        self.written = 0;
        match from.read(chunk) {
            Ok(0) => {
                self.ended = true;
                self.segments.end(&mut self.buffer);
                Ok(None)
            }
            Ok(read) => Ok(Some(&chunk[..read])),
            Err(error) if is_for_later(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Passes on the bytes that were read. Returns the lie, if one was told.
    fn pass(&mut self, read: &[u8]) -> Option<(Lie, Told)> {
        self.segments.pass(read, &mut self.buffer)
    }

    fn write(&mut self, to: &mut Socket, cut: &mut Option<Cut>) -> io::Result<()> {
        if !self.is_empty() {
            // Bytes beyond the cut are never written.
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
