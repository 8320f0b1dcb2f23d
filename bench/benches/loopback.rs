//! All cases with every contender that takes part in them, over loopback TCP.
//!
//! Criterion asks for a number of iterations, and gets the time that the contender's own checks measured: connecting
//! and tearing down do not count.

use std::time::Duration;

use cluster_bench::case::Case;
use cluster_bench::contenders::{self, Contender};
use cluster_bench::measure::Pinger;
use cluster_bench::runner::{self, How, Sample};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn loopback(criterion: &mut Criterion) {
    for case in Case::ALL {
        let named = serde_json::to_value(case).expect("a case has a name");
        let mut group = group(criterion, named.as_str().unwrap_or("case"));
        for &size in case.sizes() {
            for contender in contenders::ALL.iter().filter(|contender| contender.cases.contains(&case)) {
                match case {
                    Case::RoundTrip => round_trip(&mut group, contender, size),
                    _ => traffic(&mut group, contender, case, size),
                }
            }
        }
    }
}

fn round_trip(group: &mut BenchmarkGroup<'_, WallTime>, contender: &Contender, size: usize) {
    group.bench_function(BenchmarkId::new(contender.name, size), |bencher| {
        bencher.iter_custom(|count| {
            let pinger = Pinger::for_count(size, count);
            match runner::round_trip(contender, pinger, How::default()).expect("the contender succeeds").0 {
                Sample::RoundTrip(latencies, _) => latencies.total,
                Sample::Traffic(_) => unreachable!("a round trip is none"),
            }
        });
    });
}

/// Measures traffic. An iteration is a message from each sender to each of its recipients.
fn traffic(group: &mut BenchmarkGroup<'_, WallTime>, contender: &Contender, case: Case, size: usize) {
    let messages = |count| case.traffic(size, count).expect("everything but a round trip is traffic");
    let one = messages(2);
    let arriving: usize = (0..one.servers()).map(|server| one.senders(server).len()).sum();
    group.throughput(Throughput::ElementsAndBytes {
        elements: arriving as u64,
        bytes: arriving as u64 * messages(100).load.total_bytes() / 100,
    });
    group.bench_function(BenchmarkId::new(contender.name, size), |bencher| {
        bencher.iter_custom(|count| {
            // The clock starts at the first message, so that one more is sent.
            let sent = messages(count + 1);
            runner::traffic(contender, case, sent, How::default()).expect("the contender succeeds").0.elapsed
        });
    });
}

/// Returns a group with few samples and little time: this suite is for finding changes, `compare` is for figures.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_millis(800));
    group
}

criterion_group!(benches, loopback);
criterion_main!(benches);
