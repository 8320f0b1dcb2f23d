//! ZeroMQ version of the Server interface; see the package `peers/zmq`.
//!
//! Tuned: high-water marks of 100 000 messages, socket buffers of 4 MiB, and two I/O threads that the servers of a
//! process share. A high-water mark counts messages; for large messages it is lowered to what fits [`QUEUED_BYTES`], so
//! that gigabytes never wait in memory. Throughput is the same either way. A context for each server was measured too,
//! and made no clear difference.
//!
//! Plain: the setup of the Go libraries that the engine replaces, which set no option that affects speed. The
//! high-water mark is 1000, the socket buffers are the kernel's, and each server has a context with one I/O thread. The
//! encoding of those libraries (gob) is left out; it would only make them slower.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use cluster_bench_zmq::{Context, Envelope, Error, Inbox, Outbox, Tuning, ZmqServer};

use super::Outcome;
use crate::measure::{Load, Pattern, Pinger, Receipts, Rising, Sink};
use crate::participant::Participant;
use crate::rendezvous::Rendezvous;

/// Asks in a round trip with tuned sockets.
pub fn ask(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    let tuning = tuned(pinger.size());
    ping(pinger, server(rendezvous, &shared(None)?, tuning)?)
}

/// Answers in a round trip with tuned sockets.
pub fn answer(rendezvous: &mut Rendezvous, size: usize) -> Outcome {
    echo(server(rendezvous, &shared(None)?, tuned(size))?)
}

/// Asks in a round trip without any socket option.
pub fn ask_plain(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    ping(pinger, server(rendezvous, &Context::new(1)?, Tuning::DEFAULT)?)
}

/// Answers in a round trip without any socket option.
pub fn answer_plain(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    echo(server(rendezvous, &Context::new(1)?, Tuning::DEFAULT)?)
}

/// Exchanges traffic with tuned sockets.
pub fn traffic(participant: &mut Participant) -> Outcome {
    let context = shared(participant.traffic().loops)?;
    let tuning = tuned(participant.load().size);
    exchange(participant, &context, tuning)
}

/// Exchanges traffic without any socket option.
pub fn traffic_plain(participant: &mut Participant) -> Outcome {
    exchange(participant, &Context::new(1)?, Tuning::DEFAULT)
}

fn ping(pinger: &mut Pinger, mut near: ZmqServer) -> Outcome {
    let mut payload = vec![0; pinger.size()];
    let mut envelope = Envelope::empty();
    while pinger.ask(&mut payload) {
        near.send(pid(1), 1, &payload)?;
        near.recv(&mut envelope)?;
        pinger.answered(envelope.payload())?;
    }
    Ok(near.send(pid(1), 0, &[])?)
}

fn echo(mut far: ZmqServer) -> Outcome {
    let mut envelope = Envelope::empty();
    loop {
        far.recv(&mut envelope)?;
        if envelope.payload().is_empty() {
            return Ok(());
        }
        far.send(pid(0), envelope.id().unwrap_or(0), envelope.payload())?;
    }
}

fn exchange(participant: &mut Participant, context: &Context, tuning: Tuning) -> Outcome {
    let (mut inbox, mut outbox) = server(participant.rendezvous(), context, tuning)?.split();
    let (load, recipients, pattern) = (participant.load(), participant.recipients(), participant.traffic().pattern);
    let mut transmit = || match pattern {
        _ if recipients.is_empty() => Ok(()),
        Pattern::OneWay => send(&mut outbox, load, pid(recipients[0])),
        Pattern::Broadcast { .. } | Pattern::AllToAll { .. } => broadcast(&mut outbox, load),
        Pattern::SlowConsumer { .. } => send_to_each(&mut outbox, load, &recipients),
    };
    if participant.is_slow() {
        return dawdle(&mut inbox, participant.rendezvous());
    }
    match (recipients.is_empty(), participant.receipts().is_complete()) {
        (false, true) => transmit()?,
        (true, _) => receive(&mut inbox, participant.receipts())?,
        (false, false) => thread::scope(|scope| -> Outcome {
            let sender = scope.spawn(transmit);
            receive(&mut inbox, participant.receipts())?;
            Ok(sender.join().expect("the sender does not panic")?)
        })?,
    }
    // No server closes a socket before all servers have received all messages.
    participant.meet(String::new())?;
    if let Pattern::SlowConsumer { .. } = pattern {
        outbox.forget()?;
    }
    Ok(())
}

