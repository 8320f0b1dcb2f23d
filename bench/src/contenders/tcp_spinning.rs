//! Floor of a spinning round trip: non-blocking sockets that are tried in a loop.

use std::hint::spin_loop;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use super::Outcome;
use super::frame::{HEADER_BYTES, header, stream_ended};
use crate::loopback::between;
use crate::measure::Pinger;
use crate::rendezvous::Rendezvous;

/// Asks in a round trip.
pub fn ask(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    let mut socket = between(rendezvous)?;
    socket.set_nonblocking(true)?;
    let mut message = vec![0; HEADER_BYTES + pinger.size()];
    message[..HEADER_BYTES].copy_from_slice(&header(pinger.size(), 0));
    while pinger.ask(&mut message[HEADER_BYTES..]) {
        write_spinning(&mut socket, &message)?;
        read_spinning(&mut socket, &mut message)?;
        pinger.answered(&message[HEADER_BYTES..])?;
    }
    Ok(())
}

/// Answers until the other end closes the connection.
pub fn answer(rendezvous: &mut Rendezvous, size: usize) -> Outcome {
    let mut socket = between(rendezvous)?;
    socket.set_nonblocking(true)?;
    let mut message = vec![0; HEADER_BYTES + size];
    while read_spinning(&mut socket, &mut message).is_ok() && write_spinning(&mut socket, &message).is_ok() {}
    Ok(())
}

fn read_spinning(socket: &mut TcpStream, mut missing: &mut [u8]) -> io::Result<()> {
    while !missing.is_empty() {
        match socket.read(missing) {
            Ok(0) => return Err(stream_ended()),
            Ok(count) => missing = &mut missing[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_spinning(socket: &mut TcpStream, mut left: &[u8]) -> io::Result<()> {
    while !left.is_empty() {
        match socket.write(left) {
            Ok(count) => left = &left[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
