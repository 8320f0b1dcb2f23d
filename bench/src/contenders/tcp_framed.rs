//! Floor of one-way throughput: frames over a blocking socket, with as few system calls as possible.
//!
//! Payloads are encoded into a write buffer, and a read buffer is walked frame by frame. Payloads from [`LARGE_BYTES`]
//! on are not copied when they are sent: one `writev` takes as many as fill a write buffer. The sizes are the best of
//! 64 to 512 KiB for writes and 128 KiB to 1 MiB for reads; for 64-byte payloads most lie within 10 % of each other.
//! One `writev` for each payload of 64 KiB was slower than copying four of them into one write.
//!
//! With several receivers, there is a connection to each; a write buffer is encoded once and written to all of them. A
//! server that receives from several senders has a thread for each.

use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::Outcome;
use super::frame::{HEADER_BYTES, header, stream_ended, walk};
use crate::measure::{Checker, Load};
use crate::participant::Participant;

/// Exchanges all traffic except that with a slow consumer, for which messages would have to be queued.
pub fn traffic(participant: &mut Participant) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addresses = participant.meet(listener.local_addr()?.to_string())?;
    let (index, load, recipients) = (participant.index(), participant.load(), participant.recipients());
    let mut outgoing = Vec::new();
    for recipient in recipients {
        let mut socket = TcpStream::connect(&addresses[recipient])?;
        socket.set_nodelay(true)?;
        socket.write_all(&[index as u8])?;
        outgoing.push(socket);
    }
    let mut incoming = Vec::new();
    for (sender, checker) in participant.receipts().streams() {
        incoming.push((sender, checker));
    }
    let mut sockets = Vec::new();
    for _ in &incoming {
        let mut socket = listener.accept()?.0;
        let mut sender = [0];
        socket.read_exact(&mut sender)?;
        sockets.push((usize::from(sender[0]), socket));
    }
    let mut transmit = move || -> io::Result<()> {
        if load.size < LARGE_BYTES || load.mixed {
            send_encoded(&mut outgoing, load)?;
        } else {
            send_vectored(&mut outgoing, load)?;
        }
        // A byte from the receiver confirms that all messages have arrived.
        outgoing.iter_mut().try_for_each(|socket| socket.read_exact(&mut [0]))
    };
    thread::scope(|scope| {
        let mut receivers = Vec::new();
        for (sender, checker) in incoming {
            let place = sockets.iter().position(|(from, _)| *from == sender).ok_or_else(stream_ended)?;
            let mut socket = sockets.swap_remove(place).1;
            receivers.push(move || -> Outcome {
                receive(&mut socket, checker)?;
                Ok(socket.write_all(&[0])?)
            });
        }
        // The last receiver runs on this thread: a server that only sends, or only receives from one sender, needs no
        // second thread.
        let here = receivers.pop();
        let receivers: Vec<_> = receivers.into_iter().map(|receive| scope.spawn(receive)).collect();
        match here {
            None => transmit()?,
            Some(mut receive) => {
                let sender = scope.spawn(transmit);
                receive()?;
                sender.join().expect("the sender does not panic")?;
            }
        }
        receivers.into_iter().try_for_each(|receiver| receiver.join().expect("no receiver panics"))
    })
}

fn send_encoded(sockets: &mut [TcpStream], load: Load) -> io::Result<()> {
    let mut payload = vec![0; load.size];
    let mut buffer = Vec::with_capacity(WRITE_BYTES);
    for sequence in 0..load.count {
        let payload = &mut payload[..load.bytes(sequence)];
        if buffer.len() + HEADER_BYTES + payload.len() > WRITE_BYTES {
            sockets.iter_mut().try_for_each(|socket| socket.write_all(&buffer))?;
            buffer.clear();
        }
        load.stamp(sequence, payload);
        buffer.extend_from_slice(&header(payload.len(), sequence));
        buffer.extend_from_slice(payload);
    }
    sockets.iter_mut().try_for_each(|socket| socket.write_all(&buffer))
}

fn send_vectored(sockets: &mut [TcpStream], load: Load) -> io::Result<()> {
    let mut frames = vec![([0; HEADER_BYTES], vec![0; load.size]); (WRITE_BYTES / load.size).max(1)];
    let mut sequence = 0;
    while sequence < load.count {
        let batch = frames.len().min((load.count - sequence) as usize);
        for (head, payload) in &mut frames[..batch] {
            *head = header(load.size, sequence);
            load.stamp(sequence, payload);
            sequence += 1;
        }
        for socket in &mut *sockets {
            let parts = frames[..batch].iter();
            let mut parts: Vec<IoSlice> =
                parts.flat_map(|(head, payload)| [IoSlice::new(head), IoSlice::new(payload)]).collect();
            let mut parts = &mut parts[..];
            while !parts.is_empty() {
                let count = socket.write_vectored(parts)?;
                IoSlice::advance_slices(&mut parts, count);
            }
        }
    }
    Ok(())
}

fn receive(socket: &mut TcpStream, checker: &mut Checker) -> Outcome {
    let size = checker.load().size;
    let usual = if size < LARGE_BYTES || checker.load().mixed { READ_BYTES } else { LARGE_READ_BYTES };
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

/// Payload size in bytes from which a copy costs more than a `writev` with many parts.
const LARGE_BYTES: usize = 16 << 10;

const WRITE_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 512 << 10;

/// Room for many large frames: the incomplete frame at the end has to be moved less often.
const LARGE_READ_BYTES: usize = 1 << 20;
