//! Tests of the handshake: ties, late greetings, restarts, and the positions at which streams resume.

use std::sync::Arc;
use std::time::Duration;

use zerocopy::IntoBytes;

use super::super::credit::LEAST_WINDOW;
use super::super::{Delivery, DownReason, Link, Notice, State, Unconfirmed, Violation, Want, makes_sense};
use crate::testing::local;
use crate::time::Time;
use crate::wire::{FrameHeader, Hello, Kind, Lane, NO_STREAM, RefusalReason, SegmentHeader, Sending};

pub(super) fn link(pid: u64, peer: u64) -> Link {
    Link::new(Arc::new(local(pid)), peer)
}

/// Confirms as the dialer: repeats the challenge of the Welcome.
pub(super) fn confirm(link: &mut Link, welcome: &Unconfirmed, now: Time) {
    assert!(link.confirmed(welcome, Some(welcome.welcome.challenge), now));
}

/// Greets and confirms as the dialer. Returns the Welcome.
pub(super) fn meet(link: &mut Link, hello: &Hello, now: Time) -> Hello {
    let welcome = link.greeted(hello, now).expect("welcomed");
    confirm(link, &welcome, now);
    welcome.welcome
}

pub(super) fn dial(link: &mut Link) -> Hello {
    // The side with the higher pid waits for the other side's dial.
    link.wants(Time::default(), false);
    dial_at(link, Time::default() + Duration::from_secs(1))
}

fn dial_at(link: &mut Link, now: Time) -> Hello {
    assert_eq!(link.wants(now, false), Want::Dial);
    link.dials(now);
    link.connected(now)
}

fn refusal(answer: Result<Box<Unconfirmed>, RefusalReason>) -> Option<RefusalReason> {
    answer.err()
}

#[test]
fn of_two_dials_that_of_the_lower_pid_is_kept() {
    let (mut lower, mut higher) = (link(100, 200), link(200, 100));
    let (from_lower, from_higher) = (dial(&mut lower), dial(&mut higher));
    let now = Time::default() + Duration::from_secs(1);
    assert_eq!(refusal(lower.greeted(&from_higher, now)), Some(RefusalReason::Tie));
    let welcome = higher.greeted(&from_lower, now).expect("welcomed");
    assert!(lower.welcomed(&welcome.welcome, now));
    assert_eq!((lower.state(), higher.state()), (State::Up, State::Waiting));
    assert_eq!((higher.wants(now, false), higher.wants(now, false)), (Want::Hangup, Want::Nothing));
    confirm(&mut higher, &welcome, now);
    assert_eq!((lower.state(), higher.state()), (State::Up, State::Up));
    // The Hello of the dial that lost the tie arrives late.
    assert_eq!(refusal(lower.greeted(&from_higher, now)), Some(RefusalReason::Tie));
    assert_eq!((lower.state(), higher.state()), (State::Up, State::Up));
}

/// Found by the simulation: the greeting of a dead process arrived late, while its successor was silent for a moment.
/// It was taken for another restart, the successor's streams were forgotten, and from then on the greetings of the two
/// sides contradicted each other.
#[test]
fn a_late_greeting_of_an_incarnation_that_was_replaced_changes_nothing() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let mut acceptor = link(100, 200);
    let first = dial(&mut link(200, 100));
    let second = Hello { incarnation: [7; 16], sending: vec![Sending::new(4, 80)], ..first.clone() };
    meet(&mut acceptor, &first, at(1));
    meet(&mut acceptor, &second, at(3));
    let mut data = SegmentHeader::new(Kind::Data);
    (data.stream, data.position) = (4.into(), 80.into());
    assert!(acceptor.receive(&data, FrameHeader::new(0, 5).as_bytes(), at(3)).is_ok());
    assert_eq!(refusal(acceptor.greeted(&first, at(6))), Some(RefusalReason::Tie));
    // One that was not answered before is welcomed. Its dialer is dead, and does not confirm.
    let unanswered = Hello { greeting: first.greeting + 1, ..first };
    let unconfirmed = acceptor.greeted(&unanswered, at(6)).expect("welcomed");
    assert!(!acceptor.confirmed(&unconfirmed, None, at(6)));
    let again = Hello { greeting: second.greeting + 1, known_incarnation: [100; 16], ..second };
    assert_eq!(received(&meet(&mut acceptor, &again, at(6))), [(4, 96)]);
}

