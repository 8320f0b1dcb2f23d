//! What can be done to a mock cluster.

use std::time::Duration;

use cluster::mock::{Conditions, DropReason, Fate, Fault, FaultError, Place};
use cluster::{DownReason, Envelope, Event, SendError, Server, StartError};

use super::{broadcast, cluster, take_all};

const SECOND: Duration = Duration::from_secs(1);

/// As in the README.
#[test]
fn a_minority_hears_nothing() {
    let (cluster, mut servers) = cluster(42, 5);
    let delay = Duration::from_millis(1)..=Duration::from_millis(100);
    cluster.set(Place::Everywhere, Conditions::new().delay(delay).drop(0.01)).unwrap();
    cluster.partition(&[&[1, 2, 3], &[4, 5]]).unwrap();
    servers[0].outbox().send(Envelope::to([2, 4]).body("who hears me?")).unwrap();
    let hour = Duration::from_secs(3600);
    assert!(servers[1].inbox().recv_timeout(hour).is_ok());
    assert!(servers[3].inbox().recv_timeout(hour).is_err());
    cluster.heal();
    servers[0].outbox().send(Envelope::to(4).body("and now?")).unwrap();
    assert_eq!(servers[3].inbox().recv().unwrap().msg, "and now?");
}

#[test]
fn servers_that_are_not_named_form_one_more_group() {
    let (cluster, mut servers) = cluster(1, 5);
    cluster.partition(&[&[1, 2]]).unwrap();
    broadcast(&mut servers, 1);
    assert_eq!(take_all(&mut servers), 2 + 3 * 2);
    cluster.partition(&[]).unwrap();
    broadcast(&mut servers, 1);
    assert_eq!(take_all(&mut servers), 5 * 4);
}

#[test]
fn faults_that_make_no_sense_are_refused() {
    let (cluster, _servers) = cluster(1, 3);
    let error = cluster.partition(&[&[1, 2], &[2, 3]]).unwrap_err();
    assert_eq!(error, FaultError::NamedTwice { pid: 2 });
    assert!(error.to_string().contains("server 2 stands twice"), "{error}");
    assert_eq!(cluster.partition(&[&[1, 2, 2]]), Err(FaultError::NamedTwice { pid: 2 }));
    assert_eq!(cluster.isolate(4), Err(FaultError::UnknownPid { pid: 4 }));
    assert_eq!(cluster.cut(1, 9), Err(FaultError::UnknownPid { pid: 9 }));
    let drop = cluster.set(Place::Everywhere, Conditions::new().drop(1.5));
    assert_eq!(drop, Err(FaultError::Probability { of: "drop", value: 1.5 }));
    let delay = Conditions::new().delay(SECOND..=Duration::ZERO);
    assert_eq!(cluster.set(Place::Server(1), delay), Err(FaultError::Range { least: SECOND, most: Duration::ZERO }));
    let none = cluster.set(Place::Everywhere, Conditions::new().bytes_per_second(0));
    assert_eq!(none, Err(FaultError::NoBandwidth));
    assert_eq!(cluster.at(SECOND, Fault::partition(&[&[1], &[1]])), Err(FaultError::NamedTwice { pid: 1 }));
}

#[test]
fn a_one_way_cut_cuts_one_way() {
    let (cluster, mut servers) = cluster(1, 3);
    cluster.cut(1, 2).unwrap();
    broadcast(&mut servers, 1);
    assert_eq!(take_all(&mut servers[..1]), 2);
    assert_eq!(take_all(&mut servers[1..2]), 1);
    cluster.inject(Fault::Mend { from: 1, to: 2 }).unwrap();
    broadcast(&mut servers, 1);
    take_all(&mut servers[..1]);
    assert_eq!(take_all(&mut servers[1..2]), 2);
}

