//! Which of two connections is kept.

use std::sync::Arc;
use std::time::Duration;

use zerocopy::IntoBytes;

use super::super::{Batch, DownReason, Link, Notice, State, Verdict, Want};
use crate::testing::local;
use crate::time::Time;
use crate::wire::{FrameHeader, Hello, Kind, NO_STREAM, RefusalReason, SegmentHeader, Sending};

pub(super) fn link(pid: u64, peer: u64) -> Link {
    Link::new(Arc::new(local(pid)), peer)
}

pub(super) fn dial(link: &mut Link) -> Hello {
    // The higher pid leaves the lower one some time to come first.
    link.wants(Time::default(), false);
    dial_at(link, Time::default() + Duration::from_secs(1))
}

fn dial_at(link: &mut Link, now: Time) -> Hello {
    assert_eq!(link.wants(now, false), Want::Dial);
    link.dials(now);
    link.connected(now)
}

fn refusal(verdict: Verdict) -> Option<RefusalReason> {
    match verdict {
        Verdict::Welcome(_) => None,
        Verdict::Refuse(refusal) => Some(refusal.reason),
    }
}

#[test]
fn of_two_dials_that_of_the_lower_pid_is_kept() {
    let (mut lower, mut higher) = (link(100, 200), link(200, 100));
    let (from_lower, from_higher) = (dial(&mut lower), dial(&mut higher));
    let now = Time::default() + Duration::from_secs(1);
    assert_eq!(refusal(lower.greeted(&from_higher, now)), Some(RefusalReason::Tie));
    let Verdict::Welcome(welcome) = higher.greeted(&from_lower, now) else { panic!("refused") };
    assert!(lower.welcomed(&welcome, now));
    assert_eq!((lower.state(), higher.state()), (State::Up, State::Up));
    // The other half of the tie, when it comes so late.
    assert_eq!(refusal(lower.greeted(&from_higher, now)), Some(RefusalReason::Tie));
    assert_eq!((lower.state(), higher.state()), (State::Up, State::Up));
}

/// Found by seed 4379 of the simulation: the greeting of a process that is gone came late, when its successor was
/// silent for a moment. It was taken for another restart, the successor's streams were forgotten, and no greeting
/// agreed with the other side's any more.
#[test]
fn a_late_greeting_of_an_incarnation_that_was_replaced_is_refused() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let mut acceptor = link(100, 200);
    let first = dial(&mut link(200, 100));
    let second = Hello { incarnation: [7; 16], ..first.clone() };
    assert_eq!(refusal(acceptor.greeted(&first, at(1))), None);
    assert_eq!(refusal(acceptor.greeted(&second, at(3))), None);
    assert!(refusal(acceptor.greeted(&first, at(6))).is_some());
}

/// Found by seed 617 of the simulation: a Hello that had waited on a connection long dead was taken for news. It knew
/// nothing of what had been sent since, the streams began anew, and no greeting agreed with the other side's any more.
#[test]
fn a_late_greeting_of_the_same_incarnation_is_refused() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut acceptor, mut dialer) = (link(200, 100), link(100, 200));
    let late = dial(&mut dialer);
    dialer.dial_failed(at(2));
    let second = dial_at(&mut dialer, at(4));
    assert_eq!(refusal(acceptor.greeted(&second, at(4))), None);
    acceptor.lost(DownReason::Closed, at(5));
    assert_eq!(refusal(acceptor.greeted(&late, at(6))), Some(RefusalReason::Tie));
    assert_eq!(refusal(acceptor.greeted(&second, at(6))), Some(RefusalReason::Tie));
    dialer.dial_failed(at(7));
    assert_eq!(refusal(acceptor.greeted(&dial_at(&mut dialer, at(9)), at(9))), None);
}

