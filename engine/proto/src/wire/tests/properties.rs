//! Properties that hold for all inputs: any cut of a stream, any damage, arbitrary bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use super::{crc32c_bitwise, next_segment, segment};

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, cases: if cfg!(miri) { 8 } else { 256 }, ..ProptestConfig::default() }
}

/// Size of an input: an eighth under miri, which is a thousand times slower.
const fn size(most: usize) -> usize {
    if cfg!(miri) { most / 8 } else { most }
}

type Segment = (SegmentHeader, Vec<u8>);

/// Decodes all complete segments in the chunks, as a connection does. An error, if there is one, ends the decoding.
fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Segment>, Result<(), SegmentError>) {
    let (mut buffer, mut segments) = (Vec::new(), Vec::new());
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            match next_segment(&buffer) {
                Ok(Some((header, payload))) => segments.push((header, payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (segments, Err(error)),
            }
            let (header, _) = &segments[segments.len() - 1];
            buffer.drain(..header.segment_bytes());
        }
    }
    (segments, Ok(()))
}

/// Passes the payload of an accepted segment to its decoder. No decoder may panic.
fn decode_payload((header, payload): &Segment) {
    match header.kind() {
        Kind::Hello | Kind::Welcome => check_hello(payload),
        Kind::Refuse => drop(Refusal::decode(payload)),
        Kind::Data => check_frames(payload),
        Kind::Ack => drop(decode_grants(payload)),
        Kind::Goodbye => drop(decode_goodbye(payload)),
        Kind::Skip => drop(decode_skip(payload)),
        Kind::Confirm => drop(decode_challenge(payload)),
        Kind::Heartbeat | Kind::End => {}
    }
}

/// Decodes a greeting and checks that the result allocates no more bytes than the payload has.
fn check_hello(payload: &[u8]) {
    if let Ok(hello) = Hello::decode(payload) {
        let allocated = hello.cluster.capacity()
            + hello.sending.capacity() * size_of::<Sending>()
            + hello.receiving.capacity() * size_of::<Receiving>();
        assert!(allocated <= payload.len(), "{allocated} bytes for a payload of {}", payload.len());
        assert!(hello.cluster.len() <= MAX_CLUSTER_NAME_BYTES);
        assert!(hello.sending.len() <= MAX_STREAMS && hello.receiving.len() <= MAX_STREAMS);
        assert_eq!(Hello::decode(&hello.encode()).as_ref(), Ok(&hello));
    }
}

/// Walks the frames and checks that the walk ends, that an error is its last item, and that each frame lies inside
/// `bytes`, behind the one before.
fn check_frames(bytes: &[u8]) {
    let mut frames = Frames::new(bytes);
    let mut walked = 0;
    while let Some(frame) = frames.next() {
        match frame {
            Ok(Frame { payload, .. }) => {
                let start = walked + FRAME_HEADER_BYTES;
                walked += frame_bytes(payload.len());
                assert!(walked <= bytes.len());
                assert!(std::ptr::eq(payload, &bytes[start..start + payload.len()]));
                assert_eq!(frames.remaining(), bytes.len() - walked);
            }
            Err(_) => {
                assert_eq!((frames.next(), frames.remaining()), (None, 0));
                return;
            }
        }
    }
    assert_eq!(walked, bytes.len(), "without an error, all bytes are frames");
}

fn kind() -> impl Strategy<Value = Kind> {
    use Kind::*;
    prop::sample::select(vec![Hello, Welcome, Refuse, Data, Ack, Heartbeat, Goodbye, End, Skip, Confirm])
}

/// Strategy for numbers that are mostly small, so that damage can turn one valid value into another.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..64, any::<u64>()]
}

fn lane_credit() -> impl Strategy<Value = [u64; Lane::COUNT]> {
    vec(number(), Lane::COUNT).prop_map(|credit| credit.try_into().expect("one for each lane"))
}

