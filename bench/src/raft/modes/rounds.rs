//! Interleaved rounds of one measurement, and the settings of its groups.

use crate::raft::compare::Options;
use crate::raft::contenders::Contender;
use crate::raft::protocol::Settings;
use crate::statistics::Spread;

/// Measures the contenders that `is_meant` accepts in rounds, in random order. A contender that fails in a round has no
/// figures.
pub fn rounds<const FIGURES: usize>(
    options: &Options,
    fail: &mut impl FnMut(String),
    what: &str,
    is_meant: impl Fn(&Contender) -> bool,
    mut measure: impl FnMut(&Contender) -> Result<[f64; FIGURES], String>,
) -> Vec<(&'static Contender, [Spread; FIGURES])> {
    let contenders: Vec<_> = options.contenders().into_iter().filter(|contender| is_meant(contender)).collect();
    let mut samples: Vec<Vec<[f64; FIGURES]>> = vec![Vec::new(); contenders.len()];
    let mut random = fastrand::Rng::with_seed(options.seed);
    for round in 1..=options.rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        random.shuffle(&mut order);
        for index in order {
            let Contender { library, name, .. } = contenders[index];
            match measure(contenders[index]) {
                Ok(sample) => samples[index].push(sample),
                Err(reason) => fail(format!("{what}, {library}, {name}, round {round}: {reason}")),
            }
        }
    }
    let complete = contenders.into_iter().zip(samples).filter(|(_, samples)| samples.len() == options.rounds);
    let spreads = |samples: Vec<[f64; FIGURES]>| {
        std::array::from_fn(|at| Spread::of(samples.iter().map(|sample| sample[at]).collect()))
    };
    complete.map(|(contender, samples)| (contender, spreads(samples))).collect()
}

/// Settings of a group that notices the loss of its leader soon.
pub const PROMPT: Settings = Settings { heartbeat_ms: 100, election_ms: 500, voters: 3, ballast_bytes: 0 };
