//! Golden vectors: the bytes that `WIRE.md` specifies, none of them produced by the code under test.

use zerocopy::{FromBytes, IntoBytes};

use super::super::*;
use super::{crc32c_bitwise, header, hex, next_segment, segment};

#[test]
fn bitwise_checksum_is_crc32c() {
    // The check value of the CRC catalogues, and the example of RFC 3720, B.4.
    assert_eq!(crc32c_bitwise(b"123456789"), 0xE306_9283);
    assert_eq!(crc32c_bitwise(&[0; 32]), 0x8A91_36AA);
}

#[test]
fn stored_checksums_are_those_of_the_definition() {
    for (name, digits) in VECTORS {
        let bytes = hex(digits);
        let mut covered = [&bytes[..12], &bytes[16..48]].concat();
        if bytes[44] & 1 == 1 {
            covered.extend_from_slice(&bytes[48..]);
        }
        assert_eq!(bytes[12..16], crc32c_bitwise(&covered).to_le_bytes(), "{name}");
    }
}

#[test]
fn every_vector_decodes_and_encodes_to_itself() {
    for (name, digits) in VECTORS {
        let bytes = hex(digits);
        let (header, payload) = next_segment(&bytes).expect(name).expect(name);
        assert_eq!(header.segment_bytes(), bytes.len(), "{name}");
        assert_eq!(header.version(), 2, "{name}");
        assert_eq!(segment(header, payload), bytes, "{name}");
    }
}

/// Checks that the examples in `WIRE.md` are these vectors, byte for byte.
#[test]
#[cfg_attr(miri, ignore = "nothing but text is handled here")]
fn examples_in_the_document_are_vectors() {
    let document = include_str!("../../../../WIRE.md");
    let mut found = Vec::new();
    for block in document.split("```hex\n").skip(1) {
        let digits = block.split("```").next().unwrap_or_default();
        let vector = VECTORS.iter().find(|(_, vector)| hex(vector) == hex(digits));
        let (name, _) = vector.unwrap_or_else(|| panic!("not a vector:\n{digits}"));
        found.push(*name);
    }
    assert_eq!(found, VECTORS.map(|(name, _)| name), "the document shows each vector once, in this order");
}

#[test]
fn hello() {
    let expected = Hello {
        from: 100,
        to: 200,
        incarnation: std::array::from_fn(|i| 0x10 + i as u8),
        known_incarnation: std::array::from_fn(|i| 0x20 + i as u8),
        max_envelope_bytes: 64 << 20,
        credit: [3 << 18, 1 << 18],
        challenge: 0,
        peer_timeout_ms: 1500,
        greeting: 5,
        features: 0,
        cluster: "alpha".to_owned(),
        sending: vec![Sending::new(0, 64), Sending::new(3, 0x1122_3344_5566_7788)],
        receiving: vec![Receiving::new(2, 128)],
    };
    let bytes = segment(header(Kind::Hello, |_| ()), &expected.encode());
    assert_eq!(bytes, hex(HELLO));
    assert_eq!(Hello::decode(&bytes[48..]), Ok(expected));
}

#[test]
fn welcome() {
    let expected = Hello {
        from: 200,
        to: 100,
        incarnation: std::array::from_fn(|i| 0x20 + i as u8),
        known_incarnation: std::array::from_fn(|i| 0x10 + i as u8),
        max_envelope_bytes: 1 << 20,
        credit: [48 << 10, 16 << 10],
        challenge: 0x0102_0304_0506_0708,
        peer_timeout_ms: 2000,
        greeting: 5,
        features: 0,
        cluster: "clusters".to_owned(),
        sending: vec![Sending::new(2, 96)],
        receiving: vec![Receiving::new(0, 64), Receiving::new(3, 0x1122_3344_5566_7788)],
    };
    let bytes = segment(header(Kind::Welcome, |_| ()), &expected.encode());
    assert_eq!(bytes, hex(WELCOME));
    assert_eq!(Hello::decode(&bytes[48..]), Ok(expected));
}