fn hello() -> impl Strategy<Value = Hello> {
    let ids = (number(), number(), any::<WireIncarnation>(), any::<WireIncarnation>());
    let limits = (number(), (lane_credit(), number()), any::<[u32; 2]>(), "[a-zé]{0,32}");
    let sending = vec((any::<u32>(), number()).prop_map(|(stream, position)| Sending::new(stream, position)), 0..8);
    let receiving = vec((any::<u32>(), number()).prop_map(|(stream, position)| Receiving::new(stream, position)), 0..8);
    (ids, limits, sending, receiving).prop_map(|(ids, limits, sending, receiving)| Hello {
        from: ids.0,
        to: ids.1,
        incarnation: ids.2,
        known_incarnation: ids.3,
        max_envelope_bytes: limits.0,
        credit: limits.1.0,
        challenge: limits.1.1,
        peer_timeout_ms: limits.2[0],
        greeting: limits.2[1],
        features: 0,
        cluster: limits.3,
        sending,
        receiving,
    })
}

/// Strategy for envelopes to send: an id and a body each.
fn envelopes(body_bytes: usize) -> impl Strategy<Value = Vec<(i64, Vec<u8>)>> {
    vec((any::<i64>(), vec(any::<u8>(), 0..body_bytes)), 0..6)
}

fn encode_frames(envelopes: &[(i64, Vec<u8>)]) -> Vec<u8> {
    use zerocopy::IntoBytes;
    let mut bytes = Vec::new();
    for (id, body) in envelopes {
        bytes.extend_from_slice(FrameHeader::new(body.len() as u32, *id).as_bytes());
        bytes.extend_from_slice(body);
        bytes.resize(padded(bytes.len()), 0);
    }
    bytes
}

/// Strategy for payloads with the right shape for `kind`, or with none.
fn payload(kind: Kind) -> BoxedStrategy<Vec<u8>> {
    let grants = vec((any::<u32>(), number(), number()).prop_map(|(s, p, c)| Grant::new(s, lane_of(s), p, c)), 0..5);
    match kind {
        Kind::Hello | Kind::Welcome => hello().prop_map(|hello| hello.encode()).boxed(),
        Kind::Refuse => {
            (1u64..=8, number()).prop_map(|(code, from)| [code, from].map(u64::to_le_bytes).concat()).boxed()
        }
        Kind::Data => envelopes(size(200)).prop_map(|envelopes| encode_frames(&envelopes)).boxed(),
        Kind::Ack => grants.prop_map(|grants| encode_grants(&grants)).boxed(),
        Kind::Goodbye => (1u64..=3).prop_map(|code| code.to_le_bytes().to_vec()).boxed(),
        Kind::Skip => number().prop_map(|to| encode_skip(to).to_vec()).boxed(),
        Kind::Confirm => number().prop_map(|challenge| encode_challenge(challenge).to_vec()).boxed(),
        Kind::Heartbeat | Kind::End => Just(Vec::new()).boxed(),
    }
}

fn header(kind: Kind) -> impl Strategy<Value = SegmentHeader> {
    let flags = 0..=(CHECKSUMMED | FRAGMENT | FIRST | LAST | ACK_NOW);
    (any::<u32>(), number(), number(), number(), any::<u32>(), flags).prop_map(
        move |(stream, position, ack_position, ack_credit, ack_stream, flags)| {
            super::header(kind, |header| {
                header.stream = stream.into();
                header.position = position.into();
                header.ack_position = ack_position.into();
                header.ack_credit = ack_credit.into();
                header.ack_stream = ack_stream.into();
                header.flags = flags.into();
            })
        },
    )
}

/// Strategy for valid, sealed segments of any kind.
fn any_segment() -> impl Strategy<Value = Segment> {
    kind().prop_flat_map(|kind| (header(kind), payload(kind))).prop_map(|(mut header, payload)| {
        header.seal(&[&payload]);
        (header, payload)
    })
}

fn encode(segments: &[Segment]) -> Vec<u8> {
    segments.iter().flat_map(|(header, payload)| segment(*header, payload)).collect()
}