#[test]
fn what_is_held_comes_with_the_heal_in_order() {
    let (cluster, mut servers) = cluster(1, 3);
    cluster.hold_while_partitioned(true);
    cluster.isolate(3).unwrap();
    for id in 0..10 {
        servers[0].outbox().send(Envelope::to([2, 3]).id(id).body("kept")).unwrap();
    }
    cluster.run_for(3600 * SECOND);
    assert_eq!(take_all(&mut servers), 10);
    assert_eq!((cluster.totals().held, cluster.totals().cut), (10, 0));
    assert_eq!(cluster.history().messages().filter(|sent| sent.fate == Fate::Held).count(), 10);
    cluster.heal();
    for id in 0..10 {
        assert_eq!(servers[2].inbox().try_recv().unwrap().msg_id, id);
    }
    assert_eq!((cluster.totals().held, cluster.totals().held_ever), (0, 10));
}

#[test]
fn what_is_under_way_when_the_partition_begins_does_not_arrive() {
    let (cluster, mut servers) = cluster(1, 2);
    cluster.set(Place::Link { from: 1, to: 2 }, Conditions::new().delay(SECOND)).unwrap();
    servers[0].outbox().send(Envelope::to(2).body("too late")).unwrap();
    cluster.at(SECOND / 2, Fault::Isolate(2)).unwrap();
    cluster.run_for(10 * SECOND);
    assert_eq!(take_all(&mut servers), 0);
    let history = cluster.history();
    let fate = history.messages().next().unwrap().fate;
    assert_eq!(fate, Fate::Dropped { at: SECOND, reason: DropReason::Cut });
}

#[test]
fn servers_learn_of_partitions_by_silence() {
    let (cluster, mut servers) = cluster(1, 3);
    for server in &mut servers {
        for _ in 0..2 {
            assert!(matches!(server.events().try_next(), Some(Event::Up { .. })));
        }
        assert_eq!(server.events().try_next(), None);
    }
    // Shorter than the timeout: nobody notices.
    cluster.isolate(3).unwrap();
    cluster.run_for(SECOND);
    cluster.heal();
    cluster.run_for(10 * SECOND);
    assert_eq!(servers[0].events().try_next(), None);

    cluster.isolate(3).unwrap();
    let down = servers[0].events().next_timeout(10 * SECOND);
    assert_eq!(down, Some(Event::Down { pid: 3, reason: DownReason::Silent }));
    assert_eq!(cluster.now(), 11 * SECOND + Duration::from_millis(1250));
    let downs: Vec<Event> = std::iter::from_fn(|| servers[2].events().try_next()).collect();
    assert_eq!(downs, [1, 2].map(|pid| Event::Down { pid, reason: DownReason::Silent }));
    cluster.heal();
    assert!(matches!(servers[0].events().try_next(), Some(Event::Up { pid: 3, .. })));
    assert_eq!(servers[0].events().try_next(), None);
}

#[test]
fn a_server_that_hears_nothing_closes_the_connection() {
    let (cluster, mut servers) = cluster(1, 2);
    cluster.cut(1, 2).unwrap();
    cluster.run_for(2 * SECOND);
    let last = |server: &mut cluster::mock::Node| std::iter::from_fn(|| server.events().try_next()).last();
    assert_eq!(last(&mut servers[0]), Some(Event::Down { pid: 2, reason: DownReason::Closed }));
    assert_eq!(last(&mut servers[1]), Some(Event::Down { pid: 1, reason: DownReason::Silent }));
}

