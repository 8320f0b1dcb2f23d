//! Connections end and are made anew; peers come late, leave and come back.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Builder, Config, DownReason, Envelope, Event, Neighbours, Node, Server};
use fastrand::Rng;

use crate::proxy::Proxy;
use crate::support::{
    Cluster, assert_alive, assert_same, await_event, connections, eventually, fixed_address, message, random_of_test,
    receive, send, unique_name, without_fallback,
};

#[test]
fn a_peer_that_starts_late_gets_everything_in_order() {
    let mut cluster = Cluster::fixed([1, 2]);
    let mut one = cluster.start(1);
    for id in 0..2000 {
        send(one.outbox(), Envelope::to(2).id(id).body(message(id as u64, id as usize % 300)));
    }
    send(one.outbox(), Envelope::to(2).body(message(9, 200_000)));
    let mut two = cluster.start(2);
    for id in 0..2000 {
        let envelope = receive(two.inbox());
        assert_eq!(envelope.msg_id, id);
        assert_same(&envelope.msg, &message(id as u64, id as usize % 300), "a small one");
    }
    assert_same(&receive(two.inbox()).msg, &message(9, 200_000), "a large one");
    assert_alive(&mut two, &mut one);
}

#[test]
fn a_peer_that_connects_first_gets_what_waited_for_it_at_once() {
    let mut cluster = Cluster::fixed([1, 2]);
    let mut one = cluster.start(1);
    send(one.outbox(), Envelope::to(2).body("waiting"));
    let mut two = cluster.start(2);
    send(two.outbox(), Envelope::to(1).body("hello"));
    assert_eq!(receive(two.inbox()).msg, "waiting");
    assert_eq!(receive(one.inbox()).msg, "hello");
}

fn incarnation(events: &[Event]) -> [u8; 16] {
    match events.last() {
        Some(Event::Up { incarnation, .. } | Event::Restarted { incarnation, .. }) => *incarnation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_peer_that_restarts_is_noticed_and_traffic_goes_on() {
    let mut cluster = Cluster::fixed([1, 2]);
    let mut one = cluster.start(1);
    let mut two = cluster.start(2);
    assert_alive(&mut one, &mut two);
    let up = await_event(one.events(), "Up", |event| matches!(event, Event::Up { pid: 2, .. }));
    let mut last = incarnation(&up);
    for round in 0..5 {
        two.stop().unwrap();
        let events = await_event(one.events(), "Down", |event| matches!(event, Event::Down { .. }));
        assert_eq!(events, [Event::Down { pid: 2, reason: DownReason::Stopped }]);
        drop(two);
        two = cluster.start(2);
        // Either side may be the one that speaks first.
        if round % 2 == 0 {
            assert_alive(&mut one, &mut two);
        } else {
            assert_alive(&mut two, &mut one);
        }
        let events = await_event(one.events(), "Up", |event| matches!(event, Event::Up { .. }));
        let new = incarnation(&events);
        assert_ne!(new, last);
        assert_eq!(events[..], [Event::Restarted { pid: 2, incarnation: new }, Event::Up { pid: 2, incarnation: new }]);
        last = new;
    }
}

#[test]
fn what_waits_for_a_peer_that_has_left_is_delivered_to_its_next_incarnation() {
    let mut cluster = Cluster::fixed([1, 2]);
    let mut one = cluster.start(1);
    let mut two = cluster.start(2);
    assert_alive(&mut one, &mut two);
    two.stop().unwrap();
    await_event(one.events(), "Down", |event| matches!(event, Event::Down { .. }));
    for id in 0..500 {
        send(one.outbox(), Envelope::to(2).id(id).body("for the next"));
    }
    let mut two = cluster.start(2);
    for id in 0..500 {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
}

/// Envelopes are under way while the peer stops. Nothing is sent after that: what the old incarnation did not
/// acknowledge must reach the new one without another send, and without the new one sending anything.
#[test]
fn what_was_under_way_when_a_peer_stopped_reaches_its_next_incarnation() {
    let mut cluster = Cluster::fixed([1, 2]).with(|config| config.with_inbox_bytes(Config::MIN_INBOX_BYTES));
    let mut one = cluster.start(1);
    let mut two = cluster.start(2);
    assert_alive(&mut one, &mut two);
    let (mut next, mut sent) = (0, 0);
    for round in 0..20 {
        let mut outbox = one.outbox().clone();
        let barrier = Barrier::new(2);
        let burst = 1 + round % 4 * 60;
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                for id in sent..sent + burst {
                    send(&mut outbox, Envelope::to(2).id(id).body(vec![0; 40]));
                }
            });
            barrier.wait();
            two.stop().unwrap();
        });
        sent += burst;
        let mut old = two;
        two = cluster.start(2);
        // What the old one had taken in, it can still give out.
        while let Ok(envelope) = old.inbox().try_recv() {
            assert_eq!(envelope.msg_id, next, "round {round}");
            next += 1;
        }
        let mut first = true;
        while next < sent {
            let envelope = receive(two.inbox());
            // At least once across a restart: what the old one had taken in may come again, once, and nothing is left out.
            if first {
                assert!(envelope.msg_id <= next, "round {round}: {} after {next}", envelope.msg_id);
                next = envelope.msg_id;
                first = false;
            }
            assert_eq!(envelope.msg_id, next, "round {round}");
            next += 1;
        }
    }
}

