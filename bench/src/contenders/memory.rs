//! This project's engine between two servers of one engine: through memory, with a loop for each server.
//!
//! Interface, rings and protocol are those of the TCP contenders; only the network is missing.

use std::net::TcpListener;
use std::thread;

use cluster::{Builder, Config, Engine, Envelope, Idle, Node, Server};

use super::Outcome;
use crate::measure::{Checker, Load, Pinger};

/// Makes round trips in which all threads park.
pub fn parked(pinger: &mut Pinger) -> Outcome {
    round_trip(pinger, Idle { spin_us: 0, yield_us: 0, park: true })
}

/// Makes round trips in which no thread sleeps. The threads yield: four threads that never gave up two cores would wait
/// for each other.
pub fn spinning(pinger: &mut Pinger) -> Outcome {
    round_trip(pinger, Idle { spin_us: 0, yield_us: 1, park: false })
}

/// Exchanges one-way traffic as owned envelopes.
pub fn owned(checker: &mut Checker) -> Outcome {
    let send = |near: &mut Node, load: Load| -> Outcome {
        let mut payload = vec![0; load.size];
        for sequence in 0..load.count {
            load.stamp(sequence, &mut payload);
            near.outbox().send(Envelope::to(2).body(&payload[..]))?;
        }
        Ok(())
    };
    one_way(checker, send, |far, checker| {
        let envelope = far.inbox().recv()?;
        Ok(checker.take(&envelope.msg)?)
    })
}

/// Exchanges one-way traffic in place.
pub fn fast(checker: &mut Checker) -> Outcome {
    let send = |near: &mut Node, load: Load| -> Outcome {
        for sequence in 0..load.count {
            near.outbox().claim(2, load.size)?.write(|payload| load.stamp(sequence, payload))?;
        }
        Ok(())
    };
    one_way(checker, send, |far, checker| {
        let mut wrong = None;
        far.inbox().drain_wait(None, |envelope| {
            if let Err(error) = checker.take(envelope.msg) {
                wrong.get_or_insert(error);
            }
        });
        wrong.map_or(Ok(()), |wrong| Err(wrong.into()))
    })
}

fn pair(idle: Idle) -> Result<(Node, Node), Box<dyn std::error::Error + Send + Sync>> {
    let (near, far) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let config = Config::new([(1, near.local_addr()?.to_string()), (2, far.local_addr()?.to_string())])?;
    let engine = Engine::dedicated(2, idle)?;
    let near = Builder::new(1, &config).engine(&engine).listener(near).start()?;
    let far = Builder::new(2, &config).engine(&engine).listener(far).start()?;
    Ok((near, far))
}

fn round_trip(pinger: &mut Pinger, idle: Idle) -> Outcome {
    let (mut near, mut far) = pair(idle)?;
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
    send: impl FnOnce(&mut Node, Load) -> Outcome + Send,
    receive: impl Fn(&mut Node, &mut Checker) -> Outcome,
) -> Outcome {
    let (mut near, mut far) = pair(Idle::default())?;
    let load = checker.load();
    thread::scope(|scope| {
        let sender = scope.spawn(move || -> Outcome {
            send(&mut near, load)?;
            Ok(near.stop()?)
        });
        while !checker.is_complete() {
            receive(&mut far, checker)?;
        }
        sender.join().expect("the sender does not panic")
    })
}
