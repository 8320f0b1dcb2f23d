//! Starting, stopping, and starting again.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use cluster::{BROADCAST, Builder, Config, Envelope, Server, StartError};

use crate::support::{Cluster, assert_alive, fixed_address, pair, random_of_test, receive, send};

#[test]
fn a_pid_that_runs_already_is_refused() {
    let mut cluster = Cluster::fixed([41, 42]);
    let first = cluster.start(41);
    let error = cluster::start(41, &cluster.config).unwrap_err();
    assert!(matches!(error, StartError::AlreadyRunning { pid: 41 }), "{error:?}");
    assert!(error.to_string().contains("server 41 runs already"), "{error}");
    drop(first);
    cluster.start(41);
}

#[test]
fn an_address_in_use_is_named() {
    let cluster = Cluster::fixed([1, 2]);
    let address = cluster.address(1);
    let _taken = TcpListener::bind(&address).unwrap();
    let error = cluster::start(1, &cluster.config).unwrap_err();
    assert!(matches!(&error, StartError::Listen { address: named, .. } if *named == address), "{error:?}");
    assert!(error.to_string().contains(&address) && error.to_string().contains("in use"), "{error}");
    drop(_taken);
    // A start that failed leaves nothing behind.
    cluster::start(1, &cluster.config).unwrap();
}

#[test]
fn a_pid_that_is_not_in_the_configuration_is_refused() {
    let cluster = Cluster::fixed([1, 2]);
    let error = cluster::start(3, &cluster.config).unwrap_err();
    assert!(matches!(error, StartError::Config(_)), "{error:?}");
    assert!(error.to_string().contains('3'), "{error}");
}

#[test]
fn a_host_that_is_not_there_is_named() {
    let config = Config::new([(1, fixed_address()), (2, "no-such-host.invalid:8001".to_owned())]).unwrap();
    let error = cluster::start(1, &config).unwrap_err();
    assert!(matches!(error, StartError::Resolve { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
}

#[test]
fn a_server_alone_starts_and_stops() {
    let mut cluster = Cluster::fixed([1]);
    let mut one = cluster.start(1);
    assert!(one.peers().is_empty());
    one.outbox().send(Envelope::to(BROADCAST).body("nobody")).unwrap();
    assert!(one.inbox().try_recv().is_err());
    one.stop().unwrap();
}

#[test]
fn an_idle_server_stops_quickly() {
    let mut times = Vec::new();
    for _ in 0..10 {
        let [mut one, mut two] = pair();
        assert_alive(&mut one, &mut two);
        for node in [&mut one, &mut two] {
            let begin = Instant::now();
            node.stop().unwrap();
            times.push(begin.elapsed());
            node.stop().unwrap();
        }
    }
    times.sort_unstable();
    eprintln!("an idle server stops in {:?} (median), {:?} (worst)", times[times.len() / 2], times[times.len() - 1]);
    assert!(times[times.len() / 2] < Duration::from_secs(1), "{times:?}");
}

#[test]
fn a_stop_does_not_wait_for_an_absent_peer() {
    let mut cluster = Cluster::fixed([1, 2]);
    let mut one = cluster.start(1);
    send(one.outbox(), Envelope::to(2).body("nobody there"));
    let begin = Instant::now();
    let error = one.stop().unwrap_err();
    assert_eq!(error.undelivered().len(), 1);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[test]
fn a_stop_gives_up_on_a_reader_that_does_not_read() {
    let mut cluster = Cluster::new([1, 2]).with(|config| config.with_inbox_bytes(Config::MIN_INBOX_BYTES));
    let [mut one, _two] = cluster.start_each([1, 2]);
    for _ in 0..100 {
        send(one.outbox(), Envelope::to(2).body(vec![0; 5000]));
    }
    let begin = Instant::now();
    let error = one.stop().unwrap_err();
    let [undelivered] = error.undelivered() else { panic!("{error:?}") };
    assert_eq!(undelivered.pid, 2);
    assert!((1..100).contains(&undelivered.messages), "{undelivered:?}");
    assert_eq!(undelivered.bytes, undelivered.messages * 5000);
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}

#[test]
fn a_server_that_is_dropped_frees_pid_and_address() {
    let mut cluster = Cluster::fixed([1, 2]);
    let mut one = cluster.start(1);
    for _ in 0..20 {
        let mut two = cluster.start(2);
        send(two.outbox(), Envelope::to(1).body("here"));
        assert_eq!(receive(one.inbox()).msg, "here");
        send(one.outbox(), Envelope::to(2).body("there"));
        assert_eq!(receive(two.inbox()).msg, "there");
        drop(two);
    }
}

#[test]
fn parts_may_be_dropped_in_any_order() {
    let mut rng = random_of_test("parts_may_be_dropped_in_any_order");
    for _ in 0..30 {
        let [mut one, two] = pair();
        for _ in 0..rng.u64(..100) {
            send(one.outbox(), Envelope::to(2).body(vec![0; 3000]));
        }
        let parts = two.split();
        let mut parts: Vec<Box<dyn std::any::Any + Send>> =
            vec![Box::new(parts.inbox), Box::new(parts.outbox), Box::new(parts.events), Box::new(parts.handle)];
        while !parts.is_empty() {
            drop(parts.swap_remove(rng.usize(..parts.len())));
        }
    }
}

#[test]
fn servers_start_and_stop_from_many_threads() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(|| {
                for _ in 0..10 {
                    let [mut one, mut two] = pair();
                    assert_alive(&mut one, &mut two);
                    drop(one);
                    two.stop().unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_listener_may_stand_where_the_address_only_leads() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let real = listener.local_addr().unwrap().to_string();
    let two = fixed_address();
    let name = crate::support::unique_name();
    // What the others are told is not what it listens on.
    let own = Config::new([(1, "192.0.2.1:1"), (2, &two)]).unwrap().with_cluster(&name);
    let others = Config::new([(1, &real), (2, &two)]).unwrap().with_cluster(&name);
    let mut one = Builder::new(1, &own).listener(listener).start().unwrap();
    let mut two = cluster::start(2, &others).unwrap();
    assert_alive(&mut two, &mut one);
}