proptest! {
    #![proptest_config(config())]

    /// Checks that any cut of a stream gives the same segments.
    #[test]
    fn any_chunks_give_the_same_segments(segments in vec(any_segment(), 0..size(40)), chunks in vec(1usize..300, 1..50)) {
        let stream = encode(&segments);
        let (mut rest, mut cut) = (&stream[..], Vec::new());
        for length in chunks.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, remaining) = rest.split_at((*length).min(rest.len()));
            cut.push(chunk);
            rest = remaining;
        }
        prop_assert_eq!(decode(cut), (segments, Ok(())));
    }

    /// Checks every cut of a short stream into two, and the cut into single bytes.
    #[test]
    fn every_split_gives_the_same_segments(segments in vec(any_segment(), 1..4)) {
        let stream = encode(&segments);
        let expected = (segments, Ok(()));
        for cut in (0..=stream.len()).step_by(if cfg!(miri) { 61 } else { 1 }) {
            prop_assert_eq!(&decode([&stream[..cut], &stream[cut..]]), &expected, "cut at {}", cut);
        }
        prop_assert_eq!(&decode(stream.chunks(1)), &expected);
    }

    /// Checks that the envelopes of a Data segment are decoded as they were encoded, at every alignment of the bytes.
    #[test]
    fn frames_carry_envelopes(envelopes in envelopes(size(2000)), shift in 0usize..8) {
        let mut bytes = vec![0xA5; shift];
        bytes.extend_from_slice(&encode_frames(&envelopes));
        check_frames(&bytes[shift..]);
        let found: Result<Vec<_>, _> = Frames::new(&bytes[shift..]).map(|f| f.map(|f| (f.id, f.payload.to_vec()))).collect();
        prop_assert_eq!(found, Ok(envelopes));
    }

    /// Checks that a damaged stream gives a prefix of the sent segments and then, at most, an error. Damage is never
    /// taken for data.
    #[test]
    fn damaged_streams_give_a_prefix(
        segments in vec(any_segment(), 1..size(24)),
        damage in vec((any::<prop::sample::Index>(), 1u8..), 1..4),
    ) {
        let mut segments = segments;
        for (header, payload) in &mut segments {
            header.flags.set(header.flags.get() | CHECKSUMMED);
            header.seal(&[payload]);
        }
        let mut stream = encode(&segments);
        let clean = stream.clone();
        for (index, mask) in &damage {
            let index = index.index(stream.len());
            stream[index] ^= mask;
        }
        let intact = stream.iter().zip(&clean).position(|(a, b)| a != b).unwrap_or(stream.len());
        let (found, _) = decode([&stream[..]]);
        found.iter().for_each(decode_payload);
        prop_assert!(found.len() <= segments.len());
        prop_assert_eq!(&found[..], &segments[..found.len()]);
        // All segments before the damage are still decoded.
        let (before, result) = decode([&stream[..intact]]);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(&before[..], &segments[..before.len()]);
        prop_assert!(found.len() >= before.len());
    }

    /// Checks damage under a correct checksum, as from a hostile peer: accepted bytes are decoded without a panic.
    #[test]
    fn resealed_damage_never_panics(
        segment in any_segment(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
    ) {
        let (header, mut payload) = segment;
        for (index, byte) in &damage {
            if !payload.is_empty() {
                let index = index.index(payload.len());
                payload[index] = *byte;
            }
        }
        payload.truncate(keep.index(payload.len() + 1) / 8 * 8);
        let mut header = header;
        header.seal(&[&payload]);
        let (found, result) = decode([&super::segment(header, &payload)[..]]);
        prop_assert_eq!((found.len(), result), (1, Ok(())));
        found.iter().for_each(decode_payload);
    }

    /// Passes arbitrary bytes to every decoder.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..size(2048)), kind in kind(), from_start in any::<bool>()) {
        let mut bytes = bytes;
        if from_start && bytes.len() >= 4 {
            bytes[..4].copy_from_slice(&[0x43, 0x4C, VERSION, kind as u8]);
        }
        let (found, _) = decode(bytes.chunks(64));
        found.iter().for_each(decode_payload);
        for kind in [Kind::Hello, Kind::Refuse, Kind::Data, Kind::Ack, Kind::Goodbye] {
            decode_payload(&(SegmentHeader::new(kind), bytes.clone()));
        }
    }

    /// Checks that a greeting with arbitrary counts and lengths allocates no more bytes than its payload has.
    #[test]
    fn greetings_allocate_no_more_than_they_are_long(hello in hello(), counts in vec(0u16..80, 3), which in 0usize..8) {
        let mut bytes = hello.encode();
        prop_assert_eq!(Hello::decode(&bytes), Ok(hello));
        check_hello(&bytes);
        for (index, count) in counts.iter().enumerate() {
            if which & 1 << index != 0 {
                let offset = 68 + 2 * index;
                bytes[offset..offset + 2].copy_from_slice(&count.to_le_bytes());
            }
        }
        check_hello(&bytes);
        bytes.extend_from_slice(&[0; 1024]);
        for length in (0..bytes.len()).step_by(if cfg!(miri) { 128 } else { 8 }) {
            check_hello(&bytes[..length]);
        }
    }

    /// Checks frames with lengths that are nearly right.
    #[test]
    fn frames_of_arbitrary_bytes_end(words in vec(prop_oneof![0u64..40, any::<u64>()], 0..size(256)), cut in 0usize..8) {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
        check_frames(&bytes);
        check_frames(&bytes[cut.min(bytes.len())..]);
        check_frames(&bytes[..bytes.len().saturating_sub(cut)]);
    }

    /// Flips each single bit of a segment whose checksum covers all of it.
    #[test]
    fn single_bit_flips_are_detected(segment in any_segment(), more in any::<u8>()) {
        let (mut header, payload) = segment;
        header.flags.set(header.flags.get() | CHECKSUMMED);
        check_flips(header, &payload, SEGMENT_HEADER_BYTES + payload.len(), more)?;
    }

    /// Flips each single bit of the header of a segment whose checksum covers the header alone.
    #[test]
    fn single_bit_flips_of_the_header_are_detected(segment in any_segment(), more in any::<u8>()) {
        let (mut header, payload) = segment;
        header.flags.set(header.flags.get() & !CHECKSUMMED);
        check_flips(header, &payload, SEGMENT_HEADER_BYTES, more)?;
    }

    /// Compares the checksum with its definition, independently of the crate that computes it.
    #[test]
    fn checksum_is_that_of_the_definition(segment in any_segment()) {
        let (header, payload) = segment;
        let bytes = super::segment(header, &payload);
        let covered = if header.has(CHECKSUMMED) { bytes.len() } else { SEGMENT_HEADER_BYTES };
        let expected = crc32c_bitwise(&[&bytes[..12], &bytes[16..covered]].concat());
        prop_assert_eq!(&bytes[12..16], &expected.to_le_bytes());
    }
}

/// Flips each bit of the first `bytes` bytes. More bytes follow the segment, so that an increased length finds them.
fn check_flips(mut header: SegmentHeader, payload: &[u8], bytes: usize, more: u8) -> Result<(), TestCaseError> {
    header.seal(&[payload]);
    let mut stream = segment(header, payload);
    prop_assert_eq!(next_segment(&stream), Ok(Some((header, payload))));
    stream.resize(stream.len() + if cfg!(miri) { 64 } else { MAX_SEGMENT_PAYLOAD }, more);
    for bit in (0..bytes * 8).step_by(if cfg!(miri) { 37 } else { 1 }) {
        let (index, mask) = (bit / 8, 1 << (bit % 8));
        stream[index] ^= mask;
        let found = next_segment(&stream);
        // A length increased beyond the available bytes makes the receiver wait; it accepts nothing.
        let waits = cfg!(miri) && (8..12).contains(&index) && found == Ok(None);
        prop_assert!(found.is_err() || waits, "bit {} of byte {} was not noticed", bit % 8, index);
        stream[index] ^= mask;
    }
    Ok(())
}
