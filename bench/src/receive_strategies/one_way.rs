//! A stream of large writes in one direction.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::Subject;
use super::endpoint::Endpoint;
use super::plan::Plan;
use crate::loopback::connection;

/// Bytes that the sender hands to the kernel at once.
pub const WRITE_BYTES: usize = 256 << 10;

/// Returns the gigabytes per second at the receiver, which reads one byte of every cache line.
pub fn measure(subject: Subject, budget: Duration) -> io::Result<f64> {
    let (near, far) = connection()?;
    thread::scope(|scope| {
        let sender = scope.spawn(move || match subject {
            Some(plan) => send_ring(near, plan, budget),
            None => send_blocking(near, budget),
        });
        let mut meter = Meter::default();
        match subject {
            Some(plan) => receive_ring(far, plan, &mut meter),
            None => receive_blocking(far, &mut meter),
        }?;
        let sent = sender.join().expect("the sender does not panic")?;
        if meter.bytes != sent || meter.lines_seen == 0 {
            return Err(io::Error::other(format!("sent {sent} bytes, received {}", meter.bytes)));
        }
        Ok(meter.gigabytes_per_second())
    })
}

fn send_ring(socket: TcpStream, plan: Plan, budget: Duration) -> io::Result<u64> {
    let mut endpoint = Endpoint::new(socket, plan)?;
    let sent = stream(budget, || {
        endpoint.send(&CHUNK)?;
        while endpoint.sending() {
            endpoint.turn(|_| ())?;
        }
        Ok(())
    })?;
    endpoint.finish()?;
    Ok(sent)
}

fn receive_ring(socket: TcpStream, plan: Plan, meter: &mut Meter) -> io::Result<()> {
    let mut endpoint = Endpoint::new(socket, plan)?;
    while !endpoint.ended() {
        endpoint.turn(|bytes| meter.take(bytes))?;
    }
    endpoint.finish()
}

fn send_blocking(mut socket: TcpStream, budget: Duration) -> io::Result<u64> {
    let sent = stream(budget, || socket.write_all(&CHUNK))?;
    socket.shutdown(Shutdown::Write)?;
    Ok(sent)
}

fn receive_blocking(mut socket: TcpStream, meter: &mut Meter) -> io::Result<()> {
    let mut buffer = vec![0; WRITE_BYTES];
    loop {
        match socket.read(&mut buffer)? {
            0 => return Ok(()),
            length => meter.take(&buffer[..length]),
        }
    }
}

/// Repeats a write until the time is up. Returns the number of bytes sent.
fn stream(budget: Duration, mut write: impl FnMut() -> io::Result<()>) -> io::Result<u64> {
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < budget {
        write()?;
        sent += WRITE_BYTES as u64;
    }
    Ok(sent)
}

#[derive(Default)]
struct Meter {
    bytes: u64,
    lines_seen: u64,
    /// Times of the first and of the last receive.
    period: Option<(Instant, Instant)>,
}

impl Meter {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.lines_seen += bytes.iter().step_by(64).map(|&byte| u64::from(byte)).sum::<u64>();
        let now = Instant::now();
        self.period.get_or_insert((now, now)).1 = now;
    }

    fn gigabytes_per_second(&self) -> f64 {
        let seconds = self.period.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        self.bytes as f64 / 1e9 / seconds.max(1e-9)
    }
}

static CHUNK: [u8; WRITE_BYTES] = [1; WRITE_BYTES];
