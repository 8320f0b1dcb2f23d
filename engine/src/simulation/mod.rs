//! The simulator: shards, links and streams as they are, over a driver that is played, in virtual time.
//!
//! One number decides everything: how many machines and servers there are, how the network is, what the applications
//! do, and what goes wrong. Connections are lost at any byte, stall, are accepted late, reach a process that has
//! started anew, or are recorded and played again; reads and writes are short and buffers full; processes stand still,
//! crash, stop, and come back; peers are removed and added. After the last fault everything has to come to rest, and
//! what was written, received and told is compared with what was promised. The same seed gives the same history to the
//! byte.
//!
//! | module | what it is |
//! | --- | --- |
//! | plan | what a seed decides before anything happens |
//! | timetable | what happens when |
//! | pipe, network, kernel, driver | connections, the network, sockets, and the driver over them |
//! | event_loop | a process: the real shard |
//! | server | an application: the real inbox and outbox |
//! | world, faults, rest | all of it, what goes wrong, and how it ends |
//! | membership, buffers | that peers which come and go leave nothing behind, and that receive buffers are bounded |
//! | history, watch | what was written, received and told, and whether it may be so |
//! | flood, replays | strangers: those who never greet, and those who play again what a peer has sent |
//! | mesh | many servers that broadcast, without faults |
//! | trace | what happened, as a number and as lines |

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

/// What became of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Another one for another history.
    pub hash: u64,
    /// How many things happened.
    pub happenings: u64,
    /// How many envelopes arrived.
    pub envelopes: u64,
    /// How much time went by in the simulation.
    pub time: Duration,
    /// Which transitions of the links' table were taken, by their places in [`TRANSITIONS`](crate::link::TRANSITIONS).
    pub transitions: Vec<usize>,
    /// The promise that was not kept.
    pub failure: Option<String>,
}

/// Plays a seed to its end. `lines` is given what happens, if anybody wants to read it.
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
