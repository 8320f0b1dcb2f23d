//! Simulator of shards, links and streams, unchanged, over a simulated driver in virtual time.
//!
//! One number, the seed, decides everything: how many machines and servers there are, how the network behaves, what the
//! applications do, and which faults occur. Connections are lost at any byte, stall, are accepted late, reach a
//! restarted process, or are recorded and replayed. Reads and writes are short, and buffers are full. Processes stall,
//! crash, stop and come back. Peers are removed and added. After the last fault everything has to come to rest. Then
//! the envelopes that were written and received, and the events, are checked against the promises.
//!
//! A shard takes the time from its driver, so there is no other clock. Two to five servers run on two to four machines;
//! servers of one machine share its event loops. They write numbered envelopes, short and long, on both lanes, through
//! several outboxes. Half of the seeds connect the servers of a machine through memory, a quarter replay recorded
//! connections, a quarter read events late with room for four, and an eighth flood a server with strangers.
//!
//! # Checks
//! - Within a minute of virtual time after the last fault, each accepted envelope has arrived once and in order, or was
//!   reported as given up. The accounts of the outboxes agree to the envelope.
//! - Everything that a server had acknowledged when it was stopped can be read.
//! - At rest, links stay up, loops turn no more often than heartbeats need, and a new envelope arrives at once.
//! - After each step, queues and tables are within their bounds.
//! - Over a range of seeds, every transition in the table of the links is taken.
//!
//! One seed gives the same hash each time. The hash covers what happens, when, and every byte that is sent over a
//! socket, but no names and texts. `cluster-simulate` prints the sum over its seeds, which shows that a change has
//! changed no behaviour.
//!
//! # Findings
//! Each is a test now, or a rule with its reason in the code.
//!
//! | finding | place |
//! | --- | --- |
//! | a link to a peer that was removed and added again believed greetings from before | `link/earlier.rs` |
//! | the late greeting of a dead process was taken for another restart of the peer | `link/tests/greeting.rs` |
//! | a proxy passed a greeting on to a successor; both sides refused each other for ever | `link/tests/greeting.rs` |
//! | a dial got the id of a socket whose end the shard had not read yet | `driver/sockets.rs` |
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
