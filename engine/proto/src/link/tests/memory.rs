//! Test of the memory of long envelopes: it is reused, and freed after a time without use.

use std::time::Duration;

use zerocopy::IntoBytes;

use super::super::{Arrival, Link};
use super::greeting::{dial, link, meet};
use crate::time::Time;
use crate::wire::{FIRST, FRAGMENT, FrameHeader, Kind, LAST, SegmentHeader, Sending};

const LENGTH: usize = 100_000;
/// Number of bytes of the frame in the first of the two segments.
const PART: usize = 60_000;

/// Receives an envelope of `LENGTH` bytes at `position`, and consumes it. Returns the address of its payload.
fn envelope_comes(link: &mut Link, position: u64, now: Time) -> *const u8 {
    let frame = [FrameHeader::new(LENGTH as u32, 0).as_bytes(), &[7; LENGTH]].concat();
    let mut place = std::ptr::null();
    for (from, to, flags) in [(0, PART, FIRST), (PART, frame.len(), LAST)] {
        let mut data = SegmentHeader::new(Kind::Data);
        (data.stream, data.position, data.flags) =
            (0.into(), (position + from as u64).into(), (FRAGMENT | flags).into());
        let delivery = link.receive(&data, &frame[from..to], now).expect("in order").expect("data");
        match delivery.arrival {
            Arrival::Whole { payload, .. } => {
                assert_eq!(payload, [7; LENGTH].as_slice());
                place = payload.as_ptr();
                delivery.stream.consume(delivery.room, 1, LENGTH as u64);
            }
            arrival => assert!(matches!(arrival, Arrival::Part) && to == PART),
        }
    }
    link.transmit(now, &mut Default::default());
    place
}

#[test]
fn it_is_used_again_and_given_back_when_it_is_not() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut acceptor, mut hello) = (link(200, 100), dial(&mut link(100, 200)));
    hello.sending = vec![Sending::new(0, 0)];
    meet(&mut acceptor, &hello, at(1));
    acceptor.timeout(at(1), at(1));
    let first = envelope_comes(&mut acceptor, 0, at(1));
    let second = envelope_comes(&mut acceptor, 16 + LENGTH as u64, at(1));
    assert_eq!(first, second);
    // Use is checked every ten seconds: the memory was used in the first ten, and not in the next.
    for seconds in [11, 21] {
        acceptor.receive(&SegmentHeader::new(Kind::Heartbeat), &[], at(seconds)).expect("up");
        acceptor.timeout(at(seconds), at(seconds));
    }
    // The first call only records that the memory was not used since.
    assert!(!acceptor.buffers.trim() && !acceptor.buffers.trim(), "there is nothing left to give back");
}