fn send(outbox: &mut Outbox, load: Load, to: u64) -> Result<(), Error> {
    let mut payload = vec![0; load.size];
    for sequence in 0..load.count {
        let payload = &mut payload[..load.bytes(sequence)];
        load.stamp(sequence, payload);
        outbox.send(to, sequence as i64, payload)?;
    }
    Ok(())
}

fn broadcast(outbox: &mut Outbox, load: Load) -> Result<(), Error> {
    let mut payload = vec![0; load.size];
    for sequence in 0..load.count {
        load.stamp(sequence, &mut payload);
        outbox.broadcast(sequence as i64, &payload)?;
    }
    Ok(())
}

fn send_to_each(outbox: &mut Outbox, load: Load, recipients: &[usize]) -> Result<(), Error> {
    let mut payload = vec![0; load.size];
    let (slow, others) = recipients.split_last().expect("somebody is slow");
    for sequence in 0..load.count {
        load.stamp(sequence, &mut payload);
        for &recipient in others {
            outbox.send(pid(recipient), sequence as i64, &payload)?;
        }
        outbox.try_send(pid(*slow), sequence as i64, &payload)?;
    }
    Ok(())
}

fn receive(inbox: &mut Inbox, receipts: &mut Receipts) -> Outcome {
    fn all(inbox: &mut Inbox, sink: &mut impl Sink) -> Outcome {
        let mut envelope = Envelope::empty();
        while !sink.is_complete() {
            inbox.recv(&mut envelope)?;
            let sender = envelope.pid().unwrap_or(0) as usize;
            sink.take_from(sender.wrapping_sub(1), envelope.payload())?;
        }
        Ok(())
    }
    match receipts.only() {
        Some(stream) => all(inbox, stream),
        None => all(inbox, receipts),
    }
}

/// Takes at most one message per millisecond until the other servers are done.
fn dawdle(inbox: &mut Inbox, rendezvous: &mut Rendezvous) -> Outcome {
    rendezvous.arrive();
    let (mut rising, mut envelope) = (Rising::default(), Envelope::empty());
    while !rendezvous.is_over()? {
        if inbox.try_recv(&mut envelope)? {
            rising.take(envelope.payload())?;
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn tuned(size: usize) -> Tuning {
    let queued = (QUEUED_BYTES / size.max(1)).clamp(1, QUEUED_MESSAGES) as u32;
    Tuning::fast(queued)
}

/// Returns the context with `threads` I/O threads that the servers of this process share.
fn shared(threads: Option<usize>) -> Result<Context, Error> {
    static CONTEXTS: OnceLock<Mutex<BTreeMap<usize, Context>>> = OnceLock::new();
    let threads = threads.unwrap_or(IO_THREADS);
    let mut contexts = CONTEXTS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(context) = contexts.get(&threads) {
        return Ok(context.clone());
    }
    let context = Context::new(threads as u8)?;
    contexts.insert(threads, context.clone());
    Ok(context)
}

/// Starts a server, which knows the endpoints of the others. Its pid is its number plus one.
fn server(
    rendezvous: &mut Rendezvous,
    context: &Context,
    tuning: Tuning,
) -> Result<ZmqServer, Box<dyn StdError + Send + Sync>> {
    let mut server = ZmqServer::bind(context, pid(rendezvous.index()), tuning)?;
    let endpoints = rendezvous.exchange(server.endpoint()?)?;
    for (index, endpoint) in endpoints.iter().enumerate().filter(|(index, _)| *index != rendezvous.index()) {
        server.add_peer(pid(index), endpoint)?;
    }
    Ok(server)
}

fn pid(server: usize) -> u64 {
    server as u64 + 1
}

const IO_THREADS: usize = 2;
const QUEUED_MESSAGES: usize = 100_000;
const QUEUED_BYTES: usize = 256 << 20;
