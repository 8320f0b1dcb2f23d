//! Comparison of all contenders in one run, so that their ratios are meaningful.
//!
//! Each case and size is calibrated, then measured in several rounds. Each round runs every contender once, in random
//! order. A slow minute of the machine therefore hits all of them.

mod report;
mod row;
mod verdict;

use std::time::Duration;

use crate::case::Case;
use crate::contenders::{self, Contender};
use crate::histograms::Recorded;
use crate::measure::Pinger;
use crate::runner::{self, Counted, Failure, How, Place, Sample};

pub use report::{costs, tables, verdicts};
pub use row::{
    ALLOCATIONS, LOOP_WAKE_UPS, MESSAGES_PER_SEGMENT, PROCESSOR, Row, SEGMENTS_PER_SEND, SYSTEM_CALLS, WAITS, counts,
};
pub use verdict::{BARS, Bar, Bound, Verdict};

/// Options of a comparison.
#[derive(Debug, Clone)]
pub struct Options {
    /// Measured cases.
    pub cases: Vec<Case>,
    /// Payload sizes in bytes; empty for those of each case.
    pub sizes: Vec<usize>,
    /// Names of contenders; empty for all.
    pub only: Vec<String>,
    /// Rounds, at least one.
    pub rounds: usize,
    /// Seed of the order of contenders within each round.
    pub seed: u64,
    /// Time for one contender within one round.
    pub budget: Duration,
    /// Place in which servers run.
    pub place: Place,
    /// True if each contender runs once more, to count system calls and allocations.
    pub counting: bool,
}

/// Result of a comparison.
#[derive(Debug, Default)]
pub struct Outcome {
    /// A row for each case, size and contender that succeeded in every round.
    pub rows: Vec<Row>,
    /// Failures: case, size, contender and reason.
    pub failures: Vec<String>,
    /// Durations of round trips in nanoseconds, all rounds together.
    pub histograms: Vec<Recorded>,
}

/// Runs the comparison, and passes the name of each contender to `progress` when it is calibrated.
pub fn run(options: &Options, mut progress: impl FnMut(&str)) -> Outcome {
    let mut outcome = Outcome::default();
    let mut random = fastrand::Rng::with_seed(options.seed);
    for &case in &options.cases {
        for &size in if options.sizes.is_empty() { case.sizes() } else { &options.sizes } {
            let mut cell = Cell { options, case, size, entrants: Vec::new() };
            let measured = cell.calibrate(&mut progress).and_then(|()| cell.run(&mut random));
            cell.entrants.sort_by_key(|entrant| entrant.contender.name);
            for entrant in cell.entrants {
                let name = entrant.contender.name;
                match &entrant.failure {
                    Some(reason) => {
                        outcome.failures.push(format!("{case}, {size} bytes, {name}: {reason}"));
                    }
                    None if measured.is_ok() => {
                        let row = Row::of(case, size, name, &entrant.samples);
                        let counts = entrant.counted.as_ref().map(counts).unwrap_or_default();
                        outcome.rows.push(Row { counts, ..row });
                        outcome.histograms.extend(entrant.recorded(case, size));
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
    case: Case,
    size: usize,
    entrants: Vec<Entrant>,
}

struct Entrant {
    contender: &'static Contender,
    /// Messages that each sender sends in a round; unused for round trips.
    count: u64,
    samples: Vec<(Sample, Counted)>,
    counted: Option<Counted>,
    failure: Option<String>,
}

/// Error that ends the comparison: a contender hangs.
struct Stuck;

impl Cell<'_> {
    fn calibrate(&mut self, progress: &mut impl FnMut(&str)) -> Result<(), Stuck> {
        let Self { options, case, size, .. } = *self;
        for contender in contenders::ALL.iter().filter(|contender| options.selects(contender, case)) {
            progress(&format!("{case}, {size} bytes: {}", contender.name));
            let mut entrant = Entrant { contender, count: 0, samples: Vec::new(), counted: None, failure: None };
            let mut outcome = Ok(());
            if case != Case::RoundTrip {
                match runner::calibrate(
                    contender,
                    case,
                    |count| case.traffic(size, count),
                    options.budget,
                    options.place,
                ) {
                    Ok(count) => entrant.count = count,
                    Err(failure) => outcome = entrant.fail(failure),
                }
            }
            self.entrants.push(entrant);
            outcome?;
        }
        Ok(())
    }

    fn run(&mut self, random: &mut fastrand::Rng) -> Result<(), Stuck> {
        let timed = How { place: self.options.place, counting: false };
        for _ in 0..self.options.rounds {
            random.shuffle(&mut self.entrants);
            for entrant in self.entrants.iter_mut().filter(|entrant| entrant.failure.is_none()) {
                match entrant.measure(self.case, self.size, self.options.budget, timed) {
                    Ok(sample) => entrant.samples.push(sample),
                    Err(failure) => entrant.fail(failure)?,
                }
            }
        }
        let counting = How { counting: true, ..timed };
        for entrant in self.entrants.iter_mut().filter(|entrant| entrant.failure.is_none() && self.options.counting) {
            match entrant.measure(self.case, self.size, self.options.budget, counting) {
                Ok((_, counted)) => entrant.counted = Some(counted),
                Err(failure) => entrant.fail(failure)?,
            }
        }
        Ok(())
    }
}

impl Entrant {
    fn measure(&self, case: Case, size: usize, budget: Duration, how: How) -> Result<(Sample, Counted), Failure> {
        match case.traffic(size, self.count) {
            None => runner::round_trip(self.contender, Pinger::for_time(size, budget), how),
            Some(traffic) => {
                let (throughput, counted) = runner::traffic(self.contender, case, traffic, how)?;
                Ok((Sample::Traffic(throughput), counted))
            }
        }
    }

    fn fail(&mut self, failure: Failure) -> Result<(), Stuck> {
        self.failure = Some(failure.to_string());
        if matches!(failure, Failure::Hung) { Err(Stuck) } else { Ok(()) }
    }

    fn recorded(&self, case: Case, size: usize) -> Option<Recorded> {
        let mut histograms = self.samples.iter().filter_map(|(sample, _)| match sample {
            Sample::RoundTrip(_, histogram) => Some(histogram),
            Sample::Traffic(_) => None,
        });
        let mut histogram = histograms.next()?.clone();
        for other in histograms {
            histogram.add(other).expect("all histograms have the same bounds");
        }
        Some(Recorded::new(&format!("{case} {size} {}", self.contender.name), histogram))
    }
}

impl Options {
    fn selects(&self, contender: &Contender, case: Case) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|name| name == contender.name);
        let placed = self.place == Place::Threads || contender.has_processes();
        named && placed && contender.cases.contains(&case)
    }
}
