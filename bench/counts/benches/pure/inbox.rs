//! Walk of the inbox: a received chunk is split into envelopes.

use std::hint::black_box;

use cluster_engine::Payload;
use cluster_engine::wire::Frames;
use gungraun::{library_benchmark, library_benchmark_group};

use crate::wire::frames;

// As owned envelopes: short payloads are stored inline, the others are allocated.
#[library_benchmark]
#[bench::messages_500_of_64(frames(500, 64))]
#[bench::messages_500_of_1024(frames(500, 1024))]
fn owned(chunk: Vec<u8>) -> Vec<u8> {
    for frame in Frames::new(black_box(&chunk)) {
        let frame = frame.expect("whole");
        black_box((frame.id, Payload::copy_from_slice(frame.payload)));
    }
    chunk
}

library_benchmark_group!(name = arrivals, benchmarks = [owned]);
