//! This project's engine in a program on tokio: each side has a runtime with one thread, which turns the event loop too
//! (`Threading::Reactor`).

use std::future::Future;

use cluster::{Checksum, Driver, Engine, Envelope, Idle, Node, SendError, Server, Threading};

use super::Outcome;
use super::cluster::server;
use crate::measure::{Checker, Load, Pinger};
use crate::participant::Participant;
use crate::rendezvous::Rendezvous;

/// Asks in a round trip.
pub fn ask(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    run(start(rendezvous)?, async |mut near| {
        let mut payload = vec![0; pinger.size()];
        while pinger.ask(&mut payload) {
            near.outbox().send(Envelope::to(2).body(&payload[..]))?;
            pinger.answered(&near.inbox().recv_async().await?.msg)?;
        }
        near.outbox().send(Envelope::to(2))?;
        near.inbox().recv_async().await?;
        Ok(())
    })
}

/// Answers in a round trip.
pub fn answer(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    run(start(rendezvous)?, async |mut far| {
        loop {
            let envelope = far.inbox().recv_async().await?;
            let is_last = envelope.msg.is_empty();
            far.outbox().send(Envelope::to(envelope.pid).id(envelope.msg_id).body(envelope.msg))?;
            if is_last {
                return Ok(far.stop()?);
            }
        }
    })
}

/// Sends as server 0, or receives as server 1.
pub fn one_way(participant: &mut Participant) -> Outcome {
    let (server, load) = (start(participant.rendezvous())?, participant.load());
    if participant.index() == 0 {
        return run(server, |near| send(near, load));
    }
    let checker = participant.checker()?;
    run(server, async |far| receive(far, checker).await)
}

async fn send(mut near: Node, load: Load) -> Outcome {
    let mut payload = vec![0; load.size];
    for sequence in 0..load.count {
        load.stamp(sequence, &mut payload);
        while let Err(error) = near.outbox().try_send(Envelope::to(2).body(&payload[..])) {
            if !matches!(error, SendError::Full { .. }) {
                return Err(error.to_string().into());
            }
            tokio::task::yield_now().await;
        }
    }
    near.inbox().recv_async().await?;
    Ok(())
}

/// Sends as server 0 in place, or receives as server 1 where the bytes have arrived.
pub fn one_way_fast(participant: &mut Participant) -> Outcome {
    let (server, load) = (start(participant.rendezvous())?, participant.load());
    if participant.index() == 0 {
        return run(server, |near| send_in_place(near, load));
    }
    let checker = participant.checker()?;
    run(server, async |far| receive_in_place(far, checker).await)
}

async fn send_in_place(mut near: Node, load: Load) -> Outcome {
    for sequence in 0..load.count {
        loop {
            match near.outbox().try_claim(2, load.size) {
                Ok(claim) => break claim.write(|payload| load.stamp(sequence, payload))?,
                Err(SendError::Full { .. }) => tokio::task::yield_now().await,
                Err(error) => return Err(error.to_string().into()),
            }
        }
    }
    near.inbox().recv_async().await?;
    Ok(())
}

async fn receive_in_place(mut far: Node, checker: &mut Checker) -> Outcome {
    while !checker.is_complete() {
        checker.take(&far.inbox().recv_async().await?.msg)?;
        let mut wrong = None;
        far.inbox().drain(|envelope| {
            if let Err(error) = checker.take(envelope.msg) {
                wrong.get_or_insert(error);
            }
        });
        if let Some(wrong) = wrong {
            return Err(wrong.into());
        }
    }
    far.outbox().send(Envelope::to(1).body("all there"))?;
    Ok(far.stop()?)
}

async fn receive(mut far: Node, checker: &mut Checker) -> Outcome {
    while !checker.is_complete() {
        checker.take(&far.inbox().recv_async().await?.msg)?;
    }
    far.outbox().send(Envelope::to(1).body("all there"))?;
    Ok(far.stop()?)
}

type Started = (Engine, Node);

fn start(rendezvous: &mut Rendezvous) -> Result<Started, Box<dyn std::error::Error + Send + Sync>> {
    let engine = Engine::start(Threading::Reactor, Idle::default(), Driver::Auto)?;
    let node = server(rendezvous, &engine, Checksum::Payload)?;
    Ok((engine, node))
}

fn run<F: Future<Output = Outcome>>((engine, node): Started, work: impl FnOnce(Node) -> F) -> Outcome {
    let reactor = engine.reactor().ok_or("the engine was made for a reactor")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let driving = tokio::spawn(reactor.drive());
        let outcome = work(node).await;
        drop(engine);
        driving.await??;
        outcome
    })
}
