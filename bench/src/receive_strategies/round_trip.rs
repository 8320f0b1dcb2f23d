//! Ping-pong of one small message.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Subject;
use super::endpoint::Endpoint;
use super::plan::Plan;
use crate::loopback::connection;

/// Bytes in a message: a 64-byte payload with room for two headers.
pub const MESSAGE_BYTES: usize = 96;

/// Returns the median round trip in microseconds.
pub fn measure(subject: Subject, budget: Duration) -> io::Result<f64> {
    let (near, far) = connection()?;
    thread::scope(|scope| {
        let echo = scope.spawn(move || match subject {
            Some(plan) => echo_ring(far, plan),
            None => echo_blocking(far),
        });
        let histogram = match subject {
            Some(plan) => ping_ring(near, plan, budget),
            None => ping_blocking(near, budget),
        }?;
        echo.join().expect("the echo does not panic")?;
        Ok(histogram.value_at_quantile(0.5) as f64 / 1e3)
    })
}

fn ping_ring(socket: TcpStream, plan: Plan, budget: Duration) -> io::Result<Histogram<u64>> {
    let mut endpoint = Endpoint::new(socket, plan)?;
    let histogram = ping(budget, || {
        endpoint.send(&MESSAGE)?;
        exchange(&mut endpoint)
    })?;
    endpoint.finish()?;
    Ok(histogram)
}

fn echo_ring(socket: TcpStream, plan: Plan) -> io::Result<()> {
    let mut endpoint = Endpoint::new(socket, plan)?;
    loop {
        exchange(&mut endpoint)?;
        if endpoint.ended() {
            return endpoint.finish();
        }
        endpoint.send(&MESSAGE)?;
    }
}

/// Takes turns until a whole message, or the end of the stream, has arrived.
fn exchange(endpoint: &mut Endpoint) -> io::Result<()> {
    let mut missing = MESSAGE_BYTES;
    while missing > 0 && !endpoint.ended() {
        endpoint.turn(|bytes| missing -= bytes.len())?;
    }
    Ok(())
}

fn ping_blocking(mut socket: TcpStream, budget: Duration) -> io::Result<Histogram<u64>> {
    let mut answer = [0; MESSAGE_BYTES];
    ping(budget, || {
        socket.write_all(&MESSAGE)?;
        socket.read_exact(&mut answer)
    })
}

fn echo_blocking(mut socket: TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    while let Ok(()) = socket.read_exact(&mut message) {
        socket.write_all(&message)?;
    }
    Ok(())
}

/// Repeats a round trip until the time is up. The first tenth of the time is the warm-up and does not count.
fn ping(budget: Duration, mut round_trip: impl FnMut() -> io::Result<()>) -> io::Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds, up to a minute");
    let start = Instant::now();
    let mut before = start;
    while before - start < budget {
        round_trip()?;
        let after = Instant::now();
        if before - start > budget / 10 {
            histogram.saturating_record((after - before).as_nanos() as u64);
        }
        before = after;
    }
    Ok(histogram)
}

static MESSAGE: [u8; MESSAGE_BYTES] = [7; MESSAGE_BYTES];
