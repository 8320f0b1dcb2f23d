//! This project's engine, through the public interface, as a user would set it up.
//!
//! With two servers, each has an engine of its own, as two processes would. More than two servers in one process share
//! an engine with a loop for each core, as `cluster::start` does, and still talk over TCP.
//!
//! - `parked` sleeps at once when there is no work; `spinning` never sleeps.
//! - `default`, and all traffic, yields for 50 µs before it sleeps.
//! - `owned` sends and receives owned envelopes.
//! - `fast` encodes in place (`claim`) and reads where the bytes were received (`drain`).
//! - `epoll` runs on epoll; all others run on io_uring.
//! - `header` leaves the payload to TCP's checksum.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use cluster::{
    BROADCAST, Builder, Checksum, Config, Driver, Engine, Envelope, Handle, Idle, Inbox, Neighbours, Node, Outbox,
    RecvTimeoutError, SendError, Server, Split, Threading, Unavailable,
};

use super::Outcome;
use crate::measure::{Corrupt, Load, Pattern, Pinger, Receipts, Rising, Sink, Traffic};
use crate::participant::{EngineCounts, Participant};
use crate::rendezvous::Rendezvous;

/// Asks in a round trip whose calling threads drive the loops and park.
pub fn ask_inline_parked(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    ask(rendezvous, pinger, Engine::inline(PARK)?)
}

/// Answers in a round trip whose calling threads drive the loops and park.
pub fn answer_inline_parked(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    answer(rendezvous, Engine::inline(PARK)?)
}

/// Asks in a round trip whose calling threads drive the loops, and yield for 50 µs before they park (the default).
pub fn ask_inline_default(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    ask(rendezvous, pinger, Engine::inline(Idle::default())?)
}

/// Answers in a round trip whose calling threads drive the loops, and yield for 50 µs before they park (the default).
pub fn answer_inline_default(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    answer(rendezvous, Engine::inline(Idle::default())?)
}

/// Asks in a round trip whose calling threads drive the loops and spin.
pub fn ask_inline_spinning(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    ask(rendezvous, pinger, Engine::inline(SPIN)?)
}

/// Answers in a round trip whose calling threads drive the loops and spin.
pub fn answer_inline_spinning(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    answer(rendezvous, Engine::inline(SPIN)?)
}

/// Asks in a round trip with a loop thread for each server, in which all threads park.
pub fn ask_dedicated_parked(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    ask(rendezvous, pinger, Engine::dedicated(1, PARK)?)
}

/// Answers in a round trip with a loop thread for each server, in which all threads park.
pub fn answer_dedicated_parked(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    answer(rendezvous, Engine::dedicated(1, PARK)?)
}

/// Asks in a round trip with a loop thread for each server, in which all threads yield for 50 µs before they park (the
/// default).
pub fn ask_dedicated_default(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    ask(rendezvous, pinger, Engine::dedicated(1, Idle::default())?)
}

/// Answers in a round trip with a loop thread for each server, in which all threads yield for 50 µs before they park
/// (the default).
pub fn answer_dedicated_default(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    answer(rendezvous, Engine::dedicated(1, Idle::default())?)
}

/// Asks in a round trip with a loop thread for each server, in which no thread sleeps.
pub fn ask_dedicated_spinning(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    ask(rendezvous, pinger, Engine::dedicated(1, YIELD)?)
}

/// Answers in a round trip with a loop thread for each server, in which no thread sleeps.
pub fn answer_dedicated_spinning(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    answer(rendezvous, Engine::dedicated(1, YIELD)?)
}

/// Asks in a round trip over epoll whose calling threads drive the loops and park.
pub fn ask_epoll_inline_parked(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    ask(rendezvous, pinger, Engine::start(Threading::Inline, PARK, Driver::Epoll)?)
}

/// Answers in a round trip over epoll whose calling threads drive the loops and park.
pub fn answer_epoll_inline_parked(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    answer(rendezvous, Engine::start(Threading::Inline, PARK, Driver::Epoll)?)
}

/// Asks in a round trip over epoll with a loop thread for each server and the default idle strategy.
pub fn ask_epoll_dedicated_default(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    ask(rendezvous, pinger, Engine::start(ONE_LOOP, Idle::default(), Driver::Epoll)?)
}

