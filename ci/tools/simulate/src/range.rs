//! Many seeds: each on one thread, on all cores at once.

use std::ops::Range;
use std::panic;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use cluster_engine::simulation::simulate;

use crate::say;
use crate::summary::Summary;

/// Number of failures after which no more seeds are started: more would tell nothing new.
const MOST_FAILURES: usize = 10;

/// Simulates all seeds and prints the summary.
pub fn run(seeds: Range<u64>, threads: Option<usize>) -> ExitCode {
    let threads = threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1);
    let (next, enough) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let (report, reported) = mpsc::channel();
    let mut summary = Summary::new(Instant::now());
    // Failures are printed below, once; their place in the code is printed when the seed is run alone.
    panic::set_hook(Box::new(|_| {}));
    let all = seeds.end - seeds.start;
    thread::scope(|scope| {
        for _ in 0..threads {
            let (report, next, enough, end) = (report.clone(), &next, &enough, seeds.end);
            scope.spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // The receiver lives as long as this thread.
                    if seed >= end || report.send((seed, simulate(seed, None))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(report);
        for (seed, outcome) in reported {
            if let Some(failure) = &outcome.failure {
                say(format_args!("seed {seed} FAILED: {failure}"));
            }
            summary.add(seed, outcome);
            if summary.seeds().is_multiple_of(1000) && summary.seeds() < all {
                say(format_args!("{} of {all} seeds", summary.seeds()));
            }
            enough.fetch_or(summary.failures() >= MOST_FAILURES, Ordering::Relaxed);
        }
    });
    summary.print(all)
}
