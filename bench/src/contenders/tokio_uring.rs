//! Plain tokio-uring, as its documentation recommends: owned buffers that come back with each result and are used
//! again, a runtime for each thread, `write_all`.
//!
//! One-way traffic coalesces small payloads as `tcp-framed` does. Large payloads are stamped into a write buffer that
//! already holds their headers, so that only the kernel copies them.

use std::future::Future;
use std::io;
use std::net::TcpStream as StdStream;

use ::tokio_uring::buf::BoundedBuf;
use ::tokio_uring::net::TcpStream;

use super::Outcome;
use super::frame::{HEADER_BYTES, header, stream_ended, walk};
use crate::loopback::between;
use crate::measure::{Checker, Load, Pinger};
use crate::participant::Participant;
use crate::rendezvous::Rendezvous;

/// Asks in a round trip.
pub fn ask(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    let message = framed(pinger.size());
    run(between(rendezvous)?, async |socket: TcpStream| ping(socket, message, pinger).await)
}

/// Answers until the other end closes the connection.
pub fn answer(rendezvous: &mut Rendezvous, size: usize) -> Outcome {
    run(between(rendezvous)?, |socket| echo(socket, framed(size)))
}

async fn ping(socket: TcpStream, mut message: Vec<u8>, pinger: &mut Pinger) -> Outcome {
    while pinger.ask(&mut message[HEADER_BYTES..]) {
        let (written, buffer) = socket.write_all(message).await;
        written?;
        message = fill(&socket, buffer).await?.ok_or_else(stream_ended)?;
        pinger.answered(&message[HEADER_BYTES..])?;
    }
    Ok(())
}

async fn echo(socket: TcpStream, mut message: Vec<u8>) -> Outcome {
    while let Some(buffer) = fill(&socket, message).await? {
        let (written, buffer) = socket.write_all(buffer).await;
        written?;
        message = buffer;
    }
    Ok(())
}

/// Sends as server 0, or receives as server 1.
pub fn one_way(participant: &mut Participant) -> Outcome {
    let (socket, load) = (between(participant.rendezvous())?, participant.load());
    if participant.index() == 0 {
        return run(socket, |socket| send(socket, load));
    }
    let checker = participant.checker()?;
    run(socket, async |socket: TcpStream| receive(socket, checker).await)
}

async fn send(socket: TcpStream, load: Load) -> Outcome {
    let frame = framed(load.size);
    if load.size < LARGE_BYTES {
        send_coalesced(&socket, load, frame).await?;
    } else {
        send_in_place(&socket, load, frame).await?;
    }
    fill(&socket, vec![0; 1]).await?.ok_or_else(stream_ended)?;
    Ok(())
}

async fn send_coalesced(socket: &TcpStream, load: Load, mut frame: Vec<u8>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(WRITE_BYTES);
    for sequence in 0..load.count {
        if buffer.len() + frame.len() > WRITE_BYTES {
            let (written, emptied) = socket.write_all(buffer).await;
            written?;
            buffer = emptied;
            buffer.clear();
        }
        load.stamp(sequence, &mut frame[HEADER_BYTES..]);
        buffer.extend_from_slice(&frame);
    }
    socket.write_all(buffer).await.0
}

async fn send_in_place(socket: &TcpStream, load: Load, frame: Vec<u8>) -> io::Result<()> {
    let frame_bytes = frame.len();
    let mut buffer = frame.repeat((WRITE_BYTES / frame_bytes).max(1));
    let mut sequence = 0;
    while sequence < load.count {
        let mut filled = 0;
        for frame in buffer.chunks_exact_mut(frame_bytes).take((load.count - sequence) as usize) {
            load.stamp(sequence, &mut frame[HEADER_BYTES..]);
            sequence += 1;
            filled += frame_bytes;
        }
        let (written, slice) = socket.write_all(buffer.slice(..filled)).await;
        written?;
        buffer = slice.into_inner();
    }
    Ok(())
}

async fn receive(socket: TcpStream, checker: &mut Checker) -> Outcome {
    let size = checker.load().size;
    let usual = if size < LARGE_BYTES { READ_BYTES } else { LARGE_READ_BYTES };
    let mut buffer = vec![0; usual.max(2 * (HEADER_BYTES + size))];
    let mut filled = 0;
    while !checker.is_complete() {
        let (count, slice) = socket.read(buffer.slice(filled..)).await;
        buffer = slice.into_inner();
        match count? {
            0 => return Err(stream_ended().into()),
            count => filled += count,
        }
        let walked = walk(&buffer[..filled], |payload| checker.take(payload))?;
        buffer.copy_within(walked..filled, 0);
        filled -= walked;
    }
    Ok(socket.write_all(vec![0; 1]).await.0?)
}

/// Runs `task` with a socket, in a runtime of the calling thread.
fn run<F: Future<Output = Outcome>>(socket: StdStream, task: impl FnOnce(TcpStream) -> F) -> Outcome {
    ::tokio_uring::start(async { task(TcpStream::from_std(socket)).await })
}

/// Reads until `buffer` is full. Returns `None` if the stream ends before.
async fn fill(socket: &TcpStream, mut buffer: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut filled = 0;
    while filled < buffer.len() {
        let (count, slice) = socket.read(buffer.slice(filled..)).await;
        buffer = slice.into_inner();
        match count? {
            0 => return Ok(None),
            count => filled += count,
        }
    }
    Ok(Some(buffer))
}

/// Returns a message with a header and a zeroed payload of `size` bytes.
fn framed(size: usize) -> Vec<u8> {
    let mut message = header(size, 0).to_vec();
    message.resize(HEADER_BYTES + size, 0);
    message
}

const LARGE_BYTES: usize = 16 << 10;
const WRITE_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 512 << 10;
const LARGE_READ_BYTES: usize = 1 << 20;