/// Answers in a round trip over epoll with a loop thread for each server and the default idle strategy.
pub fn answer_epoll_dedicated_default(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    answer(rendezvous, Engine::start(ONE_LOOP, Idle::default(), Driver::Epoll)?)
}

/// Exchanges one-way traffic in place over epoll; the loops have threads of their own.
pub fn epoll_dedicated_fast(participant: &mut Participant) -> Outcome {
    let engine = Engine::start(ONE_LOOP, Idle::default(), Driver::Epoll)?;
    exchange(participant, &engine, Checksum::Payload, send_in_place, receive_in_place)
}

/// Exchanges one-way traffic in place over epoll, with header checksums only; the loops have threads of their own.
pub fn epoll_dedicated_fast_header(participant: &mut Participant) -> Outcome {
    let engine = Engine::start(ONE_LOOP, Idle::default(), Driver::Epoll)?;
    exchange(participant, &engine, Checksum::Header, send_in_place, receive_in_place)
}

/// Exchanges traffic as owned envelopes; the loops have threads of their own.
pub fn dedicated_owned(participant: &mut Participant) -> Outcome {
    let engine = dedicated(participant.traffic())?;
    exchange(participant, &engine, Checksum::Payload, send_owned, receive_owned)
}

/// Exchanges traffic in place; the loops have threads of their own.
pub fn dedicated_fast(participant: &mut Participant) -> Outcome {
    let engine = dedicated(participant.traffic())?;
    exchange(participant, &engine, Checksum::Payload, send_in_place, receive_in_place)
}

/// Exchanges traffic in place, with header checksums only; the loops have threads of their own.
pub fn dedicated_fast_header(participant: &mut Participant) -> Outcome {
    let engine = dedicated(participant.traffic())?;
    exchange(participant, &engine, Checksum::Header, send_in_place, receive_in_place)
}

/// Exchanges one-way traffic in place; the calling threads drive the loops.
pub fn inline_fast(participant: &mut Participant) -> Outcome {
    exchange(participant, &Engine::inline(Idle::default())?, Checksum::Payload, send_in_place, receive_in_place)
}

/// Exchanges one-way traffic in place, with header checksums only; the calling threads drive the loops.
pub fn inline_fast_header(participant: &mut Participant) -> Outcome {
    exchange(participant, &Engine::inline(Idle::default())?, Checksum::Header, send_in_place, receive_in_place)
}

fn dedicated(traffic: &Traffic) -> Result<Engine, Unavailable> {
    if let Some(loops) = traffic.loops {
        let mut engines = WITH_LOOPS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engines.get(&loops) {
            return Ok(engine.clone());
        }
        let engine = Engine::dedicated(loops, Idle::default())?;
        engines.insert(loops, engine.clone());
        return Ok(engine);
    }
    if traffic.servers() == 2 { Engine::dedicated(1, Idle::default()) } else { Engine::shared(Idle::default()) }
}

/// Starts a server, which knows the addresses of the others. Its pid is its number plus one.
pub(super) fn server(
    rendezvous: &mut Rendezvous,
    engine: &Engine,
    checksum: Checksum,
) -> Result<Node, Box<dyn std::error::Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addresses = rendezvous.exchange(listener.local_addr()?.to_string())?;
    let config = Config::new((1..).zip(addresses))?.with_checksum(checksum).with_neighbours(Neighbours::Tcp);
    Ok(Builder::new(pid(rendezvous.index()), &config).engine(engine).listener(listener).start()?)
}

fn ask(rendezvous: &mut Rendezvous, pinger: &mut Pinger, engine: Engine) -> Outcome {
    let mut near = server(rendezvous, &engine, Checksum::Payload)?;
    let mut payload = vec![0; pinger.size()];
    while pinger.ask(&mut payload) {
        near.outbox().send(Envelope::to(2).body(&payload[..]))?;
        pinger.answered(&near.inbox().recv()?.msg)?;
    }
    near.outbox().send(Envelope::to(2))?;
    Ok(near.stop()?)
}

