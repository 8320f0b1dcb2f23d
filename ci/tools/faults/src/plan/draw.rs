//! Drawing of a plan.

use fastrand::Rng;

use super::{Fault, Kind};
use crate::clock::MILLISECOND;

/// Parameters of a drawing.
#[derive(Clone, Debug)]
pub struct Choice {
    pub seed: u64,
    pub nodes: usize,
    /// Time for which faults are injected, in milliseconds.
    pub milliseconds: u64,
    pub kinds: Vec<Kind>,
}

/// Returns the faults of a seed, by the time at which they begin. All end before the time is over.
pub fn draw(choice: &Choice) -> Vec<Fault> {
    // The fork draws once: without it, neighbouring seeds have related plans.
    let mut random = Rng::with_seed(choice.seed).fork();
    let mut faults: Vec<Fault> = Vec::new();
    let mut time = WARM_UP_MS;
    loop {
        time += random.u64(200..1200);
        // Drawn before it is known whether the fault fits: a fault that does not fit then changes nothing for the later
        // ones.
        let kind = choice.kinds[random.usize(..choice.kinds.len())];
        let node = random.usize(..choice.nodes);
        let other = (node + random.usize(1..choice.nodes)) % choice.nodes;
        let (length, amount) = shape(kind, &mut random);
        if time + COOL_DOWN_MS >= choice.milliseconds {
            return faults;
        }
        let end = (time + length).min(choice.milliseconds - COOL_DOWN_MS);
        let fault = Fault { kind, node, other, begin: time * MILLISECOND, end: end * MILLISECOND, amount };
        let active = faults.iter().filter(|active| active.end + SPACE_MS * MILLISECOND > fault.begin);
        if active.clone().count() < MOST_AT_ONCE && !active.clone().any(|active| excludes(active, &fault)) {
            faults.push(fault);
        }
    }
}

/// Returns the duration of a fault of this kind, in milliseconds, and its amount.
fn shape(kind: Kind, random: &mut Rng) -> (u64, u64) {
    let amount = random.u64(..);
    match kind {
        Kind::Kill => (random.u64(20..3000), amount),
        Kind::Leave => (random.u64(50..3000), amount),
        Kind::Stop if random.u64(..6) == 0 => (random.u64(5_000..30_000), amount),
        Kind::Stop => (random.u64(100..4_000), amount),
        Kind::LinkDown | Kind::OneWay => (random.u64(100..5_000), amount),
        Kind::Reset | Kind::Replay | Kind::Lie => (0, amount),
        Kind::Throttle => (random.u64(1_000..6_000), random.u64(2..50)),
        Kind::Slow => (random.u64(500..8_000), amount),
        Kind::Descriptors => (random.u64(300..4_000), amount),
        Kind::Remove => (random.u64(1..3_000), amount),
        Kind::Memory => (random.u64(500..6_000), random.u64(96..192)),
    }
}

/// Returns whether `fault` cannot be injected while `active` lasts.
fn excludes(active: &Fault, fault: &Fault) -> bool {
    let same_node = active.node == fault.node;
    match fault.kind {
        _ if active.kind.is_of_process() && fault.kind.is_of_process() => same_node,
        Kind::OneWay | Kind::Remove => active.kind == fault.kind && same_node && active.other == fault.other,
        kind => active.kind == kind && same_node && kind != Kind::Reset,
    }
}

/// Time before the first fault, in which the servers find each other.
const WARM_UP_MS: u64 = 1_500;
/// Time at the end in which no fault is active.
const COOL_DOWN_MS: u64 = 2_000;
/// Least time between two faults of one kind on one server.
const SPACE_MS: u64 = 300;
const MOST_AT_ONCE: usize = 4;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Choice, draw, excludes};
    use crate::plan::Kind;

    fn choice(seed: u64) -> Choice {
        Choice { seed, nodes: 5, milliseconds: 600_000, kinds: Kind::ALL.to_vec() }
    }

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(draw(&choice(1)), draw(&choice(1)));
        assert_ne!(draw(&choice(1)), draw(&choice(2)));
    }

    #[test]
    fn plans_have_every_kind_and_nothing_that_cannot_be() {
        for seed in 0..50 {
            let faults = draw(&choice(seed));
            assert_eq!(faults.iter().map(|fault| fault.kind).collect::<HashSet<Kind>>().len(), Kind::ALL.len());
            for (index, fault) in faults.iter().enumerate() {
                assert!(fault.begin <= fault.end && fault.end < 600_000_000_000 && fault.node != fault.other);
                let active = faults[..index].iter().filter(|active| active.end >= fault.begin);
                assert!(!active.clone().any(|active| excludes(active, fault)), "{fault:?}");
            }
        }
    }
}
