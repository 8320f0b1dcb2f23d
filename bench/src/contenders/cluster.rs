//! This project's engine, through the public interface, as a user would set it up.
//!
//! Each of the two servers has an engine of its own, as two processes would; `memory`: they share one, and no socket is
//! between them. `parked` sleeps at once when there is nothing
//! to do, `spinning` never does; one way runs with the default, which yields a little before it sleeps. `owned` sends and receives envelopes of their own; `fast` encodes in place (`claim`) and
//! reads where the bytes were received (`drain`). `header` leaves the payload to TCP's checksum.

use std::net::TcpListener;
use std::thread;

use cluster::{Builder, Checksum, Config, Engine, Envelope, Idle, Node, Server};

use super::Outcome;
use crate::measure::{Checker, Load, Pinger};

/// Round trip, the calling threads drive the loops and park.
pub fn inline_parked(pinger: &mut Pinger) -> Outcome {
    round_trip(pinger, inline, PARK)
}

/// Round trip, the calling threads drive the loops and spin.
pub fn inline_spinning(pinger: &mut Pinger) -> Outcome {
    round_trip(pinger, inline, SPIN)
}

/// Round trip, a loop thread for each server, all threads park.
pub fn dedicated_parked(pinger: &mut Pinger) -> Outcome {
    round_trip(pinger, dedicated, PARK)
}

/// Round trip, a loop thread for each server, no thread sleeps.
pub fn dedicated_spinning(pinger: &mut Pinger) -> Outcome {
    round_trip(pinger, dedicated, YIELD)
}

/// One way, owned envelopes, a loop thread for each server.
pub fn dedicated_owned(checker: &mut Checker) -> Outcome {
    one_way(checker, dedicated, Checksum::Payload, send_owned, receive_owned)
}

/// One way, in place, a loop thread for each server.
pub fn dedicated_fast(checker: &mut Checker) -> Outcome {
    one_way(checker, dedicated, Checksum::Payload, send_in_place, receive_in_place)
}

/// One way, in place, header checksums only, a loop thread for each server.
pub fn dedicated_fast_header(checker: &mut Checker) -> Outcome {
    one_way(checker, dedicated, Checksum::Header, send_in_place, receive_in_place)
}

/// One way, in place, the calling threads drive the loops.
pub fn inline_fast(checker: &mut Checker) -> Outcome {
    one_way(checker, inline, Checksum::Payload, send_in_place, receive_in_place)
}

/// One way, in place, header checksums only, the calling threads drive the loops.
pub fn inline_fast_header(checker: &mut Checker) -> Outcome {
    one_way(checker, inline, Checksum::Header, send_in_place, receive_in_place)
}

/// Round trip through memory, a loop thread for each server, all threads park.
pub fn memory_parked(pinger: &mut Pinger) -> Outcome {
    round_trip(pinger, together, PARK)
}

/// Round trip through memory, a loop thread for each server, no thread sleeps.
pub fn memory_spinning(pinger: &mut Pinger) -> Outcome {
    round_trip(pinger, together, YIELD)
}

/// One way through memory, owned envelopes, a loop thread for each server.
pub fn memory_owned(checker: &mut Checker) -> Outcome {
    one_way(checker, together, Checksum::Payload, send_owned, receive_owned)
}

/// One way through memory, in place, a loop thread for each server.
pub fn memory_fast(checker: &mut Checker) -> Outcome {
    one_way(checker, together, Checksum::Payload, send_in_place, receive_in_place)
}

/// Engines for two servers.
type MakeEngines = fn(Idle) -> Result<[Engine; 2], cluster::Unavailable>;

fn inline(idle: Idle) -> Result<[Engine; 2], cluster::Unavailable> {
    Ok([Engine::inline(idle)?, Engine::inline(idle)?])
}

fn dedicated(idle: Idle) -> Result<[Engine; 2], cluster::Unavailable> {
    Ok([Engine::dedicated(1, idle)?, Engine::dedicated(1, idle)?])
}

