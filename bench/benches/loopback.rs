//! Round trips and one-way traffic of every contender, over loopback TCP.
//!
//! Criterion asks for a number of iterations and is told how long they took, as the contender's own
//! checks measured it: connecting and tearing down does not count.

use std::time::Duration;

use cluster_bench::contenders::{self, Run};
use cluster_bench::measure::{Load, Pinger};
use cluster_bench::runner;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn round_trip(criterion: &mut Criterion) {
    let mut group = group(criterion, "round_trip");
    for size in SIZES {
        for contender in contenders::ALL {
            let Run::RoundTrip(run) = contender.run else {
                continue;
            };
            group.bench_function(BenchmarkId::new(contender.name, size), |bencher| {
                bencher.iter_custom(|count| {
                    let pinger = Pinger::for_count(size, count);
                    runner::round_trip(run, pinger).expect("the contender succeeds").total
                });
            });
        }
    }
}

fn one_way(criterion: &mut Criterion) {
    let mut group = group(criterion, "one_way");
    for size in SIZES {
        group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes: size as u64 });
        for contender in contenders::ALL {
            let Run::OneWay(run) = contender.run else {
                continue;
            };
            group.bench_function(BenchmarkId::new(contender.name, size), |bencher| {
                bencher.iter_custom(|count| {
                    // The clock runs from the first message, so that one more is sent.
                    let load = Load::new(size, count + 1);
                    runner::one_way(run, load).expect("the contender succeeds").elapsed
                });
            });
        }
    }
}

/// Few samples and little time: the suite is for finding a change, `compare` is for figures.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_millis(800));
    group
}

criterion_group!(loopback, round_trip, one_way);
criterion_main!(loopback);

const SIZES: [usize; 3] = [64, 1024, 64 << 10];
