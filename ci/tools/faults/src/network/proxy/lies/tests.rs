use cluster_engine::wire::{
    ACK_NOW, CHECKSUMMED, FIRST, FRAGMENT, FrameHeader, Grant, Hello, Kind, LAST, Lane, Receiving, SegmentHeader,
    Sending, encode_challenge, encode_grants, padded,
};
use fastrand::Rng;
use zerocopy::IntoBytes;

use super::{crc32c, tell};
use crate::payload::{self, Header, Stream};
use crate::plan::Lie;

fn segment(kind: Kind, set: impl FnOnce(&mut SegmentHeader), payload: &[u8]) -> Vec<u8> {
    let mut header = SegmentHeader::new(kind);
    header.flags = CHECKSUMMED.into();
    set(&mut header);
    header.seal(&[payload]);
    [header.as_bytes(), payload].concat()
}

/// Returns the messages 1 to 3 as frames.
fn frames() -> Vec<u8> {
    let mut bytes = Vec::new();
    for sequence in 1..=3 {
        let mut message = Vec::new();
        payload::write(&Header { pid: 1, run: 2, stream: Stream::Normal, sequence, sent_at: 9 }, 43, &mut message);
        bytes.extend_from_slice(FrameHeader::new(43, sequence as i64).as_bytes());
        message.resize(padded(message.len()), 0);
        bytes.extend(message);
    }
    bytes
}

fn on_stream(header: &mut SegmentHeader) {
    (header.stream, header.position) = (4.into(), 80.into());
    (header.ack_stream, header.ack_position) = (2.into(), 160.into());
}

/// Returns a segment of every sort.
fn segments() -> Vec<Vec<u8>> {
    let greeting = Hello {
        from: 1,
        to: 2,
        incarnation: [7; 16],
        known_incarnation: [8; 16],
        max_envelope_bytes: 1 << 27,
        credit: [1 << 22; 2],
        challenge: 5,
        peer_timeout_ms: 1250,
        features: 0,
        greeting: 3,
        cluster: "faults".to_owned(),
        sending: vec![Sending::new(0, 80)],
        receiving: vec![Receiving::new(2, 160)],
    };
    let fragment = |flags: u16| {
        move |header: &mut SegmentHeader| {
            on_stream(header);
            header.flags = (CHECKSUMMED | FRAGMENT | flags).into();
        }
    };
    let first = [FrameHeader::new(100_000, 1).as_bytes(), &[1; 64]].concat();
    vec![
        segment(Kind::Hello, |_| (), &greeting.encode()),
        segment(Kind::Welcome, |_| (), &greeting.encode()),
        segment(Kind::Confirm, |_| (), &encode_challenge(5)),
        segment(Kind::Data, on_stream, &frames()),
        segment(Kind::Data, fragment(FIRST), &first),
        segment(Kind::Data, fragment(LAST | ACK_NOW), &[1; 64]),
        segment(Kind::Ack, |_| (), &encode_grants(&[Grant::new(2, Lane::Normal, 160, 1 << 20)])),
        segment(Kind::Heartbeat, |_| (), &[]),
    ]
}

#[test]
fn each_lie_is_told_somewhere_and_seems_to_be_true() {
    for lie in Lie::ALL {
        let mut told = 0;
        for seed in 0..200 {
            let mut random = Rng::with_seed(seed);
            for segment in segments() {
                let Some(lied) = tell(lie, &segment, &mut random) else { continue };
                told += 1;
                assert_ne!(lied.bytes, segment, "{lie:?}");
                // An added segment comes behind the original one.
                let changed = lied.bytes.strip_prefix(&segment[..]).unwrap_or(&lied.bytes);
                match SegmentHeader::parse(changed) {
                    Ok(Some(header)) => {
                        let header = *header;
                        assert_eq!(header.verify(&changed[48..header.segment_bytes()]), Ok(()), "{lie:?}");
                        assert_eq!(changed.len(), header.segment_bytes(), "{lie:?}");
                    }
                    other => assert!(
                        matches!(lie, Lie::SegmentKind | Lie::SegmentFlag | Lie::Version | Lie::Length),
                        "{lie:?}: {other:?}"
                    ),
                }
            }
        }
        assert!(told > 0, "{lie:?}");
    }
}

#[test]
fn what_stands_behind_a_broken_frame_is_known() {
    let data = segment(Kind::Data, on_stream, &frames());
    let mut counts = [0; 4];
    for seed in 0..100 {
        let lied = tell(Lie::Frame, &data, &mut Rng::with_seed(seed)).unwrap();
        let lost: Vec<u64> = lied.lost.iter().map(|lost| lost.sequence).collect();
        assert_eq!(lost, (4 - lost.len() as u64..=3).collect::<Vec<u64>>());
        assert_eq!(lied.lost_bytes, 64 * lost.len() as u64);
        assert!(lied.lost.iter().all(|lost| (lost.pid, lost.run, lost.stream) == (1, 2, Stream::Normal.code())));
        counts[lost.len()] += 1;
    }
    assert!(counts[0] == 0 && counts[1..].iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn the_checksum_is_castagnoli() {
    assert_eq!(crc32c(b"123456789".iter()), 0xE306_9283);
}
