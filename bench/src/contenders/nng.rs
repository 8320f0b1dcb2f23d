//! NNG's PUSH and PULL sockets with the longest queues that NNG allows, by the distribution's library. The package
//! `peers/nng` describes the case in which that library is not installed.

use cluster_bench_nng::{Error, Server};

use super::Outcome;
use crate::measure::Pinger;
use crate::participant::Participant;
use crate::rendezvous::Rendezvous;

/// Asks in a round trip.
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

/// Answers in a round trip.
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

/// Sends as server 0, or receives as server 1.
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
    // Closing a socket loses its queue: no server may leave before the other one has received all messages.
    Ok(participant.meet(String::new()).map(drop)?)
}

/// Starts a server and connects it to the other one.
fn server(rendezvous: &mut Rendezvous) -> Result<Server, Box<dyn std::error::Error + Send + Sync>> {
    let mut server = Server::listen()?;
    let addresses = rendezvous.exchange(server.address().to_owned())?;
    server.connect(&addresses[1 - rendezvous.index()]).map_err(|error: Error| error.to_string())?;
    Ok(server)
}
