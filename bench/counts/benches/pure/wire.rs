//! Headers, checksums and frames.

use std::hint::black_box;

use cluster_engine::Time;
use cluster_engine::stream::Taken;
use cluster_engine::wire::{
    CHECKSUMMED, Frames, Grant, Kind, SEGMENT_HEADER_BYTES, SegmentHeader, decode_grants, encode_grants, lane_of,
};
use gungraun::{library_benchmark, library_benchmark_group};
use zerocopy::IntoBytes;

/// Returns the header of a data segment, not sealed, and the payload that its checksum covers.
pub fn segment(payload: Vec<u8>) -> (SegmentHeader, Vec<u8>) {
    let mut header = SegmentHeader::new(Kind::Data);
    header.stream = 0.into();
    header.flags = CHECKSUMMED.into();
    // The first checksum of a process detects the features of the processor.
    header.clone().seal(&[]);
    (header, payload)
}

/// Returns a sealed segment as its receiver gets it.
fn received(payload: Vec<u8>) -> Vec<u8> {
    let (mut header, payload) = segment(payload);
    header.seal(&[&payload]);
    [header.as_bytes(), &payload].concat()
}

/// Returns `count` frames with `length` bytes of payload each.
pub fn frames(count: usize, length: usize) -> Vec<u8> {
    let (mut writer, mut reader) = cluster_engine::stream::stream(0, 1 << 20, 1 << 20).unwrap();
    for id in 0..count {
        writer.push_with(id as i64, length, |payload| payload.fill(id as u8)).expect("room");
    }
    let written = reader.written();
    reader.restart();
    let extents = std::iter::from_fn(|| match reader.take(written, Time::default(), ROOM) {
        Some(Taken::Data(extent)) => Some(extent),
        _ => None,
    });
    let extents = extents.collect::<Vec<_>>();
    extents.iter().flat_map(|extent| reader.slices(extent).concat()).collect()
}

fn grants() -> Vec<Grant> {
    (0..16).map(|stream| Grant::new(stream, lane_of(stream), 1 << 20, 1 << 21)).collect()
}

#[library_benchmark]
#[bench::header_alone(segment(Vec::new()))]
#[bench::bytes_80(segment(frames(1, 64)))]
#[bench::bytes_65536(segment(vec![7; 65536]))]
fn seal((mut header, payload): (SegmentHeader, Vec<u8>)) -> (SegmentHeader, Vec<u8>) {
    header.seal(&[black_box(&payload)]);
    (header, payload)
}

#[library_benchmark]
#[bench::header_alone(received(Vec::new()))]
#[bench::bytes_80(received(frames(1, 64)))]
#[bench::bytes_65536(received(vec![7; 65536]))]
fn parse_and_verify(segment: Vec<u8>) -> (bool, Vec<u8>) {
    let header = SegmentHeader::parse(black_box(&segment)).expect("well-formed").expect("complete");
    let right = header.verify(&segment[SEGMENT_HEADER_BYTES..]).is_ok();
    assert!(right);
    (right, segment)
}

#[library_benchmark]
#[bench::frames_500_of_64(frames(500, 64))]
fn decode(frames: Vec<u8>) -> (usize, Vec<u8>) {
    let mut bytes = 0;
    for frame in Frames::new(black_box(&frames)) {
        bytes += black_box(frame.expect("whole")).payload.len();
    }
    (bytes, frames)
}

#[library_benchmark]
#[bench::of_16_streams(grants())]
fn acknowledgements(grants: Vec<Grant>) -> (Vec<u8>, Vec<Grant>) {
    let bytes = encode_grants(black_box(&grants));
    let decoded = decode_grants(black_box(&bytes)).expect("well-formed").len();
    assert_eq!(decoded, grants.len());
    (bytes, grants)
}

library_benchmark_group!(name = segments, benchmarks = [seal, parse_and_verify, decode, acknowledgements]);

/// Limit of a take, above all bytes that are written here.
const ROOM: u64 = 1 << 40;
