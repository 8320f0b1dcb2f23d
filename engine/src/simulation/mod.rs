//! Simulator of shards, links and streams, unchanged, over a simulated driver in virtual time.
//!
//! One number, the seed, decides everything: how many machines and servers there are, how the network behaves, what the
//! applications do, and which faults occur. Connections are lost at any byte, stall, are accepted late, reach a
//! restarted process, or are recorded and replayed. Reads and writes are short, and buffers are full. Processes stall,
//! crash, stop and come back. Peers are removed and added. After the last fault everything has to come to rest. Then
//! the envelopes that were written and received, and the events, are checked against the promises. One seed gives the
//! same history to the byte each time.
//!
//! | module | content |
//! | --- | --- |
//! | plan | decisions of a seed before the simulation starts |
//! | timetable | happenings and their times |
//! | pipe, network, kernel, driver | connections, the network, sockets, and the driver over them |
//! | event_loop | process: the real shard |
//! | server | application: the real inbox and outbox |
//! | world, faults, rest | the whole simulation, its faults, and its end |
//! | membership, buffers | checks that removed peers leave nothing behind, and that receive buffers are bounded |
//! | history, watch | checks of the envelopes that were written and received, and of events |
//! | flood, replays | strangers: connections that never greet, and replays of recorded connections |
//! | mesh | many servers that broadcast, without faults |
//! | trace | history as a hash and as lines |

mod buffers;
mod driver;
mod event_loop;
mod faults;
mod history;
mod membership;
#[cfg(test)]
mod mesh;
mod network;
mod pipe;
mod plan;
mod rest;
mod server;
#[cfg(test)]
mod tests;
mod timetable;
mod trace;
mod watch;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::link::coverage;
use crate::time::Time;
use world::World;

pub use trace::Lines;

/// Outcome of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Hash of the history. Different histories have different hashes, except by coincidence.
    pub hash: u64,
    /// Number of happenings that were planned.
    pub happenings: u64,
    /// Number of envelopes that arrived.
    pub envelopes: u64,
    /// Virtual time that has passed.
    pub time: Duration,
    /// Transitions of the links' table that were taken, by their indices in [`TRANSITIONS`](crate::link::TRANSITIONS).
    pub transitions: Vec<usize>,
    /// Description of the broken promise, if there is one.
    pub failure: Option<String>,
}

/// Simulates a seed to its end. If `lines` is given, it is called with each line of the history after the end.
pub fn simulate(seed: u64, lines: Option<Lines<'_>>) -> Outcome {
    coverage::take();
    let mut world = World::new(seed, lines.is_some());
    let failure = catch_unwind(AssertUnwindSafe(|| world.run())).err().map(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        message.unwrap_or_else(|| "a panic without a message".to_owned())
    });
    let mut network = world.network.borrow_mut();
    if let Some(lines) = lines {
        network.trace.take_lines().iter().for_each(|line| lines(line));
    }
    Outcome {
        hash: network.trace.hash(),
        happenings: network.timetable.entries(),
        envelopes: world.history.received,
        time: network.now().since(Time::default()),
        transitions: coverage::take(),
        failure,
    }
}
