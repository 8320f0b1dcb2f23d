//! Faults of the scenarios, and the seconds that they take.

use fastrand::Rng;

use crate::clock::{MILLISECOND, SECOND};
use crate::plan::{Fault, Kind};

/// Returns a reset of all connections in every second.
pub fn resets(nodes: usize, seconds: u64) -> (Vec<Fault>, u64) {
    let mut random = Rng::with_seed(seconds);
    let mut faults = Vec::new();
    for second in 0..seconds {
        for node in 0..nodes {
            for other in node + 1..nodes {
                let begin = (BEFORE + second) * SECOND;
                faults.push(Fault { kind: Kind::Reset, node, other, begin, end: begin, amount: random.u64(..) });
            }
        }
    }
    (faults, BEFORE + seconds + AFTER)
}

/// Returns kills of one server after the other. Each server has a second to come back before the next one is killed.
pub fn kills(nodes: usize, times: u64) -> (Vec<Fault>, u64) {
    let mut random = Rng::with_seed(times);
    let fault = |index: u64| {
        let begin = BEFORE * SECOND + index * KILL_PERIOD;
        let end = begin + random.u64(50..500) * MILLISECOND;
        Fault { kind: Kind::Kill, node: index as usize % nodes, other: 0, begin, end, amount: 0 }
    };
    ((0..times).map(fault).collect(), BEFORE + times * KILL_PERIOD / SECOND + AFTER)
}

/// Returns cuts of one server after the other, with time to find each other again.
pub fn cuts(nodes: usize, times: u64) -> (Vec<Fault>, u64) {
    let fault = |index: u64| {
        let begin = (BEFORE + index * CUT_PERIOD) * SECOND;
        let end = begin + CUT_PERIOD / 2 * SECOND;
        Fault { kind: Kind::LinkDown, node: index as usize % nodes, other: 0, begin, end, amount: 0 }
    };
    ((0..times).map(fault).collect(), BEFORE + times * CUT_PERIOD + AFTER)
}

/// Returns stops of all servers at the same time.
pub fn freezes(nodes: usize, times: u64) -> (Vec<Fault>, u64) {
    let fault = |index: u64, node: usize| {
        let begin = (BEFORE + index * FREEZE_PERIOD) * SECOND;
        let end = begin + FREEZE_PERIOD / 2 * SECOND;
        Fault { kind: Kind::Stop, node, other: 0, begin, end, amount: 0 }
    };
    let faults = (0..times).flat_map(|index| (0..nodes).map(move |node| fault(index, node)));
    (faults.collect(), BEFORE + times * FREEZE_PERIOD + AFTER)
}

/// Returns stops of one server after the other, each after a time without faults for comparison.
pub fn stop(nodes: usize, seconds: u64, times: u64) -> (Vec<Fault>, u64) {
    compared(Kind::Stop, nodes, seconds, times)
}

/// Returns replays between one pair of servers after the other, four times per second. In the second half of the time,
/// servers are killed and restarted as well.
pub fn replays(nodes: usize, seconds: u64) -> (Vec<Fault>, u64) {
    let mut faults = between_pairs(Kind::Replay, nodes, seconds, 250 * MILLISECOND);
    let mut random = Rng::with_seed(seconds);
    for index in 0..seconds * SECOND / 2 / KILL_PERIOD {
        let begin = (BEFORE + seconds / 2) * SECOND + index * KILL_PERIOD;
        let end = begin + random.u64(50..500) * MILLISECOND;
        faults.push(Fault { kind: Kind::Kill, node: index as usize % nodes, other: 0, begin, end, amount: 0 });
    }
    faults.sort_by_key(|fault| fault.begin);
    (faults, BEFORE + seconds + AFTER)
}

/// Returns lies to one pair of servers after the other.
pub fn lies(nodes: usize, seconds: u64) -> (Vec<Fault>, u64) {
    (between_pairs(Kind::Lie, nodes, seconds, 200 * MILLISECOND), BEFORE + seconds + AFTER)
}

/// Returns a fault for one pair of servers after the other.
fn between_pairs(kind: Kind, nodes: usize, seconds: u64, period: u64) -> Vec<Fault> {
    let mut random = Rng::with_seed(seconds);
    let pairs: Vec<(usize, usize)> =
        (0..nodes).flat_map(|node| (node + 1..nodes).map(move |other| (node, other))).collect();
    let fault = |index: u64| {
        let (node, other) = pairs[index as usize % pairs.len()];
        let begin = BEFORE * SECOND + index * period;
        Fault { kind, node, other, begin, end: begin, amount: random.u64(..) }
    };
    (0..seconds * SECOND / period).map(fault).collect()
}

/// Returns a slow consumer at the first server, after a time without faults for comparison.
pub fn slow(seconds: u64) -> (Vec<Fault>, u64) {
    compared(Kind::Slow, 1, seconds, 1)
}

fn compared(kind: Kind, nodes: usize, seconds: u64, times: u64) -> (Vec<Fault>, u64) {
    let period = BEFORE + 2 * seconds;
    let fault = |index: u64| {
        let end = (index + 1) * period;
        let begin = end - seconds;
        Fault { kind, node: index as usize % nodes, other: 0, begin: begin * SECOND, end: end * SECOND, amount: 0 }
    };
    ((0..times).map(fault).collect(), times * period + AFTER)
}

const BEFORE: u64 = 3;
const AFTER: u64 = 5;
/// Seconds from one cut to the next, of which the link is down for half. The checker forgets an ended fault after three
/// seconds.
const CUT_PERIOD: u64 = 8;
const FREEZE_PERIOD: u64 = 6;
const KILL_PERIOD: u64 = 1_600 * MILLISECOND;
