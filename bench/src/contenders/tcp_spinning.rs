//! Floor of a spinning round trip: sockets that never wait, asked over and over.

use std::hint::spin_loop;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use super::Outcome;
use super::frame::{HEADER_BYTES, header, stream_ended};
use crate::loopback::connection;
use crate::measure::Pinger;

pub fn round_trip(pinger: &mut Pinger) -> Outcome {
    let (mut near, mut far) = connection()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let mut message = vec![0; HEADER_BYTES + pinger.size()];
    message[..HEADER_BYTES].copy_from_slice(&header(pinger.size(), 0));
    let mut echoed = message.clone();
    thread::scope(|scope| {
        scope.spawn(
            move || {
                while read_spinning(&mut far, &mut echoed).is_ok() && write_spinning(&mut far, &echoed).is_ok() {}
            },
        );
        while pinger.ask(&mut message[HEADER_BYTES..]) {
            write_spinning(&mut near, &message)?;
            read_spinning(&mut near, &mut message)?;
            pinger.answered(&message[HEADER_BYTES..])?;
        }
        drop(near);
        Ok(())
    })
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
