//! Events and states of peers, also for a program that reads its events late.

use std::time::Duration;

use cluster::{Config, Connect, DownReason, DropReason, Envelope, Event, LinkState, PeerState, Server};

use super::{Factory, running, same};
use crate::support::{await_event, eventually, receive, send};

/// Lets time pass and the loop turn, on any kind of server. Its inbox has to be empty.
fn pass(server: &mut impl Server) {
    assert!(server.inbox().recv_timeout(Duration::from_millis(2)).is_err());
}

fn await_link(server: &mut impl Server, pid: u64, wanted: impl Fn(&LinkState) -> bool) -> PeerState {
    eventually("the state of the link", || {
        pass(server);
        server.peer_state(pid).filter(|state| wanted(&state.link))
    })
}

pub(super) fn the_state_of_a_peer_can_be_asked_for<F: Factory>() {
    let mut factory = F::new(&[1, 2], |config| config.with_connect(Connect::Eager));
    let mut one = factory.start(1).unwrap();
    assert_eq!((one.peer_state(1), one.peer_state(9)), (None, None), "no peers");
    await_link(&mut one, 2, |link| *link == LinkState::Connecting);
    for run in 0..2 {
        let mut two = factory.start(2).unwrap();
        let up = await_link(&mut one, 2, |link| matches!(link, LinkState::Up { .. }));
        let seen = await_event(one.events(), "link", |event| matches!(event, Event::Up { .. }));
        let Some(Event::Up { pid: 2, incarnation }) = seen.last() else { panic!("{seen:?}") };
        assert_eq!(up.link, LinkState::Up { incarnation: *incarnation }, "run {run}");
        await_link(&mut two, 1, |link| matches!(link, LinkState::Up { .. }));
        let later = eventually("time", || {
            pass(&mut one);
            one.peer_state(2).filter(|state| state.elapsed > up.elapsed)
        });
        assert_eq!(later.link, up.link);
        two.stop().unwrap();
        assert_eq!(two.peer_state(1), None, "it has stopped");
        let down = await_link(&mut one, 2, |link| matches!(link, LinkState::Down { .. }));
        assert_eq!(down.link, LinkState::Down { reason: DownReason::Stopped });
    }
    one.remove_peer(2).unwrap();
    assert_eq!(one.peer_state(2), None);
    one.add_peer(2, "127.0.0.1:9").unwrap();
    assert!(one.peer_state(2).is_some());
    one.stop().unwrap();
    assert_eq!(one.peer_state(2), None, "this one has stopped");
}

/// Regression: a program whose envelopes to a slow peer expired got an event for each batch of them.
pub(super) fn drops_are_told_together<F: Factory>() {
    let (_factory, [mut one, mut two]) =
        running::<F, 2>(|config| config.with_inbox_bytes(Config::MIN_INBOX_BYTES).with_connect(Connect::Eager));
    send(one.outbox(), Envelope::to(2).body("a link"));
    receive(two.inbox());
    let dropped = |server: &F::Server| server.stats()[0].dropped_expired;
    let (mut sent, mut received) = (0, 0);
    for _ in 0..8 {
        let before = dropped(&one);
        // More than the inbox takes. The rest expires before there is room again.
        for _ in 0..250 {
            send(one.outbox(), Envelope::to(2).body(vec![0; 1000]).ttl(Duration::from_millis(10)));
            sent += 1;
        }
        (0..10).for_each(|_| pass(&mut one));
        eventually("the account", || {
            pass(&mut one);
            received += two.inbox().drain(|_| ()) as u64;
            (received + dropped(&one) == sent).then_some(())
        });
        assert!(dropped(&one) > before, "all found room");
    }
    let (mut events, mut sum) = (0, 0);
    eventually("the events", || {
        match one.events().next_timeout(Duration::from_millis(10)) {
            Some(Event::Dropped { pid: 2, count, reason: DropReason::Expired }) => {
                (events, sum) = (events + 1, sum + count)
            }
            Some(event) => assert!(matches!(event, Event::Up { pid: 2, .. }) && events == 0, "{event:?}"),
            None => {}
        }
        (sum == dropped(&one)).then_some(())
    });
    // The second event is for drops that happen while the first one is read.
    assert!(events <= 2, "{events} events of {sum} drops");
    assert_eq!(one.events().missed(), 0);
}

/// A program that reads late learns that it missed events, and then the present state.
pub(super) fn a_program_that_misses_events_reads_the_newest_states<F: Factory>() {
    let (_factory, [mut one, mut two, _three]) = running::<F, 3>(same);
    send(one.outbox(), Envelope::to(2).body("a link"));
    receive(two.inbox());
    await_link(&mut one, 2, |link| matches!(link, LinkState::Up { .. }));
    for _ in 0..600 {
        one.remove_peer(3).unwrap();
        one.add_peer(3, "127.0.0.1:9").unwrap();
    }
    assert!(one.events().missed() > 0, "more than 1,024 events came");
    let mut told = Vec::new();
    eventually("the last event", || {
        pass(&mut one);
        told.extend(std::iter::from_fn(|| one.events().try_next()));
        let last = told.iter().rev().find(|event| matches!(event, Event::Added { .. } | Event::Removed { .. }));
        (last == Some(&Event::Added { pid: 3 })).then_some(())
    });
    let (mut missed, mut others) = (0, 0);
    for event in &told {
        match event {
            Event::Missed { count } => missed += count,
            _ => others += 1,
        }
    }
    assert_eq!(missed, one.events().missed());
    assert!(missed > 0 && (1024..=1024 + 8).contains(&others), "{others} were told, {missed} were missed");
    assert!(matches!(told[..2], [Event::Missed { .. }, Event::Up { pid: 2, .. }]), "{:?}", &told[..3]);
}
