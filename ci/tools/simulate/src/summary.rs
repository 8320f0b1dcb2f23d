//! Summary of many seeds.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use cluster_engine::link::TRANSITIONS;
use cluster_engine::simulation::Outcome;

use crate::print;

/// Number of seeds from which on every transition must have been taken.
const COVERING_SEEDS: u64 = 1000;

/// Summary of the seeds so far.
pub struct Summary {
    began: Instant,
    seeds: u64,
    happenings: u64,
    envelopes: u64,
    time: Duration,
    /// Sum of the hashes of all traces.
    hash: u64,
    /// Number of seeds that took each transition.
    taken: Vec<u64>,
    failed: Vec<u64>,
}

impl Summary {
    /// Returns a summary without seeds.
    pub fn new(began: Instant) -> Summary {
        let taken = vec![0; TRANSITIONS.len()];
        Summary {
            began,
            seeds: 0,
            happenings: 0,
            envelopes: 0,
            time: Duration::ZERO,
            hash: 0,
            taken,
            failed: Vec::new(),
        }
    }

    /// Adds the outcome of one seed.
    pub fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.happenings += outcome.happenings;
        self.envelopes += outcome.envelopes;
        self.time += outcome.time;
        // A sum, because threads end their seeds in any order.
        self.hash = self.hash.wrapping_add(outcome.hash);
        outcome.transitions.into_iter().for_each(|place| self.taken[place] += 1);
        if outcome.failure.is_some() {
            self.failed.push(seed);
        }
    }

    /// Number of seeds.
    pub fn seeds(&self) -> u64 {
        self.seeds
    }

    /// Number of seeds that failed.
    pub fn failures(&self) -> usize {
        self.failed.len()
    }

    /// Prints the summary, and returns the exit code.
    pub fn print(mut self, all: u64) -> ExitCode {
        print("Transitions of a link, and how many seeds took each:");
        for ((from, event, to), seeds) in TRANSITIONS.iter().zip(&self.taken) {
            let (from, event, to) = (format!("{from:?}"), format!("{event:?}"), format!("{to:?}"));
            let never = if *seeds == 0 { "  NEVER TAKEN" } else { "" };
            print(format_args!("  {from:9} {event:9} -> {to:9} {seeds:>7}{never}"));
        }
        let (elapsed, simulated) = (self.began.elapsed().as_secs_f64(), self.time.as_secs_f64());
        print(format_args!(
            "{} of {all} seeds in {elapsed:.1} s ({:.0}/s): {} envelopes, {} happenings, {:.1} simulated hours, \
             hash {:016x}",
            self.seeds,
            self.seeds as f64 / elapsed,
            self.envelopes,
            self.happenings,
            simulated / 3600.0,
            self.hash
        ));
        self.failed.sort_unstable();
        if let Some(first) = self.failed.first() {
            print(format_args!("FAILED: seeds {:?}; read one with --seed {first} --trace", self.failed));
            return ExitCode::FAILURE;
        }
        if self.seeds >= COVERING_SEEDS && self.taken.contains(&0) {
            print("FAILED: a transition is never taken; see to it that it is, or strike it from the table");
            return ExitCode::FAILURE;
        }
        print("every promise was kept");
        ExitCode::SUCCESS
    }
}