/// Found by the simulation: a Hello that had waited on a dead connection was believed. It was older than what had been
/// sent since, so the streams began anew, and from then on the greetings of the two sides contradicted each other.
#[test]
fn a_late_greeting_of_the_same_incarnation_is_refused() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut acceptor, mut dialer) = (link(200, 100), link(100, 200));
    let late = dial(&mut dialer);
    dialer.dial_failed(at(2));
    let second = dial_at(&mut dialer, at(4));
    meet(&mut acceptor, &second, at(4));
    acceptor.lost(DownReason::Closed, at(5));
    assert_eq!(refusal(acceptor.greeted(&late, at(6))), Some(RefusalReason::Tie));
    assert_eq!(refusal(acceptor.greeted(&second, at(6))), Some(RefusalReason::Tie));
    dialer.dial_failed(at(7));
    assert_eq!(refusal(acceptor.greeted(&dial_at(&mut dialer, at(9)), at(9))), None);
}

/// Regression: the repeated replay of a greeting of an earlier incarnation kept the next incarnation out, each time
/// until the greeting was 800 ms old.
#[test]
fn a_greeting_that_nobody_confirms_keeps_no_other_incarnation_out() {
    let now = Time::default() + Duration::from_secs(1);
    let mut acceptor = link(100, 200);
    let recorded = dial(&mut link(200, 100));
    let played = acceptor.greeted(&recorded, now).expect("welcomed");
    let next = Hello { incarnation: [7; 16], ..recorded.clone() };
    meet(&mut acceptor, &next, now);
    assert_eq!(acceptor.incarnation(), [7; 16]);
    assert!(!acceptor.confirmed(&played, Some(played.welcome.challenge), now), "a live session is there by now");
    assert_eq!((acceptor.incarnation(), acceptor.state()), ([7; 16], State::Up));
    assert_eq!(refusal(acceptor.greeted(&recorded, now)), Some(RefusalReason::Tie), "it was answered before");
    let other = Hello { incarnation: [8; 16], ..recorded };
    assert_eq!(refusal(acceptor.greeted(&other, now)), Some(RefusalReason::AlreadyConnected), "the next has confirmed");
}

/// A server that was stopped for a while finds connections in its backlog whose dialers have given up. Its application
/// is told of neither their beginning nor their end.
#[test]
fn an_accepted_link_is_up_for_the_application_when_the_dialer_has_shown_that_it_is_there() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut acceptor, mut dialer) = (link(200, 100), link(100, 200));
    let late = dial(&mut dialer);
    acceptor.greeted(&late, at(2)).expect("welcomed");
    acceptor.unconfirmed(at(2));
    assert_eq!((acceptor.take_notices(), acceptor.state()), (vec![], State::Idle));
    // The application is not told either when the next connection replaces this one.
    dialer.dial_failed(at(2));
    for seconds in [4, 6] {
        let hello = dial_at(&mut dialer, at(seconds));
        let welcome = acceptor.greeted(&hello, at(seconds)).expect("welcomed");
        assert_eq!(acceptor.take_notices(), []);
        if seconds == 4 {
            dialer.dial_failed(at(5));
            continue;
        }
        assert!(dialer.welcomed(&welcome.welcome, at(6)));
        assert_eq!(dialer.take_notices(), [Notice::Up { incarnation: [200; 16] }]);
        confirm(&mut acceptor, &welcome, at(6));
    }
    assert_eq!(acceptor.take_notices(), [Notice::Up { incarnation: [100; 16] }]);
    acceptor.lost(DownReason::Closed, at(7));
    assert_eq!(acceptor.take_notices(), [Notice::Down { reason: DownReason::Closed }]);
    // The application is told of a restart at the first Confirm, even if an earlier connection has announced the
    // incarnation.
    for (greeting, seconds) in [(1, 8), (2, 9)] {
        let hello = Hello { incarnation: [7; 16], greeting, ..late.clone() };
        let welcome = acceptor.greeted(&hello, at(seconds)).expect("welcomed");
        assert_eq!(acceptor.take_notices(), []);
        match greeting {
            1 => acceptor.unconfirmed(at(seconds)),
            _ => confirm(&mut acceptor, &welcome, at(seconds)),
        }
    }
    let incarnation = [7; 16];
    assert_eq!(acceptor.take_notices(), [Notice::Restarted { incarnation }, Notice::Up { incarnation }]);
}