/// The same engine for both, with a loop for each.
fn together(idle: Idle) -> Result<[Engine; 2], cluster::Unavailable> {
    let engine = Engine::dedicated(2, idle)?;
    Ok([engine.clone(), engine])
}

/// Two servers, 1 and 2.
fn pair(
    engines: MakeEngines,
    idle: Idle,
    checksum: Checksum,
) -> Result<(Node, Node), Box<dyn std::error::Error + Send + Sync>> {
    let (near, far) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let addresses = [(1, near.local_addr()?.to_string()), (2, far.local_addr()?.to_string())];
    let config = Config::new(addresses)?.with_checksum(checksum);
    let [one, two] = engines(idle)?;
    let near = Builder::new(1, &config).engine(&one).listener(near).start()?;
    let far = Builder::new(2, &config).engine(&two).listener(far).start()?;
    Ok((near, far))
}

fn round_trip(pinger: &mut Pinger, engines: MakeEngines, idle: Idle) -> Outcome {
    let (mut near, mut far) = pair(engines, idle, Checksum::Payload)?;
    thread::scope(|scope| {
        let echo = scope.spawn(move || -> Outcome {
            loop {
                let envelope = far.inbox().recv()?;
                if envelope.msg.is_empty() {
                    return Ok(());
                }
                far.outbox().send(Envelope::to(envelope.pid).id(envelope.msg_id).body(envelope.msg))?;
            }
        });
        let mut payload = vec![0; pinger.size()];
        while pinger.ask(&mut payload) {
            near.outbox().send(Envelope::to(2).body(&payload[..]))?;
            pinger.answered(&near.inbox().recv()?.msg)?;
        }
        near.outbox().send(Envelope::to(2))?;
        near.stop()?;
        echo.join().expect("the echo does not panic")
    })
}

fn one_way(
    checker: &mut Checker,
    engines: MakeEngines,
    checksum: Checksum,
    send: fn(&mut Node, Load) -> Outcome,
    receive: fn(&mut Node, &mut Checker) -> Outcome,
) -> Outcome {
    let (mut near, mut far) = pair(engines, Idle::default(), checksum)?;
    let load = checker.load();
    thread::scope(|scope| {
        let sender = scope.spawn(move || -> Outcome {
            send(&mut near, load)?;
            near.inbox().recv()?;
            Ok(())
        });
        receive(&mut far, checker)?;
        far.outbox().send(Envelope::to(1).body("all there"))?;
        far.stop()?;
        sender.join().expect("the sender does not panic")
    })
}

fn send_owned(node: &mut Node, load: Load) -> Outcome {
    let mut payload = vec![0; load.size];
    for sequence in 0..load.count {
        load.stamp(sequence, &mut payload);
        node.outbox().send(Envelope::to(2).body(&payload[..]))?;
    }
    Ok(())
}

fn receive_owned(node: &mut Node, checker: &mut Checker) -> Outcome {
    while !checker.is_complete() {
        checker.take(&node.inbox().recv()?.msg)?;
    }
    Ok(())
}

fn send_in_place(node: &mut Node, load: Load) -> Outcome {
    for sequence in 0..load.count {
        node.outbox().claim(2, load.size)?.write(|payload| load.stamp(sequence, payload))?;
    }
    Ok(())
}

fn receive_in_place(node: &mut Node, checker: &mut Checker) -> Outcome {
    let mut wrong = None;
    while !checker.is_complete() {
        node.inbox().drain_wait(None, |envelope| {
            if let Err(error) = checker.take(envelope.msg) {
                wrong.get_or_insert(error);
            }
        });
        if let Some(wrong) = wrong {
            return Err(wrong.into());
        }
    }
    Ok(())
}

const PARK: Idle = Idle { spin_us: 0, yield_us: 0, park: true };
const SPIN: Idle = Idle { spin_us: 0, yield_us: 0, park: false };
/// Four threads that never let go of two cores would wait for each other; these give way to one another.
const YIELD: Idle = Idle { spin_us: 0, yield_us: 1, park: false };