#[test]
fn refuse() {
    let expected = Refusal { reason: RefusalReason::Tie, from: 200 };
    let bytes = segment(header(Kind::Refuse, |_| ()), &expected.encode());
    assert_eq!(bytes, hex(REFUSE));
    assert_eq!(Refusal::decode(&bytes[48..]), Some(expected));
}

#[test]
fn refusal_codes() {
    let codes = [
        (1, RefusalReason::WrongCluster),
        (2, RefusalReason::WrongPid),
        (3, RefusalReason::UnknownPeer),
        (4, RefusalReason::Version),
        (5, RefusalReason::AlreadyConnected),
        (6, RefusalReason::Tie),
        (7, RefusalReason::Malformed),
        (8, RefusalReason::Stopping),
    ];
    for (code, reason) in codes {
        let payload = [code, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let refusal = Refusal { reason, from: 0x0807_0605_0403_0201 };
        assert_eq!(refusal.encode(), payload);
        assert_eq!(Refusal::decode(&payload), Some(refusal));
        assert!(reason.to_string().len() > 10, "{reason:?} is explained");
    }
}

#[test]
fn data_of_two_frames() {
    let mut payload = Vec::new();
    for (id, body) in [(7, &b"hello"[..]), (-2, b"12345678")] {
        payload.extend_from_slice(FrameHeader::new(body.len() as u32, id).as_bytes());
        payload.extend_from_slice(body);
        payload.resize(payload.len().next_multiple_of(8), 0);
    }
    assert_eq!(payload.len(), frame_bytes(5) + frame_bytes(8));
    let data = header(Kind::Data, |h| {
        h.stream = 2.into();
        h.position = 0x40.into();
        h.ack_stream = 1.into();
        h.ack_position = 0x100.into();
        h.ack_credit = 0x10100.into();
        h.flags = (CHECKSUMMED | ACK_NOW).into();
    });
    let bytes = segment(data, &payload);
    assert_eq!(bytes, hex(DATA));
    let mut header_only = data;
    header_only.flags = 0.into();
    assert_eq!(segment(header_only, &payload), hex(DATA_HEADER_ONLY));

    let frames: Vec<_> = Frames::new(&bytes[48..]).map(|frame| frame.map(|frame| (frame.id, frame.payload))).collect();
    assert_eq!(frames, [Ok((7, &b"hello"[..])), Ok((-2, &b"12345678"[..]))]);
}

/// Checks that the checksum does not depend on how the payload is cut, for instance where a ring wraps around.
#[test]
fn seal_of_parts_is_seal_of_the_whole() {
    let bytes = hex(DATA);
    let (header, payload) = next_segment(&bytes).unwrap().unwrap();
    for cut in 0..=payload.len() {
        let mut sealed = header;
        sealed.seal(&[&payload[..cut], &payload[cut..]]);
        assert_eq!(sealed, header, "cut at {cut}");
    }
}

/// Checks that without CHECKSUMMED a changed payload is accepted and a changed header is not.
#[test]
fn header_only_checksum_leaves_the_payload_alone() {
    let mut bytes = hex(DATA_HEADER_ONLY);
    bytes[90] ^= 1;
    assert!(next_segment(&bytes).unwrap().is_some());
    bytes[16] ^= 1;
    assert_eq!(next_segment(&bytes), Err(SegmentError::Checksum));
}

#[test]
fn fragments() {
    let at = |position: u64, flags: u16| {
        header(Kind::Data, |h| {
            h.stream = 2.into();
            h.position = position.into();
            h.flags = (CHECKSUMMED | FRAGMENT | flags).into();
        })
    };
    let first = [FrameHeader::new(70_001, 9).as_bytes(), b"firstpar"].concat();
    let end = 0x80 + frame_bytes(70_001) as u64;
    assert_eq!(segment(at(0x80, FIRST), &first), hex(FRAGMENT_FIRST));
    assert_eq!(segment(at(0x98, 0), b"middle.."), hex(FRAGMENT_MIDDLE));
    assert_eq!(segment(at(end - 8, LAST), b"z\0\0\0\0\0\0\0"), hex(FRAGMENT_LAST));

    let bytes = hex(FRAGMENT_FIRST);
    let (header, payload) = next_segment(&bytes).unwrap().unwrap();
    assert!(header.has(FRAGMENT) && header.has(FIRST) && !header.has(LAST) && !header.has(ACK_NOW));
    let (frame, rest) = FrameHeader::ref_from_prefix(payload).unwrap();
    assert_eq!((frame.length.get(), frame.id.get(), rest), (70_001, 9, &b"firstpar"[..]));
}

#[test]
fn ack() {
    let grants = [Grant::new(0, Lane::Normal, 0x48, 0x10048), Grant::new(3, Lane::Urgent, 0x1000, 0x11000)];
    let bytes = segment(header(Kind::Ack, |_| ()), &encode_grants(&grants));
    assert_eq!(bytes, hex(ACK));
    assert_eq!(decode_grants(&bytes[48..]), Some(&grants[..]));
    assert_eq!(decode_grants(&[]), Some(&[][..]));
}

#[test]
fn heartbeat() {
    let header = header(Kind::Heartbeat, |h| {
        h.ack_stream = 5.into();
        h.ack_position = 0x88.into();
        h.ack_credit = 0x8000.into();
    });
    assert_eq!(segment(header, &[]), hex(HEARTBEAT));
    assert_eq!(header.segment_bytes(), SEGMENT_HEADER_BYTES);
}

#[test]
fn goodbye() {
    let header = header(Kind::Goodbye, |_| ());
    assert_eq!(segment(header, &encode_goodbye(GoodbyeReason::Stopped)), hex(GOODBYE));
    let codes = [(1, GoodbyeReason::Stopped), (2, GoodbyeReason::Removed), (3, GoodbyeReason::Violation)];
    for (code, reason) in codes {
        assert_eq!(encode_goodbye(reason), [code, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode_goodbye(&[code, 0, 0, 0, 0, 0, 0, 0]), Some(reason));
    }
}

#[test]
fn end() {
    let header = header(Kind::End, |h| {
        h.stream = 4.into();
        h.position = 0x2000.into();
    });
    assert_eq!(segment(header, &[]), hex(END));
}

#[test]
fn skip() {
    let header = header(Kind::Skip, |h| {
        h.stream = 4.into();
        h.position = 0x2000.into();
    });
    let bytes = segment(header, &encode_skip(0x2040));
    assert_eq!(bytes, hex(SKIP));
    assert_eq!(decode_skip(&bytes[48..]), Some(0x2040));
    for nonsense in [0x2041, LARGEST_POSITION + 8, u64::MAX] {
        assert_eq!(decode_skip(&encode_skip(nonsense)), None);
    }
}

#[test]
fn confirm() {
    let bytes = segment(header(Kind::Confirm, |_| ()), &encode_challenge(0x0102_0304_0506_0708));
    assert_eq!(bytes, hex(CONFIRM));
    assert_eq!(decode_challenge(&bytes[48..]), Some(0x0102_0304_0506_0708));
    for length in [0, 7, 9, 16] {
        assert_eq!(decode_challenge(&vec![1; length]), None, "{length} bytes");
    }
}

/// Checks that decoders ignore reserved bytes and padding.
#[test]
fn reserved_bytes_and_padding_are_ignored() {
    let clean = hex(HELLO);
    // The header's last two bytes, the name's padding, a word in each stream entry.
    let ignored = [46, 47, 149, 150, 151, 156, 172, 188];
    for offset in ignored {
        let mut bytes = clean.clone();
        assert_eq!(bytes[offset], 0, "offset {offset}");
        bytes[offset] = 0xA5;
        // The checksum covers these bytes too.
        assert_eq!(next_segment(&bytes), Err(SegmentError::Checksum), "offset {offset}");
        let (header, payload) = (SegmentHeader::ref_from_prefix(&bytes).unwrap().0, &bytes[48..]);
        let resealed = segment(*header, payload);
        let (_, payload) = next_segment(&resealed).unwrap().unwrap();
        let (found, expected) = (Hello::decode(payload).unwrap(), Hello::decode(&clean[48..]).unwrap());
        assert_eq!(values(found), values(expected), "offset {offset}");
    }

    let mut payload = hex(DATA)[48..].to_vec();
    for offset in [6, 7, 21, 22, 23, 30, 31] {
        payload[offset] = 0xA5;
    }
    let frames: Vec<_> = Frames::new(&payload).map(|frame| frame.map(|frame| (frame.id, frame.payload))).collect();
    assert_eq!(frames, [Ok((7, &b"hello"[..])), Ok((-2, &b"12345678"[..]))]);
}

/// Returns a greeting whose entries have their reserved words set to zero.
fn values(mut hello: Hello) -> Hello {
    for entry in &mut hello.sending {
        *entry = Sending::new(entry.stream.get(), entry.position.get());
    }
    for entry in &mut hello.receiving {
        *entry = Receiving::new(entry.stream.get(), entry.position.get());
    }
    hello
}

const VECTORS: [(&str, &str); 14] = [
    ("hello", HELLO),
    ("welcome", WELCOME),
    ("refuse", REFUSE),
    ("data", DATA),
    ("data, header only", DATA_HEADER_ONLY),
    ("first fragment", FRAGMENT_FIRST),
    ("middle fragment", FRAGMENT_MIDDLE),
    ("last fragment", FRAGMENT_LAST),
    ("ack", ACK),
    ("heartbeat", HEARTBEAT),
    ("goodbye", GOODBYE),
    ("end", END),
    ("skip", SKIP),
    ("confirm", CONFIRM),
];

/// Hello: 100 greets 200 in the cluster `alpha`, sends on streams 0 and 3, receives stream 2.
const HELLO: &str = "
    43 4c 02 01 ff ff ff ff 98 00 00 00 80 8c 4d 44
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
    64 00 00 00 00 00 00 00 c8 00 00 00 00 00 00 00
    10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f
    20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f
    00 00 00 04 00 00 00 00 00 00 0c 00 00 00 00 00
    00 00 04 00 00 00 00 00 00 00 00 00 00 00 00 00
    dc 05 00 00 05 00 02 00 01 00 00 00 05 00 00 00
    61 6c 70 68 61 00 00 00 00 00 00 00 00 00 00 00
    40 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00
    88 77 66 55 44 33 22 11 02 00 00 00 00 00 00 00
    80 00 00 00 00 00 00 00
";
/// Welcome: 200 answers 100. A name of exactly eight bytes has no padding.
const WELCOME: &str = "
    43 4c 02 02 ff ff ff ff 98 00 00 00 3e 1d 08 e0
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
    c8 00 00 00 00 00 00 00 64 00 00 00 00 00 00 00
    20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f
    10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f
    00 00 10 00 00 00 00 00 00 c0 00 00 00 00 00 00
    00 40 00 00 00 00 00 00 08 07 06 05 04 03 02 01
    d0 07 00 00 08 00 01 00 02 00 00 00 05 00 00 00
    63 6c 75 73 74 65 72 73 02 00 00 00 00 00 00 00
    60 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    40 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00
    88 77 66 55 44 33 22 11
";
/// Refuse: 200 refuses with Tie.
const REFUSE: &str = "
    43 4c 02 03 ff ff ff ff 10 00 00 00 50 c5 71 f9
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
    06 00 00 00 00 00 00 00 c8 00 00 00 00 00 00 00
";
/// Data: stream 2 from position 0x40, `hello` with id 7 and `12345678` with id -2. Acknowledges stream 1, with ACK_NOW.
const DATA: &str = "
    43 4c 02 04 02 00 00 00 30 00 00 00 eb 96 c6 94
    40 00 00 00 00 00 00 00 00 01 00 00 00 00 00 00
    00 01 01 00 00 00 00 00 01 00 00 00 11 00 00 00
    05 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00
    68 65 6c 6c 6f 00 00 00 08 00 00 00 00 00 00 00
    fe ff ff ff ff ff ff ff 31 32 33 34 35 36 37 38
";
/// Data: the frames of [`DATA`] with a checksum over the header alone.
const DATA_HEADER_ONLY: &str = "
    43 4c 02 04 02 00 00 00 30 00 00 00 ed 7f 79 e1
    40 00 00 00 00 00 00 00 00 01 00 00 00 00 00 00
    00 01 01 00 00 00 00 00 01 00 00 00 00 00 00 00
    05 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00
    68 65 6c 6c 6f 00 00 00 08 00 00 00 00 00 00 00
    fe ff ff ff ff ff ff ff 31 32 33 34 35 36 37 38
";
/// First fragment: the header and the first 8 bytes of a payload of 70,001 bytes.
const FRAGMENT_FIRST: &str = "
    43 4c 02 04 02 00 00 00 18 00 00 00 3c ee e3 bd
    80 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 07 00 00 00
    71 11 01 00 00 00 00 00 09 00 00 00 00 00 00 00
    66 69 72 73 74 70 61 72
";
/// Middle fragment: the next 8 bytes of that payload.
const FRAGMENT_MIDDLE: &str = "
    43 4c 02 04 02 00 00 00 08 00 00 00 67 04 c3 12
    98 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 03 00 00 00
    6d 69 64 64 6c 65 2e 2e
";
/// Last fragment: the last byte of that payload and the padding.
const FRAGMENT_LAST: &str = "
    43 4c 02 04 02 00 00 00 08 00 00 00 11 0a 59 98
    00 12 01 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 0b 00 00 00
    7a 00 00 00 00 00 00 00
";
/// Ack: grants for streams 0 and 3.
const ACK: &str = "
    43 4c 02 05 ff ff ff ff 30 00 00 00 a4 bc ca 32
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
    00 00 00 00 00 00 00 00 48 00 00 00 00 00 00 00
    48 00 01 00 00 00 00 00 03 00 00 00 01 00 00 00
    00 10 00 00 00 00 00 00 00 10 01 00 00 00 00 00
";
/// Heartbeat: acknowledges stream 5 in its header.
const HEARTBEAT: &str = "
    43 4c 02 06 ff ff ff ff 00 00 00 00 c3 e9 12 ed
    00 00 00 00 00 00 00 00 88 00 00 00 00 00 00 00
    00 80 00 00 00 00 00 00 05 00 00 00 01 00 00 00
";
/// Skip: a gap in stream 4 from position 0x2000 to 0x2040.
const SKIP: &str = "
    43 4c 02 09 04 00 00 00 08 00 00 00 e9 9d 8e a1
    00 20 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
    40 20 00 00 00 00 00 00
";

/// Goodbye: the reason Stopped.
const GOODBYE: &str = "
    43 4c 02 07 ff ff ff ff 08 00 00 00 cb 42 dc da
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
    01 00 00 00 00 00 00 00
";
/// End: stream 4 has ended at position 0x2000.
const END: &str = "
    43 4c 02 08 04 00 00 00 00 00 00 00 e2 94 e1 9c
    00 20 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
";
/// Confirm: 100 repeats the challenge of [`WELCOME`].
const CONFIRM: &str = "
    43 4c 02 0a ff ff ff ff 08 00 00 00 55 94 c5 ce
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
    08 07 06 05 04 03 02 01
";