/// Found by the simulator: the peer was removed and added again, and its first greeting arrived late. The new link
/// believed it, and from then on the greetings of the two sides contradicted each other.
#[test]
fn a_late_greeting_is_refused_when_the_peer_was_removed_and_added_again() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut before, mut dialer) = (link(200, 100), link(100, 200));
    let late = dial(&mut dialer);
    dialer.dial_failed(at(2));
    let second = dial_at(&mut dialer, at(4));
    meet(&mut before, &second, at(4));
    let mut again = link(200, 100);
    again.greet_after(before.into_earlier());
    assert_eq!(refusal(again.greeted(&late, at(6))), Some(RefusalReason::Tie));
    dialer.dial_failed(at(7));
    assert_eq!(refusal(again.greeted(&dial_at(&mut dialer, at(9)), at(9))), None);
}

/// Regression: envelopes that had arrived before the removal without an acknowledgement were delivered a second time.
#[test]
fn a_peer_that_was_removed_and_added_again_goes_on_where_its_streams_have_come() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let hello = Hello { sending: vec![Sending::new(4, 0)], ..dial(&mut link(100, 200)) };
    let mut receiver = link(200, 100);
    meet(&mut receiver, &hello, at(1));
    let mut data = SegmentHeader::new(Kind::Data);
    data.stream = 4.into();
    let delivery = receiver.receive(&data, FrameHeader::new(0, 5).as_bytes(), at(1)).unwrap().unwrap();
    for removal in 2..4 {
        let mut again = link(200, 100);
        again.greet_after(receiver.into_earlier());
        receiver = again;
        // The positions also survive a second removal before the next session, and are stated by either side's dial.
        if removal == 3 {
            let greeting = receiver.connected(at(3));
            assert_eq!((received(&greeting), greeting.known_incarnation), (vec![(4, 16)], [100; 16]));
            receiver.dial_failed(at(3));
        }
    }
    let next = Hello { greeting: 2, known_incarnation: [200; 16], ..hello };
    let welcome = receiver.greeted(&next, at(4)).expect("welcomed");
    assert_eq!(received(&welcome.welcome), [(4, 16)]);
    assert_eq!(receiver.account().bytes_unread, 16);
    delivery.stream.consume(delivery.room, 1, 0);
    assert_eq!(receiver.account().bytes_unread, 0);
}

/// Found by `ci/fuzz-run link`: a stream with the number `NO_STREAM` was opened, and acknowledged as no stream.
#[test]
fn a_greeting_with_a_stream_that_cannot_be_is_refused() {
    for entry in [Sending::new(NO_STREAM, 4096), Sending::new(0, 4097)] {
        assert!(!makes_sense(&Hello { sending: vec![entry], ..dial(&mut link(200, 100)) }));
    }
}

/// Returns the positions that a greeting states for incoming streams.
fn received(welcome: &Hello) -> Vec<(u32, u64)> {
    welcome.receiving.iter().map(|entry| (entry.stream.get(), entry.position.get())).collect()
}

/// A proxy passes a greeting that was meant for a receiver to its successor. It states a position that the sender has
/// left behind since. Both sides refused each other from then on.
#[test]
fn a_greeting_that_was_meant_for_a_predecessor_is_left_behind() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut acceptor, dialer) = (link(200, 100), dial(&mut link(100, 200)));
    let late = Hello { greeting: 1, sending: vec![Sending::new(4, 80)], ..dialer.clone() };
    let welcome = acceptor.greeted(&late, at(1)).expect("welcomed");
    assert_eq!(received(&welcome.welcome), [(4, 80)]);
    acceptor.unconfirmed(at(1));
    let next = Hello { greeting: 2, sending: vec![Sending::new(4, 160)], ..dialer.clone() };
    assert_eq!(received(&meet(&mut acceptor, &next, at(2))), [(4, 160)]);
    // Once bytes were received, the sender cannot claim a later position: then both sides begin anew.
    let mut data = SegmentHeader::new(Kind::Data);
    (data.stream, data.position) = (4.into(), 160.into());
    assert!(acceptor.receive(&data, FrameHeader::new(0, 5).as_bytes(), at(2)).is_ok());
    acceptor.take_notices();
    let ahead = Hello { greeting: 3, sending: vec![Sending::new(4, 240)], known_incarnation: [200; 16], ..dialer };
    let welcome = meet(&mut acceptor, &ahead, at(3));
    assert_eq!((received(&welcome), welcome.known_incarnation), (vec![], [0; 16]));
    let notices = acceptor.take_notices();
    assert_eq!(notices.iter().filter(|notice| **notice == Notice::Reset).count(), 1, "{notices:?}");
    data.position = 240.into();
    assert!(acceptor.receive(&data, FrameHeader::new(0, 5).as_bytes(), at(3)).is_ok());
}