/// A server that was stopped for a while finds connections in its backlog whose dialers have given up. They are not
/// news to its application, neither their beginning nor their end.
#[test]
fn an_accepted_link_is_up_for_the_application_when_the_dialer_has_shown_that_it_is_there() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut acceptor, mut dialer) = (link(200, 100), link(100, 200));
    let late = dial(&mut dialer);
    assert_eq!(refusal(acceptor.greeted(&late, at(2))), None);
    acceptor.lost(DownReason::Closed, at(2));
    assert_eq!(acceptor.take_notices(), []);
    // Nor when the next one takes its place.
    dialer.dial_failed(at(2));
    for seconds in [4, 6] {
        let hello = dial_at(&mut dialer, at(seconds));
        let Verdict::Welcome(welcome) = acceptor.greeted(&hello, at(seconds)) else { panic!("refused") };
        assert_eq!(acceptor.take_notices(), []);
        if seconds == 4 {
            dialer.dial_failed(at(5));
            continue;
        }
        assert!(dialer.welcomed(&welcome, at(6)));
    }
    assert_eq!(dialer.take_notices(), [Notice::Up { incarnation: [200; 16] }]);
    let mut batch = Batch::default();
    dialer.transmit(at(6), &mut batch);
    assert!(!batch.is_empty(), "the dialer shows that it is there, at once");
    acceptor.receive(&SegmentHeader::new(Kind::Heartbeat), &[], at(6)).unwrap();
    assert_eq!(acceptor.take_notices(), [Notice::Up { incarnation: [100; 16] }]);
    acceptor.lost(DownReason::Closed, at(7));
    assert_eq!(acceptor.take_notices(), [Notice::Down { reason: DownReason::Closed }]);
    // A restart is told with the first proof of it, be it that an earlier connection had spoken of it.
    for (greeting, seconds) in [(1, 8), (2, 9)] {
        let hello = Hello { incarnation: [7; 16], greeting, ..late.clone() };
        assert_eq!(refusal(acceptor.greeted(&hello, at(seconds))), None);
        assert_eq!(acceptor.take_notices(), []);
        if greeting == 1 {
            acceptor.lost(DownReason::Closed, at(seconds));
        }
    }
    acceptor.receive(&SegmentHeader::new(Kind::Heartbeat), &[], at(9)).unwrap();
    let incarnation = [7; 16];
    assert_eq!(acceptor.take_notices(), [Notice::Restarted { incarnation }, Notice::Up { incarnation }]);
}

/// Found by the simulator: the peer was removed and added again, and its first greeting came late. The new link
/// believed it, and from then on neither side agreed with what the other one said.
#[test]
fn a_late_greeting_is_refused_when_the_peer_was_removed_and_added_again() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut before, mut dialer) = (link(200, 100), link(100, 200));
    let late = dial(&mut dialer);
    dialer.dial_failed(at(2));
    let second = dial_at(&mut dialer, at(4));
    assert_eq!(refusal(before.greeted(&second, at(4))), None);
    let mut again = link(200, 100);
    again.greet_after(before.into_earlier());
    assert_eq!(refusal(again.greeted(&late, at(6))), Some(RefusalReason::Tie));
    dialer.dial_failed(at(7));
    assert_eq!(refusal(again.greeted(&dial_at(&mut dialer, at(9)), at(9))), None);
}

/// Regression: what had arrived before the removal without an acknowledgement came a second time.
#[test]
fn a_peer_that_was_removed_and_added_again_goes_on_where_its_streams_have_come() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let hello = Hello { sending: vec![Sending::new(4, 0)], ..dial(&mut link(100, 200)) };
    let mut receiver = link(200, 100);
    assert_eq!(refusal(receiver.greeted(&hello, at(1))), None);
    let mut data = SegmentHeader::new(Kind::Data);
    data.stream = 4.into();
    let delivery = receiver.receive(&data, FrameHeader::new(0, 5).as_bytes(), at(1)).unwrap().unwrap();
    for removal in 2..4 {
        let mut again = link(200, 100);
        again.greet_after(receiver.into_earlier());
        receiver = again;
        // The same holds if the peer is removed once more before they have met, and whichever side dials.
        if removal == 3 {
            let greeting = receiver.connected(at(3));
            assert_eq!((received(&greeting), greeting.known_incarnation), (vec![(4, 16)], [100; 16]));
            receiver.dial_failed(at(3));
        }
    }
    let next = Hello { greeting: 2, ..hello };
    let Verdict::Welcome(welcome) = receiver.greeted(&next, at(4)) else { panic!("refused") };
    assert_eq!(received(&welcome), [(4, 16)]);
    assert_eq!(receiver.account().bytes_unread, 16);
    delivery.stream.consume(delivery.end, 1, 0);
    assert_eq!(receiver.account().bytes_unread, 0);
}

