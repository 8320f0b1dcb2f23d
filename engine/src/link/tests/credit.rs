//! Credit: that the sender is told of room, whatever was granted before.

use zerocopy::IntoBytes;

use super::super::InStream;
use crate::stream::Buffers;
use crate::wire::{FIRST, FRAGMENT, FRAME_HEADER_BYTES, FrameHeader, Kind, LAST, SegmentHeader};

const WINDOW: u64 = 64 * 1024;

fn data(position: u64, flags: u16) -> SegmentHeader {
    let mut header = SegmentHeader::new(Kind::Data);
    (header.position, header.flags) = (position.into(), flags.into());
    header
}

/// Found by simulator seed 2311, once idle links no longer granted credit with every heartbeat: a frame longer than the
/// window is granted its own length. What the application took before that frame then was no reason to grant more, and
/// it never asked again.
#[test]
fn the_application_asks_again_when_credit_was_not_due() {
    let (mut stream, buffers) = (InStream::new(0, 0, WINDOW), Buffers::new());
    // Envelopes of half a window, then the beginning of one of two windows.
    let short = WINDOW / 2 - FRAME_HEADER_BYTES as u64;
    let mut frames = FrameHeader::new(short as u32, 1).as_bytes().to_vec();
    frames.resize(WINDOW as usize / 2, 7);
    stream.accept(&data(0, 0), &frames, 1 << 20, &buffers).expect("whole frames");
    let long = 2 * WINDOW - FRAME_HEADER_BYTES as u64;
    let mut frame = FrameHeader::new(long as u32, 2).as_bytes().to_vec();
    frame.resize(2 * WINDOW as usize, 7);
    let (first, rest) = frame.split_at(WINDOW as usize / 2);
    stream.accept(&data(WINDOW / 2, FRAGMENT | FIRST), first, 1 << 20, &buffers).expect("a fragment");
    let end = WINDOW / 2 + 2 * WINDOW;
    assert_eq!(stream.grant().1, end, "credit for the frame that has begun");

    let inbound = stream.shared().clone();
    let asks = inbound.consume(WINDOW / 2, 1, short);
    assert!(!asks || !stream.look_at_consumption(), "there is credit for more than that already");
    let mut position = WINDOW;
    for part in rest.chunks(WINDOW as usize / 2) {
        let flags = if position + part.len() as u64 == end { FRAGMENT | LAST } else { FRAGMENT };
        stream.accept(&data(position, flags), part, 1 << 20, &buffers).expect("a fragment");
        position += part.len() as u64;
    }
    assert!(inbound.consume(end, 1, long), "the application asks");
    assert!(stream.look_at_consumption());
    assert_eq!(stream.grant(), (end, end + WINDOW));
}