/// Two servers that reach each other through proxies that cut their connections.
fn through_proxies(rng: &mut Rng, change: impl Fn(Config) -> Config) -> ([Node; 2], [Proxy; 2]) {
    let name = unique_name();
    let addresses = [fixed_address(), fixed_address()];
    let proxies = [Proxy::to(&addresses[0], rng.u64(..)), Proxy::to(&addresses[1], rng.u64(..))];
    let config = |one: &str, two: &str| change(Config::new([(1, one), (2, two)]).unwrap().with_cluster(&name));
    let one = without_fallback(Builder::new(1, &config(&addresses[0], proxies[1].address())).start().unwrap());
    let two = without_fallback(Builder::new(2, &config(proxies[0].address(), &addresses[1])).start().unwrap());
    ([one, two], proxies)
}

/// Sends `count` messages each way while connections are cut, and checks each of them.
fn survives_cuts(test: &str, count: u64, change: impl Fn(Config) -> Config, size: fn(&mut Rng) -> usize) {
    let mut rng = random_of_test(test);
    let (nodes, proxies) = through_proxies(&mut rng, change);
    let sizes = rng.clone();
    let nodes = nodes.map(|node| {
        let (pid, peer) = (node.pid(), node.peers()[0]);
        let cluster::Split { mut inbox, mut outbox, events, handle } = node.split();
        let (mut sent_sizes, mut received_sizes) = (sizes.clone(), sizes.clone());
        let sender = thread::spawn(move || {
            for number in 0..count {
                let body = message(number ^ pid << 40, size(&mut sent_sizes));
                send(&mut outbox, Envelope::to(peer).id(number as i64).body(body));
            }
            outbox
        });
        let receiver = thread::spawn(move || {
            for number in 0..count {
                let envelope = receive(&mut inbox);
                assert_eq!((envelope.pid, envelope.msg_id), (peer, number as i64));
                let expected = message(number ^ peer << 40, size(&mut received_sizes));
                assert_same(&envelope.msg, &expected, &format!("{peer} to {pid}, {number}"));
            }
            inbox
        });
        (sender, receiver, events, handle)
    });
    // All at once: a server must not leave before the other one has everything.
    let mut nodes = nodes
        .map(|(sender, receiver, events, handle)| (sender.join().unwrap(), receiver.join().unwrap(), events, handle));
    for (_, inbox, events, handle) in &mut nodes {
        assert!(inbox.try_recv().is_err(), "more than was sent");
        let mut up = false;
        let mut downs = 0;
        while let Some(event) = events.try_next() {
            match event {
                Event::Up { .. } => assert!(!std::mem::replace(&mut up, true), "up twice"),
                Event::Down { reason, .. } => {
                    assert!(std::mem::replace(&mut up, false), "down twice");
                    assert_eq!(reason, DownReason::Closed);
                    downs += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        eprintln!("{test}: {} was down {downs} times", handle.pid());
    }
    let cuts: usize = proxies.iter().map(Proxy::cuts).sum();
    eprintln!("{test}: {cuts} connections were cut");
    assert!(cuts > 5, "only {cuts} cuts");
}

#[test]
fn cuts_lose_duplicate_and_reorder_nothing() {
    survives_cuts("cuts_lose_duplicate_and_reorder_nothing", 60_000, |config| config, |rng| rng.usize(..120));
}

#[test]
fn cuts_and_messages_of_all_sizes() {
    let change =
        |config: Config| config.with_inbox_bytes(Config::MIN_INBOX_BYTES).with_outbox_bytes(Config::MIN_OUTBOX_BYTES);
    survives_cuts("cuts_and_messages_of_all_sizes", 1_500, change, |rng| {
        let bits = rng.u64(..18);
        rng.usize(..1 << bits)
    });
}

#[test]
fn two_first_sends_at_once_make_one_link() {
    let mut times = Vec::new();
    for round in 0..100 {
        let begin = Instant::now();
        let mut cluster = Cluster::new([1, 2]).with(|config| config.with_neighbours(Neighbours::Tcp));
        let ports = cluster.ports();
        let mut nodes = cluster.start_each([1, 2]);
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            for node in &mut nodes {
                scope.spawn(|| {
                    let peer = node.peers()[0];
                    barrier.wait();
                    for id in 0..20 {
                        send(node.outbox(), Envelope::to(peer).id(id).body("both at once"));
                    }
                    for id in 0..20 {
                        assert_eq!(receive(node.inbox()).msg_id, id);
                    }
                });
            }
        });
        times.push(begin.elapsed());
        eventually("one connection", || (connections(&ports) == 1).then_some(()));
        for node in &mut nodes {
            let events: Vec<Event> = std::iter::from_fn(|| node.events().try_next()).collect();
            assert!(matches!(events[..], [Event::Up { .. }]), "round {round}: {} saw {events:?}", node.pid());
            assert!(node.inbox().try_recv().is_err());
        }
    }
    times.sort_unstable();
    eprintln!("from the start of two servers to an exchange: {:?} (median), {:?} (worst)", times[50], times[99]);
}

#[test]
fn a_peer_that_falls_silent_is_down_and_comes_back() {
    let mut rng = Rng::with_seed(1);
    let short = |config: Config| config.with_heartbeat_interval_ms(100).with_peer_timeout_ms(1000);
    let ([mut one, mut two], proxies) = through_proxies(&mut rng, short);
    proxies.iter().for_each(|proxy| proxy.cut_nothing());
    assert_alive(&mut one, &mut two);
    proxies.iter().for_each(|proxy| proxy.hold(true));
    for node in [&mut one, &mut two] {
        let reason = DownReason::Silent;
        let pid = node.peers()[0];
        await_event(node.events(), "Down", |event| *event == Event::Down { pid, reason: reason.clone() });
    }
    send(one.outbox(), Envelope::to(2).body("while it was down"));
    proxies.iter().for_each(|proxy| proxy.hold(false));
    assert_eq!(receive(two.inbox()).msg, "while it was down");
    assert_alive(&mut one, &mut two);
}

#[test]
fn a_peer_that_falls_silent_in_the_middle_of_a_send_is_down() {
    let mut rng = Rng::with_seed(1);
    // Longer than the timers of the handshake, which would look at the link by chance.
    let much =
        |config: Config| config.with_inbox_bytes(64 << 20).with_outbox_bytes(64 << 20).with_peer_timeout_ms(3000);
    let ([mut one, mut two], proxies) = through_proxies(&mut rng, much);
    proxies.iter().for_each(|proxy| proxy.cut_nothing());
    assert_alive(&mut one, &mut two);
    proxies.iter().for_each(|proxy| proxy.hold(true));
    // More than sockets hold, so that the kernel keeps a send that it cannot end.
    while one.outbox().try_send(Envelope::to(2).body([0; 16_000])).is_ok() {}
    let down = Event::Down { pid: 2, reason: DownReason::Silent };
    await_event(one.events(), "Down", |event| *event == down);
    proxies.iter().for_each(|proxy| proxy.hold(false));
}

#[test]
fn an_idle_link_stays_up() {
    let mut cluster =
        Cluster::new([1, 2]).with(|config| config.with_heartbeat_interval_ms(50).with_peer_timeout_ms(1500));
    let [mut one, mut two] = cluster.start_each([1, 2]);
    assert_alive(&mut one, &mut two);
    await_event(one.events(), "Up", |event| matches!(event, Event::Up { .. }));
    // Twice the peer timeout without an envelope.
    assert_eq!(one.events().next_timeout(Duration::from_secs(3)), None);
    assert_alive(&mut one, &mut two);
}
