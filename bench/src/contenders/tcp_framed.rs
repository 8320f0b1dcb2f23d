//! Floor of one-way throughput: frames over a blocking socket, as few system calls as possible.
//!
//! Payloads are encoded into a write buffer, and a read buffer is walked frame by frame. Payloads
//! from [`LARGE_BYTES`] on are not copied when they leave: one `writev` takes as many as fill a
//! write buffer. The sizes are the best of 64 to 512 KiB for writes and 128 KiB to 1 MiB for reads;
//! for 64-byte payloads most lie within 10 % of each other. One `writev` for each payload of 64 KiB
//! was slower than copying four of them into one write.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::thread;

use super::Outcome;
use super::frame::{HEADER_BYTES, header, stream_ended, walk};
use crate::loopback::connection;
use crate::measure::{Checker, Load};

pub fn one_way(checker: &mut Checker) -> Outcome {
    let (mut near, mut far) = connection()?;
    let load = checker.load();
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            if load.size < LARGE_BYTES {
                send_encoded(&mut near, load)?;
            } else {
                send_vectored(&mut near, load)?;
            }
            near.read_exact(&mut [0])
        });
        receive(&mut far, checker)?;
        far.write_all(&[0])?;
        Ok(sender.join().expect("the sender does not panic")?)
    })
}

fn send_encoded(socket: &mut TcpStream, load: Load) -> io::Result<()> {
    let frame = HEADER_BYTES + load.size;
    let mut payload = vec![0; load.size];
    let mut buffer = Vec::with_capacity(WRITE_BYTES);
    for sequence in 0..load.count {
        if buffer.len() + frame > WRITE_BYTES {
            socket.write_all(&buffer)?;
            buffer.clear();
        }
        load.stamp(sequence, &mut payload);
        buffer.extend_from_slice(&header(load.size, sequence));
        buffer.extend_from_slice(&payload);
    }
    socket.write_all(&buffer)
}

fn send_vectored(socket: &mut TcpStream, load: Load) -> io::Result<()> {
    let mut frames = vec![([0; HEADER_BYTES], vec![0; load.size]); (WRITE_BYTES / load.size).max(1)];
    let mut sequence = 0;
    while sequence < load.count {
        let batch = frames.len().min((load.count - sequence) as usize);
        for (head, payload) in &mut frames[..batch] {
            *head = header(load.size, sequence);
            load.stamp(sequence, payload);
            sequence += 1;
        }
        let parts = frames[..batch].iter();
        let mut parts: Vec<IoSlice> =
            parts.flat_map(|(head, payload)| [IoSlice::new(head), IoSlice::new(payload)]).collect();
        let mut parts = &mut parts[..];
        while !parts.is_empty() {
            let count = socket.write_vectored(parts)?;
            IoSlice::advance_slices(&mut parts, count);
        }
    }
    Ok(())
}

fn receive(socket: &mut TcpStream, checker: &mut Checker) -> Outcome {
    let size = checker.load().size;
    let usual = if size < LARGE_BYTES { READ_BYTES } else { LARGE_READ_BYTES };
    let mut buffer = vec![0; usual.max(2 * (HEADER_BYTES + size))];
    let mut filled = 0;
    while !checker.is_complete() {
        match socket.read(&mut buffer[filled..])? {
            0 => return Err(stream_ended().into()),
            count => filled += count,
        }
        let walked = walk(&buffer[..filled], |payload| checker.take(payload))?;
        buffer.copy_within(walked..filled, 0);
        filled -= walked;
    }
    Ok(())
}

/// From here on a copy would cost more than a `writev` with many parts.
const LARGE_BYTES: usize = 16 << 10;

const WRITE_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 512 << 10;

/// Room for many large frames: what is left of the last one has to be moved less often.
const LARGE_READ_BYTES: usize = 1 << 20;
