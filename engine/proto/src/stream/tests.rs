//! Tests of a stream against a model of its bytes, and of acknowledgements that must be refused.

mod model;

use crate::payload::Body;

use super::{AckError, DropPolicy, Dropped, SendWindow, Taken, Ticket, TicketState, stream};
use crate::testing::part_bytes;
use crate::time::Time;
use crate::wire::{FIRST, FRAGMENT, Frames, LAST, frame_bytes};

/// Stand-in for the flags of a gap.
const SKIP: u16 = u16::MAX;

const ROOM: u64 = 1 << 20;
const NO_ROOM: u64 = 0;

fn taken(reader: &mut SendWindow) -> Vec<(u64, u64, u16)> {
    taken_into(reader, ROOM)
}

fn taken_into(reader: &mut SendWindow, room: u64) -> Vec<(u64, u64, u16)> {
    let written = reader.written();
    let taken = std::iter::from_fn(|| reader.take(written, Time::default(), room));
    let described = taken.map(|taken| match taken {
        Taken::Data(extent) => (extent.from, extent.to, extent.flags),
        Taken::Skip { from, to } => (from, to, SKIP),
    });
    described.collect()
}

/// Regression, found by the simulation of two links. The ring need not know the boundary in front of an envelope by
/// reference, and sending stopped there.
#[test]
fn a_short_frame_in_front_of_one_by_reference_is_sent() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    reader.restart();
    writer.push(1, &Body::from(b"short")).expect("room");
    writer.push(2, &Body::from(vec![7; 20_000])).expect("room");
    writer.push(3, &Body::from(b"behind")).expect("room");
    let behind = 24 + frame_bytes(20_000) as u64;
    assert_eq!(taken(&mut reader), [(0, 24, 0), (24, behind, 0), (behind, behind + 24, 0)]);
}

#[test]
fn what_is_stale_is_skipped_and_what_was_lost_is_not_sent_again() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    reader.restart();
    let stale = DropPolicy { expires: Some(Time::default()), ..DropPolicy::default() };
    let heartbeat = DropPolicy { best_effort: true, ..DropPolicy::default() };
    let body = Body::from(&[7; 8]);
    writer.push(1, &body).expect("room");
    writer.push_droppable(2, &body, stale).expect("room");
    writer.push_droppable(3, &body, stale).expect("room");
    writer.push_droppable(4, &body, heartbeat).expect("room");
    writer.push_droppable(5, &Body::from(vec![7; 100_000]), heartbeat).expect("room");
    writer.push(6, &body).expect("room");
    let (large, end) = (96 + 16 + 100_000, 96 + 16 + 100_000 + 24);
    let cut = 96 + 66_560;
    let whole = [(0, 24, 0), (24, 72, SKIP), (72, 96, 0), (96, cut, FRAGMENT | FIRST), (cut, large, FRAGMENT | LAST)];
    assert_eq!(taken(&mut reader), [&whole[..], &[(large, end, 0)]].concat());
    assert_eq!(reader.dropped(), Dropped { expired: 2, ..Dropped::default() });
    assert_eq!(reader.unacknowledged(), (4, 8 + 8 + 100_000 + 8));

    // The connection is lost inside the large envelope: best-effort envelopes are dropped, the others are sent again.
    reader.resume(cut);
    assert_eq!(taken(&mut reader), [(cut, large, SKIP), (large, end, 0)]);
    assert_eq!(reader.dropped(), Dropped { expired: 2, best_effort: 1, ..Dropped::default() });
    reader.resume(24);
    assert_eq!(taken(&mut reader), [(24, large, SKIP), (large, end, 0)]);
    assert_eq!(reader.dropped(), Dropped { expired: 2, best_effort: 2, ..Dropped::default() }, "none is counted twice");
    assert_eq!(reader.acknowledge(end), Ok(()));
    assert!(reader.is_drained());
    assert_eq!(reader.unacknowledged(), (0, 0));
}

