//! Tests of every error of every decoder, with the bytes that cause it.

use super::super::*;
use super::{header, hex, next_segment, segment};

/// Returns a heartbeat with one byte replaced.
fn altered(offset: usize, byte: u8) -> Vec<u8> {
    let mut bytes = heartbeat();
    bytes[offset] = byte;
    bytes
}

fn heartbeat() -> Vec<u8> {
    segment(header(Kind::Heartbeat, |_| ()), &[])
}

#[test]
fn segments() {
    let too_long = MAX_SEGMENT_PAYLOAD as u32 + 8;
    let with_length = |length: u32| {
        let mut bytes = heartbeat();
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes
    };
    let cases = [
        (
            altered(0, 0x44),
            SegmentError::Magic(0x4C44),
            "not this protocol: a segment begins with 0x4c43, found 0x4c44",
        ),
        (
            altered(1, 0x00),
            SegmentError::Magic(0x0043),
            "not this protocol: a segment begins with 0x4c43, found 0x0043",
        ),
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            SegmentError::Magic(0x4547),
            "not this protocol: a segment begins with 0x4c43, found 0x4547",
        ),
        (altered(2, 0), SegmentError::Version(0), "protocol version 0, this side speaks 2"),
        (altered(2, 1), SegmentError::Version(1), "protocol version 1, this side speaks 2"),
        (altered(3, 0), SegmentError::Kind(0), "unknown segment kind 0"),
        (altered(3, 11), SegmentError::Kind(11), "unknown segment kind 11"),
        (altered(3, 255), SegmentError::Kind(255), "unknown segment kind 255"),
        (with_length(1), SegmentError::Length(1), "segment length 1 is above 66560 or not a multiple of 8"),
        (
            with_length(too_long),
            SegmentError::Length(too_long),
            "segment length 66568 is above 66560 or not a multiple of 8",
        ),
        (
            with_length(u32::MAX),
            SegmentError::Length(u32::MAX),
            "segment length 4294967295 is above 66560 or not a multiple of 8",
        ),
        (altered(44, 0x20), SegmentError::Flags(0x20), "unknown segment flags 0x0020"),
        (altered(45, 0x80), SegmentError::Flags(0x8001), "unknown segment flags 0x8001"),
        (
            altered(12, 0xA5),
            SegmentError::Checksum,
            "segment checksum does not match: the bytes were altered on their way",
        ),
        (
            altered(16, 1),
            SegmentError::Checksum,
            "segment checksum does not match: the bytes were altered on their way",
        ),
        (
            altered(46, 1),
            SegmentError::Checksum,
            "segment checksum does not match: the bytes were altered on their way",
        ),
    ];
    for (bytes, error, text) in cases {
        assert_eq!(next_segment(&bytes), Err(error), "{bytes:02x?}");
        assert_eq!(error.to_string(), text);
    }
}

/// Checks that fields with the same place in every version are judged before a whole header of this version has come.
#[test]
fn four_bytes_are_enough_to_tell_a_stranger() {
    let cases = [
        ("47455420", SegmentError::Magic(0x4547)),
        ("434c0103", SegmentError::Version(1)),
        ("434c020b", SegmentError::Kind(11)),
        // The version is reported first, because another version may define other kinds.
        ("434c03ff", SegmentError::Version(3)),
    ];
    for (digits, error) in cases {
        let bytes = hex(digits);
        assert_eq!(SegmentHeader::parse(&bytes), Err(error), "{digits}");
        for shorter in 0..bytes.len() {
            assert_eq!(SegmentHeader::parse(&bytes[..shorter]), Ok(None), "{digits}, {shorter} bytes");
        }
    }
}

#[test]
fn a_part_of_a_segment_is_no_error() {
    let bytes = segment(header(Kind::Goodbye, |_| ()), &[1; 8]);
    for shorter in 0..bytes.len() {
        assert_eq!(next_segment(&bytes[..shorter]), Ok(None), "{shorter} bytes");
    }
    assert!(next_segment(&bytes).unwrap().is_some());
}

