//! Byte ring: both ends in one thread, and from one thread to another.

use std::hint::{black_box, spin_loop};
use std::thread;
use std::time::Instant;

use cluster_engine::ring::{self, Consumer, Producer};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Measures records that are written, read in place, and released: as many as fill a quarter of the ring.
fn push_and_pop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring/one thread");
    for size in SIZES {
        let records = CAPACITY / 4 / size;
        group.throughput(Throughput::ElementsAndBytes { elements: records as u64, bytes: (records * size) as u64 });
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let (mut producer, mut consumer) = ring::ring(CAPACITY).unwrap();
            let record = vec![7; size];
            bencher.iter(|| {
                for _ in 0..records {
                    let mut claim = producer.claim(size).expect("room");
                    claim.copy_from_slice(&record);
                    black_box(claim.commit());
                }
                read(&mut consumer);
            });
        });
    }
}

/// Measures records that are written by one thread while another one spins on the other end.
fn across_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring/two threads");
    for size in SIZES {
        group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes: size as u64 });
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_custom(|records| {
                let (mut producer, mut consumer) = ring::ring(CAPACITY).unwrap();
                let begin = Instant::now();
                thread::scope(|scope| {
                    scope.spawn(move || write(&mut producer, size, records));
                    while consumer.released() < records * size as u64 {
                        read(&mut consumer);
                        spin_loop();
                    }
                });
                begin.elapsed()
            });
        });
    }
}

fn write(producer: &mut Producer, size: usize, records: u64) {
    let record = vec![7; size];
    for _ in 0..records {
        loop {
            if let Some(mut claim) = producer.claim(size) {
                claim.copy_from_slice(&record);
                black_box(claim.commit());
                break;
            }
            spin_loop();
        }
    }
}

fn read(consumer: &mut Consumer) {
    let (from, to) = (consumer.released(), consumer.written());
    if from < to {
        black_box(consumer.slices(from, to).concat());
        black_box(consumer.release(to));
    }
}

/// Bytes in a record, its header included.
const SIZES: [usize; 4] = [16, 80, 1040, 16 * 1024];
const CAPACITY: usize = 1 << 18;

criterion_group!(benches, push_and_pop, across_threads);
criterion_main!(benches);
