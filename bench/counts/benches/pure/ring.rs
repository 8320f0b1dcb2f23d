//! Byte ring, both ends in one thread.

use std::hint::black_box;

use cluster_engine::ring::{Consumer, Producer};
use gungraun::{library_benchmark, library_benchmark_group};

type Ends = (Producer, Consumer);

fn empty() -> Ends {
    cluster_engine::ring::ring(1 << 18).unwrap()
}

fn filled() -> Ends {
    let (mut producer, consumer) = empty();
    write(&mut producer);
    (producer, consumer)
}

fn write(producer: &mut Producer) {
    for byte in 0..RECORDS {
        let mut claim = producer.claim(RECORD_BYTES).expect("room");
        claim.copy_from_slice(&[byte as u8; RECORD_BYTES]);
        black_box(claim.commit());
    }
}

#[library_benchmark]
#[bench::records_1000_of_80(empty())]
fn push((mut producer, consumer): Ends) -> Ends {
    write(&mut producer);
    (producer, consumer)
}

// In the steps of a link: some records are read, and then they are acknowledged.
#[library_benchmark]
#[bench::records_1000_in_steps_of_800_bytes(filled())]
fn pop((producer, mut consumer): Ends) -> Ends {
    while consumer.released() < consumer.written() {
        let (from, to) = (consumer.released(), consumer.released() + STEP_BYTES);
        black_box(consumer.slices(from, to));
        black_box(consumer.release(to));
    }
    (producer, consumer)
}

library_benchmark_group!(name = records, benchmarks = [push, pop]);

const RECORDS: usize = 1000;
const RECORD_BYTES: usize = 80;
const STEP_BYTES: u64 = 10 * RECORD_BYTES as u64;
