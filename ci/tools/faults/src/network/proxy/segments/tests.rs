use std::time::{Duration, Instant};

use cluster_engine::wire::{GoodbyeReason, Kind, SegmentHeader, encode_goodbye};
use fastrand::Rng;
use zerocopy::IntoBytes;

use super::{Armed, Segments};
use crate::plan::Lie;

fn segment(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut header = SegmentHeader::new(kind);
    header.seal(&[payload]);
    [header.as_bytes(), payload].concat()
}

fn armed(lie: Lie) -> Armed {
    Armed { lie, random: Rng::with_seed(3), until: Instant::now() + Duration::from_secs(60) }
}

fn pass(segments: &mut Segments, bytes: &[u8], chunk: usize) -> (Vec<u8>, Vec<Lie>) {
    let (mut out, mut told) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks(chunk) {
        told.extend(segments.pass(chunk, &mut out).map(|(lie, _)| lie));
    }
    segments.end(&mut out);
    (out, told)
}

#[test]
fn everything_passes_as_it_was_while_nobody_lies() {
    let goodbye = segment(Kind::Goodbye, &encode_goodbye(GoodbyeReason::Stopped));
    let bytes = [segment(Kind::Heartbeat, &[]), goodbye, b"no segment at all, and much longer than a header".to_vec()];
    let bytes = bytes.concat();
    for chunk in [1, 7, 48, 1000] {
        assert_eq!(pass(&mut Segments::default(), &bytes, chunk), (bytes.clone(), vec![]));
        // No segment suits this lie; the bytes held back come at the end.
        let mut segments = Segments::default();
        segments.arm(armed(Lie::Position));
        assert_eq!(pass(&mut segments, &bytes, chunk), (bytes.clone(), vec![]));
    }
}

#[test]
fn a_lie_is_told_once_wherever_the_bytes_are_cut() {
    let heartbeat = segment(Kind::Heartbeat, &[]);
    let bytes = [heartbeat.clone(), heartbeat.clone(), heartbeat.clone()].concat();
    for chunk in [1, 47, 49, 1000] {
        let mut segments = Segments::default();
        // Armed in the middle of a segment: the lie is told in the next one.
        let mut out = Vec::new();
        assert!(segments.pass(&bytes[..20], &mut out).is_none());
        segments.arm(armed(Lie::Goodbye));
        let (rest, told) = pass(&mut segments, &bytes[20..], chunk);
        out.extend(rest);
        assert_eq!(told, [Lie::Goodbye]);
        assert_eq!(out.len(), bytes.len() + 56);
        assert_eq!(out[96..99], SegmentHeader::new(Kind::Goodbye).as_bytes()[..3]);
        assert_eq!(out[99], Kind::Goodbye as u8);
    }
}

#[test]
fn a_lie_has_its_time() {
    let mut segments = Segments::default();
    segments.arm(Armed { until: Instant::now(), ..armed(Lie::Goodbye) });
    let heartbeat = segment(Kind::Heartbeat, &[]);
    assert_eq!(pass(&mut segments, &heartbeat, 1000), (heartbeat, vec![]));
}