#[test]
fn what_is_withdrawn_before_it_is_sent_is_skipped() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    reader.restart();
    let body = Body::from(&[7; 8]);
    let tickets: [Ticket; 4] = Default::default();
    let mut push = |ticket: &Ticket| {
        writer.push_with_ticket(1, &body, DropPolicy::default(), Some(ticket.clone())).expect("room");
    };
    tickets[..3].iter().for_each(&mut push);
    let states = || tickets.each_ref().map(Ticket::state);
    // Without credit for it, nothing is sent, and all can be withdrawn.
    assert_eq!(taken_into(&mut reader, NO_ROOM), []);
    assert_eq!(states(), [TicketState::Queued; 4]);
    assert!(tickets[1].withdraw());
    assert_eq!(taken(&mut reader), [(0, 24, 0), (24, 48, SKIP), (48, 72, 0)]);
    push(&tickets[3]);
    assert_eq!(states(), [TicketState::Sent, TicketState::Withdrawn, TicketState::Sent, TicketState::Queued]);
    assert_eq!([0, 2, 3].map(|index: usize| tickets[index].withdraw()), [false, false, true]);
    assert_eq!(reader.dropped(), Dropped { withdrawn: 1, ..Dropped::default() });

    // A new connection: the sent ones are sent again, the others are not.
    reader.restart();
    assert_eq!(taken(&mut reader), [(0, 24, 0), (24, 48, SKIP), (48, 72, 0), (72, 96, SKIP)]);
    assert_eq!(reader.dropped(), Dropped { withdrawn: 2, ..Dropped::default() }, "each is counted once");
    assert_eq!(reader.unacknowledged(), (2, 16));
}

/// Withdraws envelopes while the link sends them: each is either sent, or was withdrawn, and its ticket knows.
#[test]
fn a_withdrawal_beside_the_link_is_exact() {
    const ENVELOPES: usize = 20_000;
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    reader.restart();
    let (tell, told) = std::sync::mpsc::channel::<Ticket>();
    let withdrawing = std::thread::spawn(move || told.into_iter().filter(Ticket::withdraw).count());
    let (mut tickets, mut sent) = (Vec::new(), Vec::new());
    while tickets.len() < ENVELOPES || !reader.is_drained() {
        for _ in 0..7 {
            let ticket = Ticket::default();
            let (id, body) = (tickets.len() as i64, Body::from(&[7; 8]));
            if tickets.len() < ENVELOPES
                && writer.push_with_ticket(id, &body, DropPolicy::default(), Some(ticket.clone())).is_ok()
            {
                tell.send(ticket.clone()).expect("the thread listens");
                tickets.push(ticket);
            }
        }
        let written = reader.written();
        while let Some(taken) = reader.take(written, Time::default(), ROOM) {
            if let Taken::Data(extent) = taken {
                let bytes = reader.slices(&extent).concat();
                sent.extend(Frames::new(&bytes).map(|frame| frame.expect("whole frames").id));
            }
        }
        let position = reader.sent();
        assert_eq!(reader.acknowledge(position), Ok(()));
    }
    drop(tell);
    let withdrawn = withdrawing.join().unwrap();
    let was_sent = (0..).zip(&tickets).filter(|(_, ticket)| ticket.state() == TicketState::Sent);
    assert_eq!(sent, was_sent.map(|(id, _)| id).collect::<Vec<i64>>());
    assert_eq!((sent.len() + withdrawn, reader.dropped().withdrawn), (ENVELOPES, withdrawn as u64));
}

/// Checks that a withdrawn envelope frees its room without a connection.
#[test]
fn what_is_withdrawn_without_a_connection_is_given_up() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    let ticket = Ticket::default();
    writer.push_with_ticket(1, &Body::from(&[7; 8]), DropPolicy::default(), Some(ticket.clone())).expect("room");
    reader.give_up_stale(Time::default());
    assert_eq!((reader.held(), reader.dropped()), (24, Dropped::default()));
    assert!(ticket.withdraw());
    reader.give_up_stale(Time::default());
    assert_eq!((reader.held(), reader.dropped()), (0, Dropped { withdrawn: 1, ..Dropped::default() }));
}

