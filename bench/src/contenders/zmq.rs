//! The ZeroMQ version of the Server interface; see the package `peers/zmq`.
//!
//! Tuned: high-water marks of 100 000 messages, socket buffers of 4 MiB, two I/O threads that both
//! servers share. A high-water mark counts messages, so for large ones it is lowered to what fits
//! [`QUEUED_BYTES`], so that gigabytes never wait in memory; throughput is the same either way.
//! A context for each server was measured too, and made no clear difference.

use std::thread;

use cluster_bench_zmq::{Context, Envelope, Error, ZmqServer};

use super::Outcome;
use crate::measure::{Checker, Pinger};

pub fn round_trip(pinger: &mut Pinger) -> Outcome {
    let (mut near, mut far) = servers(pinger.size())?;
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

pub fn one_way(checker: &mut Checker) -> Outcome {
    let load = checker.load();
    let (mut near, mut far) = servers(load.size)?;
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

/// Two servers that are each other's peers.
fn servers(size: usize) -> Result<(ZmqServer, ZmqServer), Error> {
    let context = Context::new(IO_THREADS)?;
    let queued = (QUEUED_BYTES / size.max(1)).clamp(1, QUEUED_MESSAGES) as u32;
    let mut near = ZmqServer::bind(&context, NEAR, queued)?;
    let mut far = ZmqServer::bind(&context, FAR, queued)?;
    near.add_peer(FAR, &far.endpoint()?)?;
    far.add_peer(NEAR, &near.endpoint()?)?;
    Ok((near, far))
}

const NEAR: u64 = 100;
const FAR: u64 = 200;
const IO_THREADS: u8 = 2;
const QUEUED_MESSAGES: usize = 100_000;
const QUEUED_BYTES: usize = 256 << 20;
