//! Floor of a parked round trip: blocking sockets, and messages whose length both sides know.

use std::io::{Read, Write};

use super::Outcome;
use super::frame::{HEADER_BYTES, header};
use crate::loopback::between;
use crate::measure::Pinger;
use crate::rendezvous::Rendezvous;

/// Asks in a round trip.
pub fn ask(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    let mut socket = between(rendezvous)?;
    let mut message = vec![0; HEADER_BYTES + pinger.size()];
    message[..HEADER_BYTES].copy_from_slice(&header(pinger.size(), 0));
    while pinger.ask(&mut message[HEADER_BYTES..]) {
        socket.write_all(&message)?;
        socket.read_exact(&mut message)?;
        pinger.answered(&message[HEADER_BYTES..])?;
    }
    Ok(())
}

/// Answers until the other end closes the connection.
pub fn answer(rendezvous: &mut Rendezvous, size: usize) -> Outcome {
    let mut socket = between(rendezvous)?;
    let mut message = vec![0; HEADER_BYTES + size];
    while socket.read_exact(&mut message).is_ok() && socket.write_all(&message).is_ok() {}
    Ok(())
}
