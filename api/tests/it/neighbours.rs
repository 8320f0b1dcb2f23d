//! Servers of one engine reach each other through memory, and all others over TCP.

use std::thread;
use std::time::Duration;

use cluster::{Builder, Config, DownReason, Engine, Envelope, Event, Idle, Neighbours, Node, Server};

use crate::support::{
    Cluster, PATIENCE, assert_alive, assert_same, await_event, connections, fixed_address, message, receive, send,
};

fn memory(config: Config) -> Config {
    config.with_neighbours(Neighbours::Memory)
}

/// Servers on an engine with two loops, at addresses that can be used again.
fn neighbours<const N: usize>(change: fn(Config) -> Config) -> (Cluster, Engine, [Node; N]) {
    let mut cluster = Cluster::fixed(1..=N as u64).with(memory).with(change);
    let engine = Engine::dedicated(2, Idle::default()).unwrap();
    let nodes = std::array::from_fn(|index| cluster.start_on(index as u64 + 1, &engine));
    (cluster, engine, nodes)
}

fn same(config: Config) -> Config {
    config
}

#[test]
fn neighbours_have_no_connection_between_them() {
    // Two loops for three servers: the first and the third share one.
    let (cluster, _engine, [mut one, mut two, mut three]) = neighbours(same);
    assert_alive(&mut one, &mut two);
    assert_alive(&mut one, &mut three);
    assert_alive(&mut two, &mut three);
    assert_eq!(connections(&cluster.ports()), 0);
}

#[test]
fn either_can_insist_on_tcp() {
    for insists in [1, 2] {
        let mut cluster = Cluster::new([1, 2]);
        let engine = Engine::dedicated(2, Idle::default()).unwrap();
        let [mut one, mut two] = [1, 2].map(|pid| {
            cluster.config.neighbours = if pid == insists { Neighbours::Tcp } else { Neighbours::Memory };
            cluster.start_on(pid, &engine)
        });
        // By the dial of the one, which wants to or does not.
        assert_alive(&mut one, &mut two);
        assert_eq!(connections(&cluster.ports()), 1);
    }
}

/// A server of another engine is reached as if it were on another machine.
#[test]
fn neighbours_and_strangers_in_one_cluster() {
    let (mut cluster, _engine, [mut one, mut two]) = neighbours(|mut config| {
        config.servers.push(cluster::Member::new(3, fixed_address()));
        config
    });
    let other = Engine::dedicated(1, Idle::default()).unwrap();
    // Sent before it is there: nobody of this engine listens, and nobody else either.
    send(one.outbox(), Envelope::to([2, 3]).id(7).body("to both"));
    assert_eq!(receive(two.inbox()).msg_id, 7);
    let mut three = cluster.start_on(3, &other);
    assert_eq!(receive(three.inbox()).msg_id, 7);
    assert_alive(&mut two, &mut three);
    assert_alive(&mut one, &mut two);
    assert_eq!(connections(&cluster.ports()), 2, "from the third to each of the others");
}

/// A server that is sent to before it starts gets everything once it has.
#[test]
fn a_neighbour_that_comes_late() {
    let mut cluster = Cluster::fixed([1, 2]).with(memory);
    let engine = Engine::dedicated(2, Idle::default()).unwrap();
    let mut one = cluster.start_on(1, &engine);
    for id in 0..100 {
        send(one.outbox(), Envelope::to(2).id(id).body("early"));
    }
    let mut two = cluster.start_on(2, &engine);
    for id in 0..100 {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
}

/// All sizes, both ways, with little room: what is under way waits for those who read.
#[test]
fn everything_arrives_in_order_whatever_its_size() {
    let (_cluster, _engine, nodes) = neighbours::<2>(|config| {
        config.with_inbox_bytes(Config::MIN_INBOX_BYTES).with_outbox_bytes(Config::MIN_OUTBOX_BYTES)
    });
    let length = |id: i64| [0, 8, 63, 64, 65, 1000, 16_369, 65_536, 70_000, 300_000][id as usize % 10];
    thread::scope(|scope| {
        for node in nodes {
            scope.spawn(move || {
                let (pid, peer) = (node.pid(), node.peers()[0]);
                let cluster::Split { mut inbox, mut outbox, mut handle, .. } = node.split();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        for id in 0..500 {
                            send(
                                &mut outbox,
                                Envelope::to(peer).id(id).body(message(pid << 32 | id as u64, length(id))),
                            );
                        }
                        outbox.flush(PATIENCE).unwrap();
                    });
                    for id in 0..500 {
                        let envelope = receive(&mut inbox);
                        assert_eq!((envelope.pid, envelope.msg_id), (peer, id));
                        let expected = message(peer << 32 | id as u64, length(id));
                        assert_same(&envelope.msg, &expected, &format!("{peer} to {pid}, {id}"));
                    }
                });
                handle.stop().unwrap();
            });
        }
    });
}