#[test]
fn what_is_for_one_incarnation_is_not_sent_to_another() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    reader.restart();
    reader.set_incarnation([1; 16]);
    let only = |run| DropPolicy { only: Some([run; 16]), ..DropPolicy::default() };
    let body = Body::from(&[7; 8]);
    for (id, policy) in [(1, only(1)), (2, only(2)), (3, only(1))] {
        writer.push_droppable(id, &body, policy).expect("room");
    }
    writer.push_droppable(4, &Body::from(vec![7; 100_000]), only(1)).expect("room");
    writer.push(5, &body).expect("room");
    let (large, end) = (72 + 16 + 100_000, 72 + 16 + 100_000 + 24);
    let cut = 72 + 66_560;
    let fragments = [(72, cut, FRAGMENT | FIRST), (cut, large, FRAGMENT | LAST), (large, end, 0)];
    let first = [(0, 24, 0), (24, 48, SKIP), (48, 72, 0)];
    assert_eq!(taken(&mut reader), [&first[..], &fragments].concat());
    assert_eq!(reader.dropped(), Dropped { other_incarnation: 1, ..Dropped::default() });
    assert_eq!(
        (reader.only_for(48), reader.only_for(24), reader.only_for(large)),
        (Some([1; 16]), Some([2; 16]), None)
    );

    // The same incarnation on another connection: it has the first envelope, and the rest is sent again.
    assert_eq!(reader.acknowledge(24), Ok(()));
    reader.resume(48);
    reader.set_incarnation([1; 16]);
    assert_eq!(taken(&mut reader), [&first[2..], &fragments].concat());

    // Another incarnation gets none of them.
    reader.restart();
    reader.set_incarnation([3; 16]);
    assert_eq!(taken(&mut reader), [(24, large, SKIP), (large, end, 0)]);
    assert_eq!(reader.dropped(), Dropped { other_incarnation: 3, ..Dropped::default() });
    assert_eq!(reader.unacknowledged(), (1, 8));
}

/// Checks that a gap needs no credit, so that expired envelopes do not block the others.
#[test]
fn what_waits_for_credit_is_dropped_when_it_expires() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    reader.restart();
    let expires = Time::default() + std::time::Duration::from_secs(1);
    let body = Body::from(&[7; 8]);
    writer.push(1, &body).expect("room");
    assert_eq!(taken(&mut reader), [(0, 24, 0)]);
    writer.push_droppable(2, &body, DropPolicy { expires: Some(expires), ..DropPolicy::default() }).expect("room");
    assert_eq!(taken_into(&mut reader, NO_ROOM), []);
    assert!(reader.is_starved());
    assert_eq!(reader.next_expiry(), Some(expires));
    let written = reader.written();
    assert_eq!(reader.take(written, expires, NO_ROOM), Some(Taken::Skip { from: 24, to: 48 }));
    assert_eq!(
        (reader.take(written, expires, NO_ROOM), reader.is_starved(), reader.next_expiry()),
        (None, false, None)
    );
}

#[test]
fn an_envelope_longer_than_a_segment_is_sent_in_fragments() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    reader.restart();
    writer.push(1, &Body::from(vec![7; 150_000])).expect("room");
    let (first, end) = (66_560, frame_bytes(150_000) as u64);
    let fragments = [(0, first, FRAGMENT | FIRST), (first, 2 * first, FRAGMENT), (2 * first, end, FRAGMENT | LAST)];
    assert_eq!(taken(&mut reader), fragments);
}

