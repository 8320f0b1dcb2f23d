//! The ZeroMQ version of the Server interface; see the package `peers/zmq`.
//!
//! Tuned: high-water marks of 100 000 messages, socket buffers of 4 MiB, two I/O threads that both
//! servers share. A high-water mark counts messages, so for large ones it is lowered to what fits
//! [`QUEUED_BYTES`], so that gigabytes never wait in memory; throughput is the same either way.
//! A context for each server was measured too, and made no clear difference.
//!
//! Plain: as the Go libraries do it that the engine replaces, which set no option that has to do with speed: a high-water
//! mark of 1000, the kernel's socket buffers, a context with one I/O thread for each server. What they encode with (gob) is
//! left out; it would only make them slower.

use std::thread;

use cluster_bench_zmq::{Context, Envelope, Error, Tuning, ZmqServer};

use super::Outcome;
use crate::measure::{Checker, Pinger};

/// Round trip, tuned.
pub fn round_trip(pinger: &mut Pinger) -> Outcome {
    ping(pinger, tuned(pinger.size())?)
}

/// Round trip, no option set.
pub fn round_trip_plain(pinger: &mut Pinger) -> Outcome {
    ping(pinger, plain()?)
}

/// One way, tuned.
pub fn one_way(checker: &mut Checker) -> Outcome {
    transfer(checker, tuned(checker.load().size)?)
}

/// One way, no option set.
pub fn one_way_plain(checker: &mut Checker) -> Outcome {
    transfer(checker, plain()?)
}

type Pair = (ZmqServer, ZmqServer);

fn ping(pinger: &mut Pinger, (mut near, mut far): Pair) -> Outcome {
    let mut payload = vec![0; pinger.size()];
    let mut envelope = Envelope::empty();
    thread::scope(|scope| {
        let echo = scope.spawn(move || -> Result<(), Error> {
            let mut envelope = Envelope::empty();
            loop {
                far.recv(&mut envelope)?;
                if envelope.payload().is_empty() {
                    return Ok(());
                }
                far.send(NEAR, envelope.id().unwrap_or(0), envelope.payload())?;
            }
        });
        while pinger.ask(&mut payload) {
            near.send(FAR, 1, &payload)?;
            near.recv(&mut envelope)?;
            pinger.answered(envelope.payload())?;
        }
        near.send(FAR, 0, &[])?;
        Ok(echo.join().expect("the echo does not panic")?)
    })
}

fn transfer(checker: &mut Checker, (mut near, mut far): Pair) -> Outcome {
    let load = checker.load();
    thread::scope(|scope| {
        let sender = scope.spawn(move || -> Result<(), Error> {
            let mut payload = vec![0; load.size];
            for sequence in 0..load.count {
                load.stamp(sequence, &mut payload);
                near.send(FAR, sequence as i64, &payload)?;
            }
            near.recv(&mut Envelope::empty())
        });
        let mut envelope = Envelope::empty();
        while !checker.is_complete() {
            far.recv(&mut envelope)?;
            checker.take(envelope.payload())?;
        }
        far.send(NEAR, 0, &[])?;
        Ok(sender.join().expect("the sender does not panic")?)
    })
}

fn tuned(size: usize) -> Result<Pair, Error> {
    let context = Context::new(IO_THREADS)?;
    let queued = (QUEUED_BYTES / size.max(1)).clamp(1, QUEUED_MESSAGES) as u32;
    servers(&context, &context, Tuning::fast(queued))
}

fn plain() -> Result<Pair, Error> {
    servers(&Context::new(1)?, &Context::new(1)?, Tuning::DEFAULT)
}

/// Two servers that are each other's peers.
fn servers(near: &Context, far: &Context, tuning: Tuning) -> Result<Pair, Error> {
    let mut near = ZmqServer::bind(near, NEAR, tuning)?;
    let mut far = ZmqServer::bind(far, FAR, tuning)?;
    near.add_peer(FAR, &far.endpoint()?)?;
    far.add_peer(NEAR, &near.endpoint()?)?;
    Ok((near, far))
}

const NEAR: u64 = 100;
const FAR: u64 = 200;
const IO_THREADS: u8 = 2;
const QUEUED_MESSAGES: usize = 100_000;
const QUEUED_BYTES: usize = 256 << 20;
