//! Replay: bytes that a dialer has sent, sent again from another connection.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cluster_engine::wire::SegmentHeader;
use fastrand::Rng;
use socket2::{Domain, Socket, Type};

use super::is_for_later;
use crate::clock::MILLISECOND;
use crate::plan::REPLAY_TIME;

/// Beginning of what a dialer has sent on one connection.
#[derive(Clone, Default)]
pub struct Recording(Rc<Vec<u8>>);

impl Recording {
    /// Adds bytes that were sent, up to the limit.
    pub fn add(&mut self, bytes: &[u8]) {
        let room = RECORDED_BYTES - self.0.len();
        if room > 0 {
            // A recording that is being replayed keeps its content.
            Rc::make_mut(&mut self.0).extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes of the recording to replay: all, the greeting alone, or up to a random byte.
    fn length(&self, random: &mut Rng) -> usize {
        let greeting = SegmentHeader::parse(&self.0).ok().flatten().map_or(0, SegmentHeader::segment_bytes);
        match random.u64(..4) {
            0 => greeting.min(self.0.len()),
            1 => random.usize(..=self.0.len()),
            _ => self.0.len(),
        }
    }
}

/// Replay of a recording, under way or planned.
pub struct Replay {
    recording: Recording,
    target: SocketAddr,
    length: usize,
    begin: Instant,
    end: Instant,
    /// True if it ends with a reset.
    resets: bool,
    socket: Option<Socket>,
    written: usize,
}

impl Replay {
    pub fn new(recording: &Recording, target: SocketAddr, random: &mut Rng) -> Replay {
        let begin = Instant::now() + Duration::from_millis(random.u64(..LATEST_BEGIN_MS));
        let end = begin + Duration::from_millis(random.u64(..LONGEST_MS));
        let length = recording.length(random);
        let resets = random.bool();
        Replay { recording: recording.clone(), target, length, begin, end, resets, socket: None, written: 0 }
    }

    /// Returns its connection, and whether it waits to write.
    pub fn waits(&self) -> Option<(&Socket, bool)> {
        self.socket.as_ref().map(|socket| (socket, self.written < self.length))
    }

    /// Sends more of the recording, and discards the answers. Returns `false` when the replay is over.
    pub fn turn(&mut self) -> bool {
        let now = Instant::now();
        if now < self.begin {
            return true;
        }
        now < self.end && self.play().unwrap_or(false)
    }

    fn play(&mut self) -> io::Result<bool> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.connect()?,
        };
        let mut answer = [0; 16 * 1024];
        match socket.read(&mut answer) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) if is_for_later(&error) => {}
            Err(error) => return Err(error),
        }
        match socket.write(&self.recording.0[self.written..self.length]) {
            Ok(written) => self.written += written,
            Err(error) if is_for_later(&error) => {}
            Err(error) => return Err(error),
        }
        self.socket = Some(socket);
        Ok(true)
    }

    fn connect(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.target), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if self.resets {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        match socket.connect(&self.target.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error),
            _ => Ok(socket),
        }
    }
}

/// Bytes of each connection that are recorded.
const RECORDED_BYTES: usize = 1 << 20;
/// Latest beginning. Together with the longest duration it is less than [`REPLAY_TIME`].
const LATEST_BEGIN_MS: u64 = 1_000;
const LONGEST_MS: u64 = REPLAY_TIME / MILLISECOND - LATEST_BEGIN_MS - 100;