/// Regression: when positions contradicted each other, both sides refused for ever.
#[test]
fn an_answer_that_cannot_be_true_makes_both_begin_anew() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut dialer, mut acceptor) = (link(100, 200), link(200, 100));
    let (mut writer, reader) = crate::stream::stream(4, 1 << 16, 0).unwrap();
    dialer.open(reader);
    writer.push(1, &crate::payload::Body::from(&b"a message"[..])).expect("there is room");
    let welcome = acceptor.greeted(&dial(&mut dialer), at(1)).expect("welcomed");
    // Another process has impersonated the dialer.
    let receiving = vec![crate::wire::Receiving::new(4, 1 << 20)];
    let lie = Hello { receiving, known_incarnation: [100; 16], ..welcome.welcome };
    assert!(!dialer.welcomed(&lie, at(1)));
    let hello = dial_at(&mut dialer, at(3));
    assert_eq!((hello.known_incarnation, received(&hello)), ([0; 16], vec![]));
    let welcome = acceptor.greeted(&hello, at(3)).expect("welcomed");
    assert!(dialer.welcomed(&welcome.welcome, at(3)));
    assert_eq!(dialer.take_notices(), [Notice::Reset, Notice::Up { incarnation: [200; 16] }]);
    let hello = dialer.connected(at(4));
    assert_eq!(hello.known_incarnation, [200; 16], "once is enough");
}

/// A machine that is restored from a snapshot counts its greetings from an earlier number on.
#[test]
fn a_peer_that_has_lost_count_is_refused_a_few_times_alone() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut acceptor, first) = (link(200, 100), dial(&mut link(100, 200)));
    meet(&mut acceptor, &Hello { greeting: 50, ..first.clone() }, at(1));
    for greeting in 1..10 {
        let verdict = acceptor.greeted(&Hello { greeting, ..first.clone() }, at(1));
        assert_eq!(refusal(verdict), Some(RefusalReason::Tie), "the session is alive");
    }
    acceptor.lost(DownReason::Closed, at(2));
    meet(&mut acceptor, &Hello { greeting: 60, ..first.clone() }, at(3));
    acceptor.lost(DownReason::Closed, at(3));
    let verdicts = (4..9).map(|second| {
        let hello = Hello { greeting: second as u32, ..first.clone() };
        refusal(acceptor.greeted(&hello, at(second)))
    });
    let tie = Some(RefusalReason::Tie);
    assert_eq!(verdicts.take(4).collect::<Vec<_>>(), [tie, tie, tie, None]);
}

/// Regression: an incarnation that another one had replaced was refused for ever, even if it was the live one.
#[test]
fn an_incarnation_that_was_replaced_comes_back_when_it_shows_that_it_lives() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let (mut acceptor, first) = (link(200, 100), dial(&mut link(100, 200)));
    for (number, life) in [1, 2, 1, 2].into_iter().enumerate() {
        let hello = Hello { incarnation: [life; 16], greeting: number as u32 + 1, ..first.clone() };
        let now = at(10 * (number as u64 + 1));
        meet(&mut acceptor, &hello, now);
        assert!(acceptor.take_notices().contains(&Notice::Up { incarnation: [life; 16] }));
        let other = Hello { incarnation: [3; 16], ..hello };
        assert_eq!(refusal(acceptor.greeted(&other, now)), Some(RefusalReason::AlreadyConnected), "while it is heard");
    }
}

