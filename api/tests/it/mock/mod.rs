//! Mock clusters.

mod faults;
mod history;
mod seeds;
mod speed;
mod times;

use cluster::mock::{Cluster, Node, Time};
use cluster::{BROADCAST, Envelope, Server};

/// A cluster under virtual time with the servers 1 to `count`.
fn cluster(seed: u64, count: u64) -> (Cluster, Vec<Node>) {
    let cluster = Cluster::with_time(seed, Time::Virtual);
    let servers = cluster.add_servers(1..=count).unwrap();
    (cluster, servers)
}

/// Each server broadcasts so many messages.
fn broadcast(servers: &mut [Node], messages: usize) {
    for _ in 0..messages {
        for server in &mut *servers {
            server.outbox().send(Envelope::to(BROADCAST).body("all")).unwrap();
        }
    }
}

/// Empties all inboxes, and counts what was in them.
fn take_all(servers: &mut [Node]) -> usize {
    let mut taken = 0;
    for server in servers {
        loop {
            match server.inbox().drain(|_| ()) {
                0 => break,
                some => taken += some,
            }
        }
    }
    taken
}
