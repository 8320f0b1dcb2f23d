//! Tests of credit: the sender learns of room, whatever was granted before.

use std::time::Duration;

use super::super::RecvCredit;
use super::super::credit::LEAST_WINDOW;
use super::greeting::{dial, link};
use crate::batch::Batch;
use crate::payload::Body;
use crate::stream::stream;
use crate::time::Time;
use crate::wire::{FIRST, FRAGMENT, Hello, LAST, Lane, lane_of};

const WINDOW: u64 = 64 * 1024;

fn begin(window: &mut RecvCredit) -> u64 {
    let offered = window.offer();
    window.begin(offered);
    offered
}

/// Found by the simulator, once idle links no longer granted credit with every heartbeat: envelopes taken before a
/// frame longer than the window gave no reason to grant more credit, and the application never notified the link again.
#[test]
fn the_application_asks_again_when_credit_was_not_due() {
    let mut window = RecvCredit::new(WINDOW);
    assert_eq!(begin(&mut window), WINDOW);
    let consumption = window.consumption().clone();
    // Envelopes of half a window, then one of two windows: only its first fragment needs credit.
    window.take(WINDOW / 2);
    assert!(window.admits(WINDOW / 2) && !window.admits(WINDOW / 2 + 8) && window.open(4));
    window.take(2 * WINDOW);
    window.close();
    assert!(!window.is_due(), "there is no room");
    assert_eq!(window.unread(), 2 * WINDOW + WINDOW / 2);
    assert!(!window.admits(8));
    assert!(consumption.add(WINDOW / 2), "the application asks");
    assert!(!window.look(), "but there is no room yet");
    assert!(!consumption.add(WINDOW / 4 - 8));
    assert!(consumption.add(8), "it asks again");
    assert!(!window.look());
    assert!(consumption.add(WINDOW / 4 * 3 + WINDOW / 4));
    assert!(window.look(), "a quarter of the window is free");
    assert_eq!(window.grant(), 2 * WINDOW + WINDOW / 2 + WINDOW / 4);
    assert!(window.admits(WINDOW / 4) && !window.admits(WINDOW / 4 + 8));
}

#[test]
fn a_session_begins_with_what_is_free() {
    let mut window = RecvCredit::new(WINDOW);
    assert_eq!(begin(&mut window), WINDOW);
    window.take(WINDOW - 8);
    assert_eq!(begin(&mut window), 8);
    assert!(window.open(4));
    window.take(8);
    assert!(!window.open(6), "one at a time");
    window.give_up(8);
    assert!(window.open(6));
    assert_eq!(begin(&mut window), 8);
    window.consumption().add(WINDOW - 8);
    assert_eq!(begin(&mut window), WINDOW);
}

/// Found by the simulator: a ring of frames can be cut if there is room for two of 16 KiB. A window of 32 KiB could
/// leave less, with nothing unread and no reason to grant more.
#[test]
fn a_sender_always_knows_of_room_for_two_frames() {
    let mut window = RecvCredit::new(LEAST_WINDOW);
    begin(&mut window);
    let bytes = LEAST_WINDOW / 4 - 8;
    window.take(bytes);
    assert!(!window.consumption().add(bytes) && !window.is_due(), "it is not told of more");
    assert!(window.admits(2 * 16 * 1024));
}

/// A frame in fragments on one stream keeps a frame on another stream of the lane from beginning until it ends.
#[test]
fn long_frames_of_a_lane_are_sent_one_after_the_other() {
    const LONG: usize = 1_500_000;
    let now = Time::default() + Duration::from_secs(1);
    let (mut dialer, mut acceptor) = (link(100, 200), link(200, 100));
    let mut writers = Vec::new();
    for id in [4, 6, 8, 5] {
        let (mut writer, reader) = stream(id, 1 << 16, 1 << 23).unwrap();
        writer.push(1, &Body::from(vec![7; LONG])).expect("room");
        dialer.open(reader);
        writers.push(writer);
    }
    let welcome = acceptor.greeted(&dial(&mut dialer), now).expect("welcomed");
    assert!(dialer.welcomed(&Hello { credit: [1 << 40; Lane::COUNT], ..welcome.welcome }, now));
    let (mut open, mut whole, mut batch) = ([None; Lane::COUNT], 0, Batch::default());
    while whole < 4 {
        batch.clear();
        dialer.transmit(now, &mut batch);
        let data = (0..batch.segments()).map(|index| *batch.header(index)).filter(|header| header.has(FRAGMENT));
        for header in data {
            let open = &mut open[lane_of(header.stream.get()).index()];
            assert_eq!(open.is_none(), header.has(FIRST), "{header:?} while {open:?} is open");
            assert!(open.is_none_or(|open| open == header.stream.get()));
            *open = Some(header.stream.get()).filter(|_| !header.has(LAST));
            whole += usize::from(header.has(LAST));
        }
        // If a frame ends in this batch, a stream that waited for this begins its own, if there is room.
        assert!(whole == 4 || !batch.has_room(), "{whole} are sent, and nobody goes on");
    }
}
