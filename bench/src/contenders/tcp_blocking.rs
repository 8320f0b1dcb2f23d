//! Floor of a parked round trip: blocking sockets, messages of a length that both sides know.

use std::io::{Read, Write};
use std::thread;

use super::Outcome;
use super::frame::{HEADER_BYTES, header};
use crate::loopback::connection;
use crate::measure::Pinger;

pub fn round_trip(pinger: &mut Pinger) -> Outcome {
    let (mut near, mut far) = connection()?;
    let mut message = vec![0; HEADER_BYTES + pinger.size()];
    message[..HEADER_BYTES].copy_from_slice(&header(pinger.size(), 0));
    let mut echoed = message.clone();
    thread::scope(|scope| {
        scope.spawn(move || while far.read_exact(&mut echoed).is_ok() && far.write_all(&echoed).is_ok() {});
        while pinger.ask(&mut message[HEADER_BYTES..]) {
            near.write_all(&message)?;
            near.read_exact(&mut message)?;
            pinger.answered(&message[HEADER_BYTES..])?;
        }
        drop(near);
        Ok(())
    })
}
