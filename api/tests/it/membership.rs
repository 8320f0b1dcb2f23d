//! Peers that are added, moved and removed while servers run; partitions made on live servers.

use std::thread;
use std::time::{Duration, Instant};

use cluster::{
    BROADCAST, Config, DownReason, DropReason, Envelope, Event, Node, PeerError, Pid, RefusalReason, SendError, Server,
};

use crate::support::{
    Cluster, PATIENCE, assert_alive, await_event, eventually, fixed_address, receive, send, unique_name,
};

fn start(cluster: &str, members: &[(Pid, &str)]) -> impl Fn(Pid) -> Node {
    let members = members.iter().map(|(pid, address)| (*pid, (*address).to_owned()));
    let config = Config::new(members).unwrap().with_cluster(cluster);
    move |pid| cluster::start(pid, &config).unwrap()
}

#[test]
fn a_server_joins_a_running_cluster_and_leaves_it() {
    let name = unique_name();
    let addresses = [fixed_address(), fixed_address(), fixed_address()];
    let two = [(1, &*addresses[0]), (2, &*addresses[1])];
    let all = [(1, &*addresses[0]), (2, &*addresses[1]), (3, &*addresses[2])];
    let (mut one, mut other) = (start(&name, &two)(1), start(&name, &two)(2));
    assert_alive(&mut one, &mut other);
    let mut clone = one.outbox().clone();
    assert!(matches!(clone.send(Envelope::to(3).body("too early")), Err(SendError::UnknownPid { pid: 3, .. })));

    one.add_peer(3, &addresses[2]).unwrap();
    other.add_peer(3, &addresses[2]).unwrap();
    assert_eq!((one.peers(), other.peers()), (&[2, 3][..], &[1, 3][..]));
    await_event(one.events(), "addition", |event| *event == Event::Added { pid: 3 });
    // It waits for the newcomer, also what an outbox sends that was there before.
    send(one.outbox(), Envelope::to(BROADCAST).body("welcome"));
    send(&mut clone, Envelope::to(3).body("and from here"));
    let mut three = start(&name, &all)(3);
    let mut welcomes = [receive(three.inbox()).msg, receive(three.inbox()).msg];
    welcomes.sort_by_key(|message| message.len());
    assert_eq!(welcomes, ["welcome", "and from here"]);
    assert_eq!(receive(other.inbox()).msg, "welcome");
    assert_alive(&mut three, &mut other);

    // Removed, it is told so, and refused when it comes back.
    one.outbox().flush(PATIENCE).unwrap();
    assert_eq!(one.remove_peer(3).unwrap().messages, 0);
    assert_eq!(one.peers(), [2]);
    await_event(one.events(), "removal", |event| *event == Event::Removed { pid: 3 });
    let is_down = |event: &Event| matches!(event, Event::Down { pid: 1, reason: DownReason::Removed });
    await_event(three.events(), "end", is_down);
    send(three.outbox(), Envelope::to(1).body("let me in"));
    let refused = Event::Refused { pid: 1, reason: RefusalReason::UnknownPeer };
    await_event(three.events(), "refusal", |event| *event == refused);
    assert!(matches!(clone.try_send(Envelope::to(3).body("late")), Err(SendError::UnknownPid { pid: 3, .. })));
    assert!(matches!(one.outbox().try_claim(3, 8), Err(SendError::UnknownPid { .. })));

    // Added again, it gets what it is sent from now on, and what it had sent meanwhile arrives.
    one.add_peer(3, &addresses[2]).unwrap();
    assert_eq!(receive(one.inbox()).msg, "let me in");
    assert_alive(&mut one, &mut three);
    assert_alive(&mut one, &mut other);
    let row = one.stats().into_iter().find(|row| row.pid == 3).unwrap();
    assert_eq!((row.messages_out, row.acknowledged + row.in_flight), (3, 3), "one row for both links");
}

#[test]
fn removal_accounts_for_what_was_not_delivered() {
    let mut one = Cluster::fixed([1, 2, 3]).start(1);
    for _ in 0..5 {
        send(one.outbox(), Envelope::to(2).body("12345"));
    }
    send(one.outbox(), Envelope::to(2).body(vec![0; 100_000]).urgent());
    let mut clone = one.outbox().clone();
    let waiting = thread::spawn(move || {
        // More than there is room for: it waits, and learns that the peer is gone.
        loop {
            if let Err(error) = clone.send(Envelope::to([3, 2]).body(vec![0; 10_000])) {
                return error;
            }
        }
    });
    eventually("a sender that waits", || (one.stats()[1].messages_out > 100).then_some(()));
    let undelivered = one.remove_peer(2).unwrap();
    assert!(undelivered.messages >= 6 && undelivered.bytes >= 100_025, "{undelivered:?}");
    let dropped = Event::Dropped { pid: 2, count: undelivered.messages, reason: DropReason::PeerRemoved };
    await_event(one.events(), "account", |event| *event == dropped);
    one.remove_peer(3).unwrap();
    assert!(matches!(waiting.join().unwrap(), SendError::UnknownPid { .. }));
    let row = one.stats()[0];
    assert_eq!(row.messages_out, row.acknowledged + row.in_flight + row.dropped());
    one.stop().unwrap();
}