/// What the earlier run had not acknowledged goes to the next one.
#[test]
fn a_neighbour_restarts_while_it_is_sent_to() {
    const ENVELOPES: i64 = 20_000;
    const RUNS: usize = 5;
    let (mut cluster, engine, [one, mut two]) = neighbours(|config| config.with_outbox_bytes(Config::MIN_OUTBOX_BYTES));
    let cluster::Split { mut outbox, mut events, inbox: _inbox, handle: _handle } = one.split();
    thread::scope(|scope| {
        scope.spawn(|| {
            for id in 0..ENVELOPES {
                send(&mut outbox, Envelope::to(2).id(id).body(vec![id as u8; 64]));
            }
        });
        let mut next = 0;
        for run in 0..RUNS {
            let until = ENVELOPES * (run as i64 + 1) / RUNS as i64;
            let first = receive(two.inbox()).msg_id;
            assert!(first <= next, "{next}.. were lost, {first} came");
            next = first + 1;
            while next < until {
                assert_eq!(receive(two.inbox()).msg_id, next);
                next += 1;
            }
            two.stop().unwrap();
            // Acknowledged, and so not to come again.
            while let Ok(envelope) = two.inbox().try_recv() {
                assert_eq!(envelope.msg_id, next);
                next += 1;
            }
            if next == ENVELOPES {
                break;
            }
            two = cluster.start_on(2, &engine);
        }
        assert_eq!(next, ENVELOPES);
    });
    await_event(&mut events, "restart", |event| matches!(event, Event::Restarted { pid: 2, .. }));
    assert_eq!(connections(&cluster.ports()), 0);
}

/// The cable between two neighbours can be pulled, though there is none.
#[test]
fn neighbours_can_be_blocked() {
    let (cluster, _engine, [mut one, mut two, mut three]) =
        neighbours(|config| config.with_heartbeat_interval_ms(100).with_peer_timeout_ms(500));
    assert_alive(&mut one, &mut two);
    one.block(&[2]).unwrap();
    send(one.outbox(), Envelope::to([2, 3]).id(5).body("through the cut"));
    assert_eq!(receive(three.inbox()).msg_id, 5);
    // Whoever finds the other silent first closes the connection.
    await_event(one.events(), "silence", |event| matches!(event, Event::Down { pid: 2, .. }));
    await_event(two.events(), "silence", |event| matches!(event, Event::Down { pid: 1, .. }));
    assert!(two.inbox().recv_timeout(Duration::from_millis(50)).is_err());
    one.unblock(&[2]).unwrap();
    assert_eq!(receive(two.inbox()).msg_id, 5);
    assert_alive(&mut one, &mut two);
    assert_eq!(connections(&cluster.ports()), 0);
}

/// A server that has moved is found at its new address, and gets what waited for it.
#[test]
fn a_neighbour_moves() {
    let (mut cluster, engine, [mut one, mut two]) = neighbours(same);
    assert_alive(&mut one, &mut two);
    two.stop().unwrap();
    await_event(one.events(), "goodbye", |event| *event == Event::Down { pid: 2, reason: DownReason::Stopped });
    send(one.outbox(), Envelope::to(2).id(9).body("follow me"));
    let address = fixed_address();
    cluster.config.servers[1].address.clone_from(&address);
    let mut moved = Builder::new(2, &cluster.config).engine(&engine).start().unwrap();
    one.add_peer(2, &address).unwrap();
    assert_eq!(receive(moved.inbox()).msg_id, 9);
    assert_alive(&mut one, &mut moved);
    assert_eq!(connections(&cluster.ports()), 0);
}