fn answer(rendezvous: &mut Rendezvous, engine: Engine) -> Outcome {
    let mut far = server(rendezvous, &engine, Checksum::Payload)?;
    loop {
        let envelope = far.inbox().recv()?;
        if envelope.msg.is_empty() {
            return Ok(());
        }
        far.outbox().send(Envelope::to(envelope.pid).id(envelope.msg_id).body(envelope.msg))?;
    }
}

/// Facts that a sender needs.
struct Task {
    load: Load,
    recipients: Vec<usize>,
    broadcast: bool,
    /// True if the last recipient is the slow consumer, for which the sender does not wait.
    has_slow: bool,
}

type Transmit = fn(&mut Outbox, &Task) -> Outcome;
type Receive = fn(&mut Inbox, &mut Receipts) -> Outcome;

fn exchange(
    participant: &mut Participant,
    engine: &Engine,
    checksum: Checksum,
    send: Transmit,
    receive: Receive,
) -> Outcome {
    let woken_before = engine.wake_ups();
    let node = server(participant.rendezvous(), engine, checksum)?;
    let Split { mut inbox, mut outbox, mut handle, .. } = node.split();
    let task = Task {
        load: participant.load(),
        recipients: participant.recipients(),
        broadcast: matches!(participant.traffic().pattern, Pattern::Broadcast { .. } | Pattern::AllToAll { .. }),
        has_slow: participant.traffic().slow().is_some(),
    };
    let transmit = |outbox: &mut Outbox| -> Outcome {
        if task.recipients.is_empty() {
            return Ok(());
        }
        send(outbox, &task)?;
        if !task.has_slow {
            outbox.flush(PATIENCE)?;
        }
        Ok(())
    };
    if participant.is_slow() {
        dawdle(&mut inbox, participant.rendezvous())?;
    } else {
        match (participant.recipients().is_empty(), participant.receipts().is_complete()) {
            (false, true) => transmit(&mut outbox)?,
            (true, _) => receive(&mut inbox, participant.receipts())?,
            (false, false) => thread::scope(|scope| -> Outcome {
                let sender = scope.spawn(|| transmit(&mut outbox));
                receive(&mut inbox, participant.receipts())?;
                sender.join().expect("the sender does not panic")
            })?,
        }
        wait_for_others(&mut inbox, participant.rendezvous())?;
    }
    let counts = counts(&handle, participant, engine.wake_ups() - woken_before);
    participant.note(counts);
    if participant.traffic().slow().is_some() {
        // The slow consumer leaves messages unread, and stopping would wait for them.
        drop(handle.stop_within(Duration::ZERO));
        return Ok(());
    }
    Ok(handle.stop()?)
}