#[test]
fn what_cannot_be_added_or_removed_is_refused() {
    let mut one = Cluster::fixed([1, 2]).start(1);
    assert_eq!(one.add_peer(1, "127.0.0.1:1"), Err(PeerError::Itself { pid: 1 }));
    assert_eq!(one.add_peer(BROADCAST, "127.0.0.1:1"), Err(PeerError::Broadcast));
    assert!(matches!(one.add_peer(3, "nowhere"), Err(PeerError::Address { .. })));
    assert_eq!(one.remove_peer(3), Err(PeerError::Unknown { pid: 3 }));
    assert_eq!(one.block(&[2, 3]), Err(PeerError::Unknown { pid: 3 }));
    assert_eq!(one.peers(), [2]);
}

#[test]
fn a_peer_that_moves_gets_what_was_sent_to_its_old_address() {
    let name = unique_name();
    let (here, old, new) = (fixed_address(), fixed_address(), fixed_address());
    let mut one = start(&name, &[(1, &here), (2, &old)])(1);
    for number in 0..10 {
        send(one.outbox(), Envelope::to(2).id(number).body("wait for me"));
    }
    one.add_peer(2, &new).unwrap();
    let mut two = start(&name, &[(1, &here), (2, &new)])(2);
    for number in 0..10 {
        assert_eq!(receive(two.inbox()).msg_id, number);
    }
    assert_eq!(one.peers(), [2]);
}

/// As with a cable that is pulled: both sides notice by the silence, others notice nothing, and nothing is lost.
#[test]
fn a_partition_is_noticed_and_healed_without_loss() {
    let timeouts = |config: Config| config.with_heartbeat_interval_ms(50).with_peer_timeout_ms(250);
    let mut cluster = Cluster::new([1, 2, 3]).with(timeouts);
    let [mut one, mut two, mut three] = cluster.start_each([1, 2, 3]);
    assert_alive(&mut one, &mut two);
    assert_alive(&mut one, &mut three);
    assert_alive(&mut two, &mut three);
    one.block(&[2]).unwrap();
    for number in 0..50 {
        send(one.outbox(), Envelope::to(BROADCAST).id(number).body("from one"));
        send(two.outbox(), Envelope::to(BROADCAST).id(number).body("from two"));
    }
    for node in [&mut one, &mut two] {
        let peer = 3 - node.pid();
        await_event(node.events(), "silence", |event| matches!(event, Event::Down { pid, .. } if *pid == peer));
    }
    for _ in 0..100 {
        receive(three.inbox());
    }
    assert_alive(&mut two, &mut three);
    assert!(one.inbox().try_recv().is_err() && two.inbox().try_recv().is_err(), "something crossed");
    one.unblock(&[2]).unwrap();
    for number in 0..50 {
        assert_eq!(receive(one.inbox()).msg_id, number);
        assert_eq!(receive(two.inbox()).msg_id, number);
    }
    assert_alive(&mut one, &mut two);
}

#[test]
fn a_short_partition_and_many_of_them_lose_nothing() {
    let [mut one, mut two] = Cluster::new([1, 2]).start_each([1, 2]);
    let mut outbox = one.outbox().clone();
    let sending = thread::spawn(move || {
        for number in 0..3000 {
            send(&mut outbox, Envelope::to(2).id(number).body(vec![1; (number % 2000) as usize]));
            if number % 10 == 0 {
                thread::yield_now();
            }
        }
    });
    let mut next = 0;
    let mut rounds = 0;
    let begin = Instant::now();
    while next < 3000 {
        assert!(begin.elapsed() < 2 * PATIENCE, "stuck at {next} after {rounds} partitions");
        if rounds < 10 && next >= rounds * 250 {
            one.block(&[2]).unwrap();
            thread::sleep(Duration::from_millis(2));
            one.unblock(&[2]).unwrap();
            rounds += 1;
        }
        if let Ok(envelope) = two.inbox().recv_timeout(Duration::from_millis(5)) {
            assert_eq!(envelope.msg_id, next);
            next += 1;
        }
    }
    sending.join().unwrap();
    one.stop().unwrap();
}