/// Found by `ci/fuzz-run link`: a stream whose number stands for none was opened, and then acknowledged as none.
#[test]
fn a_greeting_with_a_stream_that_cannot_be_is_refused() {
    for entry in [Sending::new(NO_STREAM, 4096), Sending::new(0, 4097)] {
        let hello = Hello { sending: vec![entry], ..dial(&mut link(200, 100)) };
        let now = Time::default() + Duration::from_secs(1);
        assert_eq!(refusal(link(100, 200).greeted(&hello, now)), Some(RefusalReason::Malformed));
    }
}

/// The positions of a session: what a link said that it receives, by stream.
fn received(welcome: &Hello) -> Vec<(u32, u64)> {
    welcome.receiving.iter().map(|entry| (entry.stream.get(), entry.position.get())).collect()
}

/// A proxy hands a greeting that was meant for a receiver to its successor. It states a position that the sender has
/// left behind since; both sides refused each other from then on.
#[test]
fn a_greeting_that_was_meant_for_a_predecessor_is_left_behind() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut acceptor, dialer) = (link(200, 100), dial(&mut link(100, 200)));
    let late = Hello { greeting: 1, sending: vec![Sending::new(4, 80)], ..dialer.clone() };
    let Verdict::Welcome(welcome) = acceptor.greeted(&late, at(1)) else { panic!("refused") };
    assert_eq!(received(&welcome), [(4, 80)]);
    acceptor.lost(DownReason::Closed, at(1));
    let next = Hello { greeting: 2, sending: vec![Sending::new(4, 160)], ..dialer.clone() };
    let Verdict::Welcome(welcome) = acceptor.greeted(&next, at(2)) else { panic!("refused") };
    assert_eq!(received(&welcome), [(4, 160)]);
    // Once something has come, its sender cannot say that more has.
    let mut data = SegmentHeader::new(Kind::Data);
    (data.stream, data.position) = (4.into(), 160.into());
    assert!(acceptor.receive(&data, FrameHeader::new(0, 5).as_bytes(), at(2)).is_ok());
    let lie = Hello { greeting: 3, sending: vec![Sending::new(4, 240)], ..dialer };
    assert_eq!(refusal(acceptor.greeted(&lie, at(3))), Some(RefusalReason::Malformed));
}

/// The greeting of a process that has died before it was met comes when its successor is silent for a moment. It was
/// taken for another restart, and the successor for its predecessor ever after.
#[test]
fn an_incarnation_that_does_not_show_that_it_is_there_replaces_nobody() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let mut acceptor = link(200, 100);
    let alive = Hello { sending: vec![Sending::new(4, 0)], ..dial(&mut link(100, 200)) };
    assert_eq!(refusal(acceptor.greeted(&alive, at(1))), None);
    let mut data = SegmentHeader::new(Kind::Data);
    data.stream = 4.into();
    assert!(acceptor.receive(&data, FrameHeader::new(0, 5).as_bytes(), at(1)).is_ok());
    acceptor.take_notices();
    let dead = Hello { incarnation: [7; 16], sending: Vec::new(), ..alive.clone() };
    assert_eq!(refusal(acceptor.greeted(&dead, at(3))), None);
    // It comes back while the connection of the other one is not known to be dead.
    let again = Hello { greeting: alive.greeting + 1, known_incarnation: [200; 16], ..alive };
    let Verdict::Welcome(welcome) = acceptor.greeted(&again, at(3)) else { panic!("refused") };
    assert_eq!((received(&welcome), welcome.known_incarnation), (vec![(4, 16)], [100; 16]));
    assert!(acceptor.receive(&SegmentHeader::new(Kind::Heartbeat), &[], at(3)).is_ok());
    let up = Notice::Up { incarnation: [100; 16] };
    assert_eq!(acceptor.take_notices(), [Notice::Down { reason: DownReason::Closed }, up]);
}

