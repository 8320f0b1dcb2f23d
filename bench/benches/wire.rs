//! Headers, checksums and frames: bytes to values and back.

use std::hint::black_box;

use cluster_engine::stream::{self, Taken};
use cluster_engine::wire::{CHECKSUMMED, Frames, Kind, SEGMENT_HEADER_BYTES, SegmentHeader};
use cluster_engine::{Body, Time};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zerocopy::IntoBytes;

/// Limit of a take, above all bytes that are written here.
const ROOM: u64 = 1 << 40;

/// Measures the encoding of envelopes into a stream, until 64 KiB of payload are written.
fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/encode");
    for size in [64, 1024, 16 * 1024] {
        let (messages, payload) = (SEGMENT / size, vec![7; size]);
        group.throughput(Throughput::ElementsAndBytes { elements: messages as u64, bytes: (messages * size) as u64 });
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let (mut writer, mut reader) = stream::stream(0, 1 << 20, 1 << 20).unwrap();
            reader.restart();
            bencher.iter(|| {
                for id in 0..messages {
                    black_box(writer.push(id as i64, &Body::from(black_box(&payload[..]))).expect("room"));
                }
                let written = reader.written();
                while let Some(Taken::Data(extent)) = reader.take(written, Time::default(), ROOM) {
                    reader.acknowledge(extent.to).expect("it was sent");
                }
            });
        });
    }
}

/// Measures the decoding of the envelopes in a segment.
fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/decode");
    for size in [64, 1024, 16 * 1024] {
        let frames = frames(SEGMENT / size, size);
        group
            .throughput(Throughput::ElementsAndBytes { elements: (SEGMENT / size) as u64, bytes: frames.len() as u64 });
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                for frame in Frames::new(black_box(&frames)) {
                    black_box(frame.expect("whole"));
                }
            });
        });
    }
}

/// Measures CRC-32C over a header and its payload, sealed and verified.
fn checksum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/checksum");
    for size in [0, 64, 1024, SEGMENT] {
        let payload = vec![7; size];
        group.throughput(Throughput::Bytes((SEGMENT_HEADER_BYTES + size) as u64));
        group.bench_function(BenchmarkId::new("seal", size), |bencher| {
            bencher.iter_batched_ref(header, |header| header.seal(&[black_box(&payload)]), BatchSize::SmallInput);
        });
        let mut sealed = header();
        sealed.seal(&[&payload]);
        let segment = [sealed.as_bytes(), &payload].concat();
        group.bench_function(BenchmarkId::new("verify", size), |bencher| {
            bencher.iter(|| {
                let header = SegmentHeader::parse(black_box(&segment)).expect("well-formed").expect("complete");
                header.verify(&segment[SEGMENT_HEADER_BYTES..]).expect("right");
            });
        });
    }
}

fn header() -> SegmentHeader {
    let mut header = SegmentHeader::new(Kind::Data);
    header.stream = 0.into();
    header.flags = CHECKSUMMED.into();
    header
}

/// Returns `count` frames with `length` bytes of payload each.
fn frames(count: usize, length: usize) -> Vec<u8> {
    let (mut writer, mut reader) = stream::stream(0, 1 << 20, 1 << 20).unwrap();
    for id in 0..count {
        writer.push_with(id as i64, length, |payload| payload.fill(id as u8)).expect("room");
    }
    reader.restart();
    let mut bytes = Vec::new();
    let written = reader.written();
    while let Some(Taken::Data(extent)) = reader.take(written, Time::default(), ROOM) {
        bytes.extend(reader.slices(&extent).concat());
    }
    bytes
}

const SEGMENT: usize = 64 * 1024;

criterion_group!(benches, encode, decode, checksum);
criterion_main!(benches);