/// The greeting of a process that died before its first session arrives while its successor is silent for a moment. It
/// was taken for another restart, and the successor for its predecessor ever after.
#[test]
fn an_incarnation_that_does_not_show_that_it_is_there_replaces_nobody() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let mut acceptor = link(200, 100);
    let alive = Hello { sending: vec![Sending::new(4, 0)], ..dial(&mut link(100, 200)) };
    meet(&mut acceptor, &alive, at(1));
    let mut data = SegmentHeader::new(Kind::Data);
    data.stream = 4.into();
    assert!(acceptor.receive(&data, FrameHeader::new(0, 5).as_bytes(), at(1)).is_ok());
    acceptor.take_notices();
    let dead = Hello { incarnation: [7; 16], sending: Vec::new(), ..alive.clone() };
    assert_eq!(refusal(acceptor.greeted(&dead, at(3))), None);
    // The live incarnation returns while the other one's connection is not known to be dead.
    let again = Hello { greeting: alive.greeting + 1, known_incarnation: [200; 16], ..alive };
    let welcome = meet(&mut acceptor, &again, at(3));
    assert_eq!((received(&welcome), welcome.known_incarnation), (vec![(4, 16)], [100; 16]));
    let up = Notice::Up { incarnation: [100; 16] };
    assert_eq!(acceptor.take_notices(), [Notice::Down { reason: DownReason::Closed }, up]);
}

/// Unread envelopes are at most a window, whatever a peer does. The peer is never refused because of them, and sends
/// when there is room.
#[test]
fn a_peer_that_is_restarted_again_and_again_does_not_fill_an_inbox_that_nobody_reads() {
    let mut acceptor = link(200, 100);
    let first = dial(&mut link(100, 200));
    let mut inbox = Vec::new();
    for life in 1..10u8 {
        let now = Time::default() + Duration::from_secs(3 * u64::from(life));
        let hello = Hello { incarnation: [life; 16], ..first.clone() };
        let welcome = meet(&mut acceptor, &hello, now);
        assert_eq!(welcome.credit[0], NORMAL - acceptor.account().bytes_unread);
        fill(&mut acceptor, (4, 0), &mut inbox, now);
    }
    assert_eq!(acceptor.account().bytes_unread, NORMAL);
    for delivery in &inbox {
        delivery.stream.consume(delivery.room, 1, 0);
    }
    let hello = Hello { incarnation: [20; 16], ..first };
    let welcome = meet(&mut acceptor, &hello, Time::default() + Duration::from_secs(100));
    assert_eq!(welcome.credit, windows());
}

/// Window of the normal lane in bytes.
const NORMAL: u64 = 128 * 1024 - LEAST_WINDOW;
const FRAME: u64 = 16 * 1024;

/// Windows of all lanes in bytes.
fn windows() -> [u64; Lane::COUNT] {
    Lane::ALL.map(|lane| if lane == Lane::Normal { NORMAL } else { LEAST_WINDOW })
}

/// Sends 64 KiB on a stream from `position` on, or as much as there is credit for. Returns the position behind them.
fn fill(link: &mut Link, (stream, mut position): (u32, u64), inbox: &mut Vec<Delivery>, now: Time) -> u64 {
    let frame = [FrameHeader::new(FRAME as u32 - 16, 0).as_bytes(), &[0; FRAME as usize - 16]].concat();
    for _ in 0..4 {
        let mut data = SegmentHeader::new(Kind::Data);
        (data.stream, data.position) = (stream.into(), position.into());
        match link.receive(&data, &frame, now) {
            Ok(delivery) => inbox.extend(delivery),
            Err(violation) => {
                assert_eq!(violation, Violation::Credit { stream, bytes: FRAME, credit: 0 });
                break;
            }
        }
        position += FRAME;
    }
    position
}

/// Regression: the replay of a recorded connection to a restarted server delivered everything once more.
#[test]
fn a_recorded_connection_that_is_played_again_delivers_nothing() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let hello = Hello { sending: vec![Sending::new(4, 0)], ..dial(&mut link(100, 200)) };
    let mut data = SegmentHeader::new(Kind::Data);
    data.stream = 4.into();
    let frame = FrameHeader::new(0, 5);
    let mut challenges = Vec::new();
    for life in 1..4u64 {
        let mut local = local(200);
        (local.incarnation, local.secret) = ([life as u8; 16], life);
        let mut acceptor = Link::new(Arc::new(local), 100);
        let welcome = acceptor.greeted(&hello, at(1)).expect("welcomed");
        let played = challenges.first().copied().unwrap_or(welcome.welcome.challenge);
        assert_eq!(acceptor.confirmed(&welcome, Some(played), at(1)), life == 1);
        assert_eq!(acceptor.receive(&data, frame.as_bytes(), at(1)).is_ok(), life == 1);
        assert_eq!(acceptor.take_notices().is_empty(), life != 1);
        challenges.push(welcome.welcome.challenge);
    }
    challenges.dedup();
    assert_eq!(challenges.len(), 3);
}

