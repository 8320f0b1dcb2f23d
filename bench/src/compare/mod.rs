//! All contenders in one run, so that their ratios mean something.
//!
//! For each case and size: calibrate, then several rounds, and within each round every contender
//! once, in random order. A slow minute of the machine thus hits all of them.

mod report;
mod row;
mod verdict;

use std::time::Duration;

use crate::contenders::{self, Contender, Run};
use crate::measure::{Load, Pinger};
use crate::runner::{self, Failure, Sample};

pub use report::{tables, verdicts};
pub use row::{Case, Row};
pub use verdict::{BARS, Bar, Bound, Verdict};

/// What to compare.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cases.
    pub cases: Vec<Case>,
    /// Payload sizes in bytes.
    pub sizes: Vec<usize>,
    /// Names of contenders; empty for all.
    pub only: Vec<String>,
    /// Rounds, at least one.
    pub rounds: usize,
    /// Decides the order of the contenders within each round.
    pub seed: u64,
    /// Time for one contender within one round.
    pub budget: Duration,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// A row for each case, size and contender that succeeded in every round.
    pub rows: Vec<Row>,
    /// What failed: case, size, contender and reason.
    pub failures: Vec<String>,
}

/// Runs the comparison; `progress` is told what is being measured.
pub fn run(options: &Options, mut progress: impl FnMut(&str)) -> Outcome {
    let mut outcome = Outcome::default();
    let mut random = fastrand::Rng::with_seed(options.seed);
    for &case in &options.cases {
        for &size in &options.sizes {
            let selected = contenders::ALL
                .iter()
                .filter(|contender| case_of(contender) == case && is_selected(contender, &options.only));
            let mut cell = Cell { options, size, entrants: Vec::new() };
            let measured = cell.calibrate(selected, &mut progress).and_then(|()| cell.run(&mut random));
            cell.entrants.sort_by_key(|entrant| entrant.contender.name);
            for entrant in cell.entrants {
                let name = entrant.contender.name;
                match entrant.failure {
                    Some(reason) => {
                        outcome.failures.push(format!("{case}, {size} bytes, {name}: {reason}"));
                    }
                    None if measured.is_ok() => {
                        outcome.rows.push(Row::of(case, size, name, &entrant.samples));
                    }
                    None => {}
                }
            }
            if measured.is_err() {
                return outcome;
            }
        }
    }
    outcome
}

/// One case with one size.
struct Cell<'a> {
    options: &'a Options,
    size: usize,
    entrants: Vec<Entrant>,
}

struct Entrant {
    contender: &'static Contender,
    /// What it sends in a round; the count means nothing for round trips.
    load: Load,
    samples: Vec<Sample>,
    failure: Option<String>,
}

/// A contender hangs, and the comparison ends.
struct Stuck;

impl Cell<'_> {
    fn calibrate(
        &mut self,
        contenders: impl Iterator<Item = &'static Contender>,
        progress: &mut impl FnMut(&str),
    ) -> Result<(), Stuck> {
        for contender in contenders {
            progress(&format!("{}, {} bytes: {}", case_of(contender), self.size, contender.name));
            let load = Load::new(self.size, 0);
            let mut entrant = Entrant { contender, load, samples: Vec::new(), failure: None };
            let mut outcome = Ok(());
            if let Run::OneWay(run) = contender.run {
                match runner::calibrate(run, self.size, self.options.budget) {
                    Ok(load) => entrant.load = load,
                    Err(failure) => outcome = entrant.fail(failure),
                }
            }
            self.entrants.push(entrant);
            outcome?;
        }
        Ok(())
    }

    fn run(&mut self, random: &mut fastrand::Rng) -> Result<(), Stuck> {
        for _ in 0..self.options.rounds {
            random.shuffle(&mut self.entrants);
            for entrant in self.entrants.iter_mut().filter(|entrant| entrant.failure.is_none()) {
                match entrant.measure(self.options.budget) {
                    Ok(sample) => entrant.samples.push(sample),
                    Err(failure) => entrant.fail(failure)?,
                }
            }
        }
        Ok(())
    }
}

impl Entrant {
    fn measure(&self, budget: Duration) -> Result<Sample, Failure> {
        match self.contender.run {
            Run::RoundTrip(run) => {
                let pinger = Pinger::for_time(self.load.size, budget);
                runner::round_trip(run, pinger).map(Sample::RoundTrip)
            }
            Run::OneWay(run) => runner::one_way(run, self.load).map(Sample::OneWay),
        }
    }

    fn fail(&mut self, failure: Failure) -> Result<(), Stuck> {
        self.failure = Some(failure.to_string());
        if matches!(failure, Failure::Hung) { Err(Stuck) } else { Ok(()) }
    }
}

fn case_of(contender: &Contender) -> Case {
    match contender.run {
        Run::RoundTrip(_) => Case::RoundTrip,
        Run::OneWay(_) => Case::OneWay,
    }
}

fn is_selected(contender: &Contender, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|name| name == contender.name)
}