/// Waits until all servers have received all messages: no server may leave before. Meanwhile it drives loops that have
/// no thread of their own.
fn wait_for_others(inbox: &mut Inbox, rendezvous: &mut Rendezvous) -> Outcome {
    rendezvous.arrive();
    while !rendezvous.is_over()? {
        match inbox.recv_timeout(Duration::from_millis(1)) {
            Ok(envelope) => return Err(format!("a message of {} bytes too many", envelope.msg.len()).into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Takes at most one message per millisecond until the other servers are done.
fn dawdle(inbox: &mut Inbox, rendezvous: &mut Rendezvous) -> Outcome {
    rendezvous.arrive();
    let mut rising = Rising::default();
    while !rendezvous.is_over()? {
        if let Ok(envelope) = inbox.try_recv() {
            rising.take(&envelope.msg)?;
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn send_owned(outbox: &mut Outbox, task: &Task) -> Outcome {
    let Task { load, recipients, .. } = task;
    let mut payload = vec![0; load.size];
    for sequence in 0..load.count {
        let payload = &mut payload[..load.bytes(sequence)];
        load.stamp(sequence, payload);
        if task.broadcast {
            outbox.send(Envelope::to(BROADCAST).body(&*payload))?;
            continue;
        }
        for (index, &recipient) in recipients.iter().enumerate() {
            let envelope = Envelope::to(pid(recipient)).body(&*payload);
            if task.has_slow && index + 1 == recipients.len() {
                unless_full(outbox.try_send(envelope))?;
            } else {
                outbox.send(envelope)?;
            }
        }
    }
    Ok(())
}

fn send_in_place(outbox: &mut Outbox, task: &Task) -> Outcome {
    let Task { load, recipients, .. } = task;
    if let (&[recipient], false) = (&recipients[..], task.has_slow) {
        let recipient = pid(recipient);
        for sequence in 0..load.count {
            outbox.claim(recipient, load.bytes(sequence))?.write(|payload| load.stamp(sequence, payload))?;
        }
        return Ok(());
    }
    for sequence in 0..load.count {
        let bytes = load.bytes(sequence);
        for (index, &recipient) in recipients.iter().enumerate() {
            let write = |payload: &mut [u8]| load.stamp(sequence, payload);
            if task.has_slow && index + 1 == recipients.len() {
                match outbox.try_claim(pid(recipient), bytes) {
                    Ok(claim) => claim.write(write)?,
                    Err(full) => unless_full(Err(full))?,
                }
            } else {
                outbox.claim(pid(recipient), bytes)?.write(write)?;
            }
        }
    }
    Ok(())
}

/// Treats a full queue as success: the sender does not wait for the slow consumer.
fn unless_full(sent: Result<(), SendError>) -> Result<(), SendError> {
    match sent {
        Err(SendError::Full { .. }) => Ok(()),
        sent => sent,
    }
}

fn receive_owned(inbox: &mut Inbox, receipts: &mut Receipts) -> Outcome {
    fn all(inbox: &mut Inbox, sink: &mut impl Sink) -> Outcome {
        while !sink.is_complete() {
            let envelope = inbox.recv()?;
            sink.take_from(index(envelope.pid), &envelope.msg)?;
        }
        Ok(())
    }
    match receipts.only() {
        Some(stream) => all(inbox, stream),
        None => all(inbox, receipts),
    }
}

fn receive_in_place(inbox: &mut Inbox, receipts: &mut Receipts) -> Outcome {
    fn all(inbox: &mut Inbox, sink: &mut impl Sink) -> Outcome {
        let mut wrong: Option<Corrupt> = None;
        while !sink.is_complete() {
            inbox.drain_wait(None, |envelope| {
                if let Err(error) = sink.take_from(index(envelope.pid), envelope.msg) {
                    wrong.get_or_insert(error);
                }
            });
            if let Some(wrong) = wrong {
                return Err(wrong.into());
            }
        }
        Ok(())
    }
    match receipts.only() {
        Some(stream) => all(inbox, stream),
        None => all(inbox, receipts),
    }
}

/// Returns the engine's counts of a server that sends; of the others, only the wake-ups. Loops that several servers
/// share are counted by server 0 alone.
fn counts(handle: &Handle, participant: &Participant, wake_ups: u64) -> EngineCounts {
    let wake_ups = if participant.index() == 0 || !participant.shares_loops() { wake_ups } else { 0 };
    let counts = EngineCounts { wake_ups, ..EngineCounts::default() };
    if participant.recipients().is_empty() {
        return counts;
    }
    handle.stats().iter().fold(counts, |sum, peer| EngineCounts {
        messages: sum.messages + peer.messages_out,
        segments: sum.segments + peer.segments_out,
        sends: sum.sends + peer.sends_out,
        ..sum
    })
}

fn pid(server: usize) -> u64 {
    server as u64 + 1
}

fn index(pid: u64) -> usize {
    (pid as usize).wrapping_sub(1)
}

/// Engines that several servers of this process share, by their number of loops. Idle engines cost nothing.
static WITH_LOOPS: Mutex<BTreeMap<usize, Engine>> = Mutex::new(BTreeMap::new());

const PATIENCE: Duration = Duration::from_secs(20);
const ONE_LOOP: Threading = Threading::Dedicated { shards: 1 };
const PARK: Idle = Idle { spin_us: 0, yield_us: 0, park: true };
const SPIN: Idle = Idle { spin_us: 0, yield_us: 0, park: false };
/// Yielding instead of spinning: four threads that never gave up two cores would wait for each other.
const YIELD: Idle = Idle { spin_us: 0, yield_us: 1, park: false };
