//! NNG's PUSH and PULL sockets with the longest queues that it takes, by the distribution's library; see the package
//! `peers/nng`, and what it says where that library is not installed.

use cluster_bench_nng::{Error, Server};

use super::Outcome;
use crate::measure::Pinger;
use crate::participant::Participant;
use crate::rendezvous::Rendezvous;

/// Asks.
pub fn ask(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    let near = server(rendezvous)?;
    let mut payload = vec![0; pinger.size()];
    while pinger.ask(&mut payload) {
        near.send(0, 1, &payload)?;
        near.recv(|payload| pinger.answered(payload))??;
    }
    near.send(0, 0, &[])?;
    Ok(rendezvous.exchange(String::new()).map(drop)?)
}

/// Answers.
pub fn answer(rendezvous: &mut Rendezvous, size: usize) -> Outcome {
    let far = server(rendezvous)?;
    let mut answer = Vec::with_capacity(size);
    loop {
        far.recv(|payload| {
            answer.clear();
            answer.extend_from_slice(payload);
        })?;
        if answer.is_empty() {
            return Ok(rendezvous.exchange(String::new()).map(drop)?);
        }
        far.send(1, 1, &answer)?;
    }
}

/// Sends, or receives.
pub fn one_way(participant: &mut Participant) -> Outcome {
    let server = server(participant.rendezvous())?;
    if participant.index() == 0 {
        let load = participant.load();
        let mut payload = vec![0; load.size];
        for sequence in 0..load.count {
            load.stamp(sequence, &mut payload);
            server.send(0, sequence, &payload)?;
        }
    } else {
        let checker = participant.checker()?;
        while !checker.is_complete() {
            server.recv(|payload| checker.take(payload))??;
        }
    }
    // What is queued when a socket is closed is lost: nobody leaves before the other one has everything.
    Ok(participant.meet(String::new()).map(drop)?)
}

/// A server that is connected to the other one.
fn server(rendezvous: &mut Rendezvous) -> Result<Server, Box<dyn std::error::Error + Send + Sync>> {
    let mut server = Server::listen()?;
    let addresses = rendezvous.exchange(server.address().to_owned())?;
    server.connect(&addresses[1 - rendezvous.index()]).map_err(|error: Error| error.to_string())?;
    Ok(server)
}
