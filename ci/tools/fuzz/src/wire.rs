//! Targets for the decoders of the wire format.

use cluster_engine::wire::{
    FRAME_HEADER_BYTES, Frame, Frames, Hello, Kind, LARGEST_POSITION, MAX_CLUSTER_NAME_BYTES, MAX_SEGMENT_PAYLOAD,
    MAX_STREAMS, Refusal, SEGMENT_HEADER_BYTES, SegmentHeader, decode_goodbye, decode_grants, decode_skip,
    encode_goodbye, encode_grants, encode_skip, frame_bytes,
};
use zerocopy::IntoBytes;

use crate::allocations::within;

/// Decodes the bytes of a connection: segment after segment, with correct checksums or not.
pub fn segments(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some(header)) = within(0, || SegmentHeader::parse(rest)) {
        let length = header.segment_bytes();
        assert!(length <= SEGMENT_HEADER_BYTES + MAX_SEGMENT_PAYLOAD && length.is_multiple_of(8));
        assert_eq!(header.as_bytes(), &rest[..SEGMENT_HEADER_BYTES]);
        // An incomplete header is never an error: more bytes may follow.
        assert_eq!(SegmentHeader::parse(&rest[..SEGMENT_HEADER_BYTES - 1]), Ok(None));
        let Some(payload) = rest.get(SEGMENT_HEADER_BYTES..length) else { return };
        let mut sealed = *header;
        sealed.seal(&[payload]);
        assert_eq!(sealed.verify(payload), Ok(()));
        // Sealing changes only the checksum.
        assert_eq!(header.verify(payload).is_ok(), sealed == *header);
        match header.kind() {
            Kind::Hello | Kind::Welcome => greetings(payload),
            Kind::Data => frames(payload),
            Kind::Refuse | Kind::Ack | Kind::Goodbye | Kind::Skip | Kind::Confirm => control(payload),
            Kind::Heartbeat | Kind::End => {}
        }
        rest = &rest[length..];
    }
}

/// Decodes the payload of a Hello or a Welcome.
pub fn greetings(payload: &[u8]) {
    let Ok(hello) = within(payload.len(), || Hello::decode(payload)) else { return };
    assert!(hello.cluster.len() <= MAX_CLUSTER_NAME_BYTES);
    assert!(hello.sending.len() <= MAX_STREAMS && hello.receiving.len() <= MAX_STREAMS);
    let encoded = hello.encode();
    assert_eq!(encoded.len(), payload.len(), "a greeting has no other bytes than those that its counts speak of");
    assert_eq!(Hello::decode(&encoded), Ok(hello));
}

/// Decodes the payload of a Refuse, an Ack, a Skip, a Goodbye or a Confirm.
pub fn control(payload: &[u8]) {
    within(0, || {
        if let Some(refusal) = Refusal::decode(payload) {
            assert_eq!(Refusal::decode(&refusal.encode()), Some(refusal));
        }
        if let Some(to) = decode_skip(payload) {
            assert!(to <= LARGEST_POSITION && to.is_multiple_of(8));
            assert_eq!(encode_skip(to), payload);
        }
        if let Some(reason) = decode_goodbye(payload) {
            assert_eq!(encode_goodbye(reason), payload);
        }
    });
    if let Some(grants) = within(0, || decode_grants(payload)) {
        assert_eq!(size_of_val(grants), payload.len());
        assert_eq!(encode_grants(grants), payload);
    }
}

/// Decodes the payload of a Data segment. The frames end; each lies inside, behind the one before it; an error is the
/// last.
pub fn frames(payload: &[u8]) {
    within(0, || {
        let mut frames = Frames::new(payload);
        let mut walked = 0;
        while let Some(frame) = frames.next() {
            let Ok(Frame { payload: body, .. }) = frame else {
                assert_eq!((frames.next(), frames.remaining()), (None, 0));
                return;
            };
            let begin = walked + FRAME_HEADER_BYTES;
            walked += frame_bytes(body.len());
            assert!(std::ptr::eq(body, &payload[begin..begin + body.len()]));
            assert_eq!(frames.remaining(), payload.len() - walked);
        }
        assert_eq!(walked, payload.len(), "without an error, all bytes are frames");
    });
}
