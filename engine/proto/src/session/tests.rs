//! Tests of sessions: refusals and their order, and segments that are not finished.

use zerocopy::IntoBytes;

use super::handshake::CHALLENGE_BYTES;
use super::*;
use crate::link::{Notice, OneLink, Want};
use crate::testing::local;
use crate::wire::{Hello, MAX_HELLO_BYTES, Refusal, WireIncarnation};

const NOW: Time = Time::from_nanos(1_000_000_000);

/// Returns the bytes of a segment.
fn segment(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut header = SegmentHeader::new(kind);
    header.seal(&[payload]);
    [header.as_bytes(), payload].concat()
}

/// Returns the bytes of the handshake that a session sends next.
fn sent(session: &mut Session<()>) -> Vec<u8> {
    let mut batch = Batch::default();
    session.transmit_handshake(&mut batch);
    batch.pieces().iter().fold(Vec::new(), |mut bytes, piece| {
        match piece {
            crate::batch::Piece::Header(index) => bytes.extend_from_slice(batch.header(*index).as_bytes()),
            crate::batch::Piece::Owned(payload) => bytes.extend_from_slice(payload),
            crate::batch::Piece::Part(_) => panic!("a handshake has no envelopes"),
        }
        bytes
    })
}

fn receive(session: &mut Session<()>, links: &mut OneLink, bytes: &[u8]) -> Option<SessionEvent<()>> {
    session.rebase();
    session.receive(bytes, links, NOW)
}

/// Makes a link that dials, with its session, and the Hello that it has sent.
fn dialing(pid: u64, peer: u64) -> (Session<()>, OneLink, Vec<u8>) {
    let mut links = OneLink::new(local(pid), peer);
    links.link.wants(Time::default(), false);
    assert_eq!(links.link.wants(NOW, false), Want::Dial);
    links.link.dials(NOW);
    let mut session = Session::dialing(());
    assert!(session.connected(&mut links, NOW));
    let hello = sent(&mut session);
    (session, links, hello)
}

#[test]
fn a_greeting_is_refused_for_the_first_reason_that_applies() {
    let hello = Hello::decode(&dialing(200, 100).2[SEGMENT_HEADER_BYTES..]).unwrap();
    let wrong = Hello { cluster: "another".to_owned(), to: 7, from: 8, ..hello.clone() };
    let cases = [
        (Hello { incarnation: WireIncarnation::default(), ..wrong.clone() }, RefusalReason::Malformed),
        (wrong.clone(), RefusalReason::WrongCluster),
        (Hello { cluster: hello.cluster.clone(), ..wrong }, RefusalReason::WrongPid),
        (Hello { from: 8, ..hello.clone() }, RefusalReason::UnknownPeer),
        (hello, RefusalReason::Stopping),
    ];
    for (hello, reason) in cases {
        let mut links = OneLink::new(local(100), 200);
        links.link.close(GoodbyeReason::Stopped, &mut Batch::default());
        let mut session = Session::accepted(NOW);
        let event = receive(&mut session, &mut links, &segment(Kind::Hello, &hello.encode()));
        assert!(matches!(event, Some(SessionEvent::Refused)) && session.is_ended(), "{reason:?}");
        let refusal = Refusal::decode(&sent(&mut session)[SEGMENT_HEADER_BYTES..]);
        assert_eq!(refusal, Some(Refusal { reason, from: 100 }));
    }
}

#[test]
fn a_session_is_up_on_both_sides_after_the_confirm() {
    let (mut dialer, mut dialing, hello) = dialing(200, 100);
    let mut accepting = OneLink::new(local(100), 200);
    let mut acceptor = Session::accepted(NOW);
    for cut in [0, 20, SEGMENT_HEADER_BYTES, hello.len() - 1] {
        assert!(receive(&mut acceptor, &mut accepting, &hello[..cut]).is_none(), "{cut} bytes are no segment");
    }
    assert!(matches!(receive(&mut acceptor, &mut accepting, &hello), Some(SessionEvent::Welcomed(()))));
    assert_eq!((acceptor.up(), accepting.link.state()), (None, State::Idle));
    let welcome = sent(&mut acceptor);
    assert!(matches!(receive(&mut dialer, &mut dialing, &welcome), Some(SessionEvent::Established(()))));
    let confirm = sent(&mut dialer);
    assert!(matches!(receive(&mut acceptor, &mut accepting, &confirm), Some(SessionEvent::Established(()))));
    assert_eq!((dialer.up(), acceptor.up()), (Some(()), Some(())));
    assert_eq!(accepting.link.take_notices(), [Notice::Up { incarnation: [200; 16] }]);
    // A Confirm comes once.
    assert!(matches!(receive(&mut acceptor, &mut accepting, &confirm), Some(SessionEvent::Closed(Some(())))));
    assert!(matches!(accepting.link.take_notices()[..], [Notice::Down { reason: DownReason::Violation(_) }]));
}

/// The buffer of a connection that has not confirmed has room for a greeting, and no more.
#[test]
fn a_segment_that_is_too_long_for_a_handshake_is_not_waited_for() {
    let long = |kind, length: usize| segment(kind, &vec![0; length])[..SEGMENT_HEADER_BYTES].to_vec();
    let mut links = OneLink::new(local(100), 200);
    let mut session = Session::accepted(NOW);
    assert!(receive(&mut session, &mut links, &long(Kind::Hello, MAX_HELLO_BYTES)).is_none());
    let event = receive(&mut session, &mut links, &long(Kind::Hello, MAX_HELLO_BYTES + 8));
    assert!(matches!(event, Some(SessionEvent::Refused)));

    let mut session = Session::accepted(NOW);
    assert!(matches!(receive(&mut session, &mut links, &dialing(200, 100).2), Some(SessionEvent::Welcomed(()))));
    assert!(receive(&mut session, &mut links, &long(Kind::Confirm, CHALLENGE_BYTES)).is_none());
    let event = receive(&mut session, &mut links, &long(Kind::Data, CHALLENGE_BYTES + 8));
    assert!(matches!(event, Some(SessionEvent::Closed(Some(())))) && links.link.take_notices().is_empty());
}

#[test]
fn a_dialer_that_was_welcomed_hears_heartbeats_and_is_given_up_after_five_seconds() {
    let mut links = OneLink::new(local(100), 200);
    let mut session = Session::accepted(NOW);
    assert!(matches!(receive(&mut session, &mut links, &dialing(200, 100).2), Some(SessionEvent::Welcomed(()))));
    sent(&mut session);
    let mut heartbeats = 0;
    let (now, end) = loop {
        let now = session.deadline().expect("it is to confirm");
        if let Some(event) = session.timeout(&mut links, now, now) {
            break (now, event);
        }
        heartbeats += usize::from(!sent(&mut session).is_empty());
    };
    assert!(matches!(end, SessionEvent::Closed(Some(()))) && session.is_ended());
    assert_eq!(now.since(NOW), Duration::from_secs(5));
    let interval = local(100).heartbeat_interval.as_millis() as usize;
    assert!((4000 / interval..=5000 / interval).contains(&heartbeats), "{heartbeats}");
}