#[test]
fn the_longest_segment_is_allowed() {
    let payload = vec![7; MAX_SEGMENT_PAYLOAD];
    let bytes = segment(header(Kind::Data, |h| h.stream = 0.into()), &payload);
    let (header, found) = next_segment(&bytes).unwrap().unwrap();
    assert_eq!((header.length.get(), found.len()), (66_560, 66_560));
}

#[test]
fn frames() {
    let truncated = |needed, found| FrameError::Truncated { needed, found };
    // Length, flags, reserved, id: 16 bytes; then the rest.
    let cases = [
        ("00", truncated(16, 1), "a frame of 16 bytes stands in 1 bytes of segment"),
        ("00000000 0000 0000 00000000000000", truncated(16, 15), "a frame of 16 bytes stands in 15 bytes of segment"),
        ("01000000 0000 0000 0000000000000000", truncated(24, 16), "a frame of 24 bytes stands in 16 bytes of segment"),
        // The payload is complete, its padding is missing.
        (
            "01000000 0000 0000 0000000000000000 61",
            truncated(24, 17),
            "a frame of 24 bytes stands in 17 bytes of segment",
        ),
        (
            "01000000 0000 0000 0000000000000000 61000000000000",
            truncated(24, 23),
            "a frame of 24 bytes stands in 23 bytes of segment",
        ),
        (
            "09000000 0000 0000 0000000000000000 6161616161616161",
            truncated(32, 24),
            "a frame of 32 bytes stands in 24 bytes of segment",
        ),
        (
            "ffffffff 0000 0000 0000000000000000",
            truncated(4_294_967_312, 16),
            "a frame of 4294967312 bytes stands in 16 bytes of segment",
        ),
        ("00000000 0100 0000 0000000000000000", FrameError::Flags(1), "unknown frame flags 0x0001"),
        ("00000000 0080 0000 0000000000000000", FrameError::Flags(0x8000), "unknown frame flags 0x8000"),
        // Flags are checked before the length, because unknown flags may change its meaning.
        ("ffffffff 0080 0000 0000000000000000", FrameError::Flags(0x8000), "unknown frame flags 0x8000"),
    ];
    for (digits, error, text) in cases {
        let bytes = hex(digits);
        let mut frames = Frames::new(&bytes);
        assert_eq!(frames.remaining(), bytes.len());
        assert_eq!(frames.next(), Some(Err(error)), "{digits}");
        assert_eq!((frames.next(), frames.remaining()), (None, 0), "{digits}: an error is the last thing");
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(Frames::new(&[]).next(), None, "no bytes are no frames");
}

#[test]
fn a_good_frame_before_a_bad_one_is_yielded() {
    let bytes = hex("00000000 0000 0000 0500000000000000 0000000000000000");
    let mut frames = Frames::new(&bytes);
    assert_eq!(frames.next(), Some(Ok(Frame { id: 5, payload: &[] })));
    assert_eq!(frames.remaining(), 8);
    assert_eq!(frames.next(), Some(Err(FrameError::Truncated { needed: 16, found: 8 })));
    assert_eq!(frames.next(), None);
}

#[test]
fn padding_rounds_up_to_eight() {
    let cases = [(0, 0), (1, 8), (7, 8), (8, 8), (9, 16), (65_520, 65_520), (u32::MAX as usize, 1 << 32)];
    for (length, expected) in cases {
        assert_eq!((padded(length), frame_bytes(length)), (expected, expected + 16), "{length}");
    }
}

#[test]
fn greetings() {
    let hello = greeting();
    let bytes = hello.encode();
    let with = |offset: usize, value: u16| {
        let mut bytes = bytes.clone();
        bytes[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let with_name = |name: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[96..96 + name.len()].copy_from_slice(name);
        bytes
    };
    let (name_bytes, sending, receiving) = (84, 86, 88);
    let cases = [
        (with(name_bytes, 65), HelloError::Name, "the cluster name is not UTF-8 of at most 64 bytes"),
        (with(name_bytes, u16::MAX), HelloError::Name, "the cluster name is not UTF-8 of at most 64 bytes"),
        (with_name(&[0xFF]), HelloError::Name, "the cluster name is not UTF-8 of at most 64 bytes"),
        (
            with_name("four\u{e9}".as_bytes().split_last().unwrap().1),
            HelloError::Name,
            "the cluster name is not UTF-8 of at most 64 bytes",
        ),
        (with(sending, 1025), HelloError::Streams(1025), "1025 streams, at most 1024 are possible"),
        (with(receiving, u16::MAX), HelloError::Streams(65_535), "65535 streams, at most 1024 are possible"),
        (with(name_bytes, 64), HelloError::Truncated, "the greeting is not as long as its counts say"),
        (with(name_bytes, 0), HelloError::Truncated, "the greeting is not as long as its counts say"),
        (with(sending, 1024), HelloError::Truncated, "the greeting is not as long as its counts say"),
        (with(sending, 0), HelloError::Truncated, "the greeting is not as long as its counts say"),
        (with(receiving, 1024), HelloError::Truncated, "the greeting is not as long as its counts say"),
        (with(receiving, 0), HelloError::Truncated, "the greeting is not as long as its counts say"),
        ([&bytes[..], &[0; 8]].concat(), HelloError::Truncated, "the greeting is not as long as its counts say"),
    ];
    for (bytes, error, text) in cases {
        assert_eq!(Hello::decode(&bytes), Err(error));
        assert_eq!(error.to_string(), text);
    }
    for shorter in 0..bytes.len() {
        assert_eq!(Hello::decode(&bytes[..shorter]), Err(HelloError::Truncated), "{shorter} bytes");
    }
}

#[test]
fn the_longest_greeting_fits_into_a_segment() {
    let hello = Hello {
        cluster: "é".repeat(MAX_CLUSTER_NAME_BYTES / 2),
        sending: vec![Sending::new(1, u64::MAX); MAX_STREAMS],
        receiving: vec![Receiving::new(2, u64::MAX); MAX_STREAMS],
        ..greeting()
    };
    let bytes = hello.encode();
    assert_eq!(bytes.len(), 96 + 64 + 1024 * 16 + 1024 * 16);
    assert!(bytes.len() <= MAX_SEGMENT_PAYLOAD);
    assert_eq!(Hello::decode(&bytes), Ok(hello));
}

#[test]
fn refusals() {
    let cases = [
        "",
        "0000000000000000 0100000000000000",
        "0900000000000000 0100000000000000",
        "ffffffffffffffff 0100000000000000",
        // The reason has eight bytes, and all of them count.
        "0100000001000000 0100000000000000",
        "0100000000000000 01000000000000",
        "0100000000000000",
        "0100000000000000 0100000000000000 0000000000000000",
    ];
    for digits in cases {
        assert_eq!(Refusal::decode(&hex(digits)), None, "{digits}");
    }
}

#[test]
fn goodbyes() {
    let cases =
        ["", "01", "0000000000000000", "0400000000000000", "0100000000000001", "01000000000000", "0100000000000000 00"];
    for digits in cases {
        assert_eq!(decode_goodbye(&hex(digits)), None, "{digits}");
    }
}

#[test]
fn grants() {
    for length in (0..=72).filter(|length| length % 24 != 0) {
        assert_eq!(decode_grants(&vec![0; length]), None, "{length} bytes");
    }
}

fn greeting() -> Hello {
    Hello {
        from: 1,
        to: 2,
        incarnation: [3; INCARNATION_BYTES],
        known_incarnation: [0; INCARNATION_BYTES],
        max_envelope_bytes: 4,
        credit: [5; Lane::COUNT],
        challenge: 14,
        peer_timeout_ms: 6,
        greeting: 12,
        features: 0,
        cluster: "alpha".to_owned(),
        sending: vec![Sending::new(7, 8)],
        receiving: vec![Receiving::new(9, 10)],
    }
}

/// Checks the texts of refusals, which reach a person who must act on them.
#[test]
fn each_refusal_says_what_to_do() {
    for code in 1..=8u64 {
        let payload = [code.to_le_bytes(), 7u64.to_le_bytes()].concat();
        let text = Refusal::decode(&payload).unwrap().reason.to_string();
        let (cause, cure) = text.split_once(": ").unwrap_or_else(|| panic!("{text}"));
        assert!(!cause.is_empty() && cure.len() > 5 && !cure.ends_with('?'), "{text}");
    }
    assert_eq!(Refusal::decode(&[9, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]), None, "one that this test misses");
}