#[test]
fn a_greeting_that_contradicts_itself_is_refused() {
    let hello = dial(&mut link(100, 200));
    let twice = Sending::new(4, 0);
    let receiving = crate::wire::Receiving::new(4, 0);
    for malformed in [
        Hello { incarnation: [0; 16], ..hello.clone() },
        Hello { credit: [u64::MAX; Lane::COUNT], ..hello.clone() },
        Hello { sending: vec![twice, Sending::new(6, 0), twice], ..hello.clone() },
        Hello { receiving: vec![receiving, receiving], ..hello.clone() },
    ] {
        assert!(!makes_sense(&malformed), "{malformed:?}");
    }
    assert!(makes_sense(&hello));
}

/// The streams of a peer that is removed and added again and again continue, and fill no more than a window.
#[test]
fn a_peer_that_is_removed_again_and_again_does_not_fill_an_inbox_that_nobody_reads() {
    let mut receiver = link(200, 100);
    let first = dial(&mut link(100, 200));
    let (mut inbox, mut position) = (Vec::new(), 0);
    for greeting in 1..10 {
        let now = Time::default() + Duration::from_secs(3 * u64::from(greeting));
        let sending = vec![Sending::new(4, position)];
        let hello = Hello { greeting, sending, known_incarnation: [200; 16], ..first.clone() };
        meet(&mut receiver, &hello, now);
        position = fill(&mut receiver, (4, position), &mut inbox, now);
        let mut again = link(200, 100);
        again.greet_after(receiver.into_earlier());
        receiver = again;
    }
    assert_eq!((position, receiver.account().bytes_unread), (NORMAL, NORMAL));
    for delivery in &inbox {
        delivery.stream.consume(delivery.room, 1, 0);
    }
    let hello = Hello { greeting: 20, sending: vec![Sending::new(4, position)], ..first };
    let welcome = meet(&mut receiver, &hello, Time::default() + Duration::from_secs(100));
    assert_eq!((received(&welcome), welcome.credit), (vec![(4, position)], windows()));
}

/// Found by the simulator: the Confirm of an older connection arrived after the next Hello, or after the session with a
/// successor. The link went back to the predecessor, or the dialer counted envelopes as dropped that arrived.
#[test]
fn a_dialer_that_was_welcomed_again_or_replaced_cannot_confirm_the_older_welcome() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let mut acceptor = link(200, 100);
    let hello = dial(&mut link(100, 200));
    let first = acceptor.greeted(&hello, at(1)).expect("welcomed");
    let again = Hello { greeting: hello.greeting + 1, ..hello.clone() };
    let second = acceptor.greeted(&again, at(2)).expect("welcomed");
    assert!(!acceptor.confirmed(&first, Some(first.welcome.challenge), at(2)), "its dialer has dialed again");
    let successor = Hello { incarnation: [7; 16], ..hello };
    meet(&mut acceptor, &successor, at(3));
    acceptor.lost(DownReason::Closed, at(3));
    assert!(!acceptor.confirmed(&second, Some(second.welcome.challenge), at(5)), "its dialer has a successor");
    assert_eq!(acceptor.incarnation(), [7; 16]);
}

/// Found by the simulator: a stream had begun at the position that the Welcome has listed, and the predecessor of its
/// receiver acknowledged more after that. The next greeting seemed to contradict it.
#[test]
fn a_stream_of_which_nothing_has_arrived_may_be_listed_further_on() {
    let at = |seconds| Time::default() + Duration::from_secs(seconds);
    let mut receiver = link(200, 100);
    let hello = Hello { sending: vec![Sending::new(4, 80)], ..dial(&mut link(100, 200)) };
    meet(&mut receiver, &hello, at(1));
    receiver.lost(DownReason::Closed, at(1));
    let sending = vec![Sending::new(4, 160)];
    let next = Hello { greeting: 2, sending, known_incarnation: [200; 16], ..hello };
    let welcome = meet(&mut receiver, &next, at(2));
    assert_eq!((welcome.known_incarnation, received(&welcome)), ([100; 16], vec![(4, 160)]));
    assert!(!receiver.take_notices().contains(&Notice::Reset));
}