#[test]
fn a_crashed_server_finds_itself_stopped_and_can_be_added_again() {
    let (cluster, mut servers) = cluster(1, 2);
    let first = match servers[0].events().try_next() {
        Some(Event::Up { incarnation, .. }) => incarnation,
        other => panic!("{other:?}"),
    };
    assert!(matches!(cluster.add_server(2), Err(StartError::AlreadyRunning { pid: 2 })));
    cluster.crash(2).unwrap();
    assert_eq!(cluster.running(), [1]);
    assert_eq!(servers[0].peers(), [2], "it still belongs to the cluster");
    assert!(matches!(servers[1].outbox().send(Envelope::to(1).body("dead")), Err(SendError::Stopped { .. })));
    assert!(servers[1].inbox().recv().is_err());
    servers[0].outbox().send(Envelope::to(2).body("nobody there")).unwrap();
    let mut two = cluster.add_server(2).unwrap();
    // The handle of the first one must not touch the second one.
    servers.pop().unwrap().stop().unwrap();
    servers[0].outbox().send(Envelope::to(2).body("welcome")).unwrap();
    assert_eq!(two.inbox().recv().unwrap().msg, "welcome");
    let events: Vec<Event> = std::iter::from_fn(|| servers[0].events().try_next()).collect();
    let [Event::Down { pid: 2, reason }, Event::Restarted { pid: 2, incarnation }, Event::Up { pid: 2, .. }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*reason, DownReason::Closed);
    assert_ne!(*incarnation, first);
    assert_eq!(cluster.totals().not_running, 1);
}

#[test]
fn a_bandwidth_spreads_messages_over_time() {
    let (cluster, mut servers) = cluster(1, 3);
    cluster.set(Place::Server(1), Conditions::new().bytes_per_second(1000)).unwrap();
    for _ in 0..10 {
        servers[0].outbox().send(Envelope::to([2, 3]).body(vec![0; 84])).unwrap();
    }
    cluster.run_for(SECOND);
    assert_eq!(take_all(&mut servers), 10, "84 bytes and their header, ten times a second");
    cluster.run_for(SECOND);
    assert_eq!(take_all(&mut servers), 10);
}

#[test]
fn duplicates_and_order() {
    let (cluster, mut servers) = cluster(1, 2);
    let delay = Duration::ZERO..=SECOND;
    cluster.set(Place::Everywhere, Conditions::new().duplicate(0.5).delay(delay).in_order()).unwrap();
    for id in 0..1000 {
        servers[0].outbox().send(Envelope::to(2).id(id).body("twice?")).unwrap();
        cluster.run_for(Duration::from_millis(1));
    }
    cluster.run_until_idle();
    let mut ids = Vec::new();
    while servers[1].inbox().drain(|envelope| ids.push(envelope.msg_id)) > 0 {}
    assert!(ids.is_sorted());
    assert!((1400..1600).contains(&ids.len()), "{}", ids.len());
    ids.dedup();
    assert_eq!(ids.len(), 1000);
}

#[test]
fn servers_come_and_go_while_others_run() {
    let cluster = cluster::mock::Cluster::with_time(1, cluster::mock::Time::Virtual);
    let mut one = cluster.add_server(1).unwrap();
    assert!(one.peers().is_empty());
    assert!(matches!(one.outbox().send(Envelope::to(2).body("?")), Err(SendError::UnknownPid { pid: 2, .. })));
    let mut two = cluster.add_server(2).unwrap();
    assert_eq!(one.peers(), [2]);
    one.outbox().send(Envelope::to(2).id(1).body("first")).unwrap();
    let mut zero = cluster.add_server(0).unwrap();
    one.outbox().send(Envelope::to([0, 2]).id(2).body("second")).unwrap();
    assert_eq!(zero.inbox().recv().unwrap().msg_id, 2);
    assert_eq!([two.inbox().recv().unwrap().msg_id, two.inbox().recv().unwrap().msg_id], [1, 2]);
    assert_eq!(one.stats().iter().map(|row| (row.pid, row.messages_out)).collect::<Vec<_>>(), [(0, 1), (2, 2)]);
    cluster.remove_server(2);
    assert_eq!((one.peers(), cluster.servers()), (&[0][..], vec![0, 1]));
    assert!(matches!(one.outbox().send(Envelope::to(2).body("?")), Err(SendError::UnknownPid { pid: 2, .. })));
    one.outbox().send(Envelope::to(0).id(3).body("third")).unwrap();
    assert_eq!(zero.inbox().recv().unwrap().msg_id, 3);
}