/// Checks that only the first fragment of a frame needs room.
#[test]
fn a_frame_that_was_sent_in_part_goes_on_without_room() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    reader.restart();
    writer.push(1, &Body::from(vec![7; 150_000])).expect("room");
    writer.push(2, &Body::from(b"behind")).expect("room");
    let written = reader.written();
    let mut take = |room| reader.take(written, Time::default(), room);
    assert_eq!(take(4088), None);
    let extent = |taken| match taken {
        Some(Taken::Data(extent)) => (extent.from, extent.to, extent.flags),
        other => panic!("{other:?}"),
    };
    let end = frame_bytes(150_000) as u64;
    assert_eq!(extent(take(4100)), (0, 4096, FRAGMENT | FIRST));
    assert_eq!(extent(take(0)), (4096, 4096 + 66_560, FRAGMENT));
    assert_eq!(extent(take(0)), (4096 + 66_560, 4096 + 2 * 66_560, FRAGMENT));
    assert_eq!(extent(take(0)), (4096 + 2 * 66_560, end, FRAGMENT | LAST));
    assert_eq!(take(0), None, "the next frame needs room");
    assert_eq!(extent(take(24)), (end, end + 24, 0));
}

#[test]
fn what_is_acknowledged_ends_with_a_frame_however_it_was_sent() {
    let (mut writer, mut reader) = stream(0, 256 * 1024, 1 << 20).unwrap();
    reader.restart();
    // The first 3000, more than are remembered, in a segment each; the others in one.
    for id in 0..4000 {
        writer.push(id, &Body::from(b"eight...")).expect("room");
        if id < 3000 {
            taken(&mut reader);
        }
    }
    taken(&mut reader);
    let frame = 24;
    for number in [1, 2, 500, 1024, 1025, 2000, 2999, 3000, 3001, 3999] {
        let (begin, end) = ((number - 1) * frame, number * frame);
        for position in [begin + 8, begin + 16] {
            assert_eq!(reader.acknowledge(position), Err(AckError { position, sent: 4000 * frame }));
            assert!(!reader.can_resume(position));
        }
        assert!(reader.can_resume(end));
        assert_eq!(reader.acknowledge(end), Ok(()));
        assert_eq!(reader.unacknowledged().0, 4000 - number);
    }
}

#[test]
fn a_stream_resumes_inside_a_payload_but_not_inside_a_frame_header() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    reader.restart();
    writer.push(1, &Body::from(vec![7; 100_000])).expect("room");
    taken(&mut reader);
    for position in [8, 16, 28] {
        assert!(!reader.can_resume(position), "{position}: the first fragment holds the header and 8 bytes");
    }
    for position in [0, 24, 4096, frame_bytes(100_000) as u64] {
        assert!(reader.can_resume(position), "{position}");
    }
}

#[test]
fn acknowledgements_that_cannot_be_right_change_nothing() {
    let (mut writer, mut reader) = stream(0, 64 * 1024, 1 << 20).unwrap();
    reader.restart();
    writer.push(1, &Body::from(b"short")).expect("room");
    writer.push(2, &Body::from(vec![7; 100_000])).expect("room");
    let end = 24 + frame_bytes(100_000) as u64;
    assert_eq!(reader.acknowledge(24), Err(AckError { position: 24, sent: 0 }), "nothing is sent yet");
    taken(&mut reader);
    for position in [23, 25, 32, 40, 66_560, end - 8, end - 1, end + 8, u64::MAX - 7, u64::MAX] {
        assert_eq!(reader.acknowledge(position), Err(AckError { position, sent: end }));
        assert_eq!((reader.acked(), reader.unacknowledged()), (0, (2, 100_005)));
    }
    assert_eq!(reader.acknowledge(24), Ok(()));
    assert_eq!(reader.acknowledge(0), Ok(()), "an old one is no error");
    assert_eq!((reader.acked(), reader.unacknowledged()), (24, (1, 100_000)));
    assert_eq!(reader.acknowledge(end), Ok(()));
    assert!(reader.is_drained());
    assert_eq!(reader.unacknowledged(), (0, 0));
}