/// What nobody reads is not more than a window, and what one incarnation may send.
#[test]
fn a_peer_that_is_restarted_again_and_again_does_not_fill_an_inbox_that_nobody_reads() {
    const WINDOW: u64 = 128 * 1024;
    let mut acceptor = link(200, 100);
    let first = dial(&mut link(100, 200));
    let frame = |bytes: usize| [FrameHeader::new(bytes as u32, 0).as_bytes(), &vec![0; bytes]].concat();
    let mut inbox = Vec::new();
    let mut refused = None;
    for life in 1..10u8 {
        let now = Time::default() + Duration::from_secs(3 * u64::from(life));
        let hello = Hello { incarnation: [life; 16], ..first.clone() };
        refused = refusal(acceptor.greeted(&hello, now));
        if refused.is_some() {
            break;
        }
        for position in (0..WINDOW).step_by(64 * 1024) {
            let mut data = SegmentHeader::new(Kind::Data);
            (data.stream, data.position) = (0.into(), position.into());
            inbox.extend(acceptor.receive(&data, &frame(64 * 1024 - 16), now).unwrap());
        }
    }
    assert_eq!((refused, inbox.len()), (Some(RefusalReason::Unread), 4));
    assert_eq!(acceptor.account().bytes_unread, 2 * WINDOW);
    // It is read; then there is room again.
    for delivery in &inbox {
        delivery.stream.consume(delivery.end, 1, 0);
    }
    let hello = Hello { incarnation: [20; 16], ..first };
    assert_eq!(refusal(acceptor.greeted(&hello, Time::default() + Duration::from_secs(100))), None);
}

#[test]
fn a_greeting_that_contradicts_itself_is_refused() {
    let hello = dial(&mut link(100, 200));
    let twice = Sending::new(4, 0);
    let receiving = crate::wire::Receiving::new(4, 0, 0);
    for malformed in [
        Hello { incarnation: [0; 16], ..hello.clone() },
        Hello { window_bytes: 0, ..hello.clone() },
        Hello { window_bytes: crate::wire::MAX_SEGMENT_PAYLOAD as u64 - 8, ..hello.clone() },
        Hello { sending: vec![twice, Sending::new(6, 0), twice], ..hello.clone() },
        Hello { receiving: vec![receiving, receiving], ..hello.clone() },
    ] {
        let verdict = link(200, 100).greeted(&malformed, Time::default());
        assert_eq!(refusal(verdict), Some(RefusalReason::Malformed), "{malformed:?}");
    }
    assert_eq!(refusal(link(200, 100).greeted(&hello, Time::default())), None);
}

/// The streams of a peer that is removed and added again and again continue, but not before there is room.
#[test]
fn a_peer_that_is_removed_again_and_again_does_not_fill_an_inbox_that_nobody_reads() {
    const WINDOW: u64 = 128 * 1024;
    let frame = [FrameHeader::new(64 * 1024 - 16, 0).as_bytes(), &[0; 64 * 1024 - 16]].concat();
    let mut receiver = link(200, 100);
    let first = dial(&mut link(100, 200));
    let (mut inbox, mut refused, mut position) = (Vec::new(), None, 0);
    for greeting in 1..10 {
        let now = Time::default() + Duration::from_secs(3 * u64::from(greeting));
        let sending = vec![Sending::new(4, position)];
        let hello = Hello { greeting, sending, known_incarnation: [200; 16], ..first.clone() };
        refused = refusal(receiver.greeted(&hello, now));
        if refused.is_some() {
            break;
        }
        for _ in 0..2 {
            let mut data = SegmentHeader::new(Kind::Data);
            (data.stream, data.position) = (4.into(), position.into());
            inbox.extend(receiver.receive(&data, &frame, now).unwrap());
            position += 64 * 1024;
        }
        let mut again = link(200, 100);
        again.greet_after(receiver.into_earlier());
        receiver = again;
    }
    assert_eq!((refused, inbox.len()), (Some(RefusalReason::Unread), 4));
    assert_eq!(receiver.account().bytes_unread, 2 * WINDOW);
    for delivery in &inbox {
        delivery.stream.consume(delivery.end, 1, 0);
    }
    let hello = Hello { greeting: 20, sending: vec![Sending::new(4, position)], ..first };
    assert_eq!(refusal(receiver.greeted(&hello, Time::default() + Duration::from_secs(100))), None);
}
