//! Real and virtual time.

use std::thread;
use std::time::{Duration, Instant};

use cluster::mock::{Cluster, Conditions, Delay, Fault, Place};
use cluster::{Envelope, RecvTimeoutError, Server};

use super::{broadcast, cluster, take_all};
use crate::support::receive;

#[test]
fn waiting_steps_virtual_time() {
    let (cluster, mut servers) = cluster(1, 2);
    cluster.set(Place::Everywhere, Conditions::new().delay(Duration::from_secs(60))).unwrap();
    servers[0].outbox().send(Envelope::to(2).body("a minute")).unwrap();
    let timeout = servers[1].inbox().recv_timeout(Duration::from_secs(59));
    assert_eq!(timeout, Err(RecvTimeoutError::Timeout));
    assert_eq!(cluster.now(), Duration::from_secs(59));
    assert_eq!(servers[1].inbox().recv().unwrap().msg, "a minute");
    assert_eq!(cluster.now(), Duration::from_secs(60));
}

#[test]
fn hours_take_no_time() {
    let (cluster, mut servers) = cluster(1, 2);
    let begin = Instant::now();
    for _ in 0..3600 {
        servers[0].outbox().send(Envelope::to(2).body("heartbeat")).unwrap();
        cluster.run_for(Duration::from_secs(10));
    }
    assert_eq!(cluster.now(), Duration::from_secs(36_000));
    assert_eq!(take_all(&mut servers), 3600);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

/// A run in which everything happens.
fn eventful(seed: u64) -> String {
    let (cluster, mut servers) = cluster(seed, 5);
    let delay = Delay::Normal { mean: Duration::from_millis(10), deviation: Duration::from_millis(3) };
    let wild = Conditions::new()
        .drop(0.1)
        .duplicate(0.1)
        .reorder(0.2, Duration::from_millis(50))
        .delay(delay)
        .bytes_per_second(100_000);
    cluster.set(Place::Everywhere, wild).unwrap();
    let slow = Conditions::new().delay(Delay::Exponential { mean: Duration::from_millis(5) }).in_order();
    cluster.set(Place::Server(3), slow).unwrap();
    let second = Duration::from_secs(1);
    cluster.at(second, Fault::partition(&[&[1, 2], &[3, 4]])).unwrap();
    cluster.at(2 * second, Fault::Heal).unwrap();
    cluster.at(3 * second, Fault::Cut { from: 1, to: 2 }).unwrap();
    cluster.at(3 * second, Fault::HoldWhilePartitioned(true)).unwrap();
    cluster.at(4 * second, Fault::Mend { from: 1, to: 2 }).unwrap();
    cluster.at(5 * second, Fault::Crash(5)).unwrap();
    for _ in 0..60 {
        broadcast(&mut servers[..4], 1);
        cluster.run_for(Duration::from_millis(100));
        for server in &mut servers {
            let mut from = Vec::new();
            server.inbox().drain(|envelope| {
                if envelope.msg == b"all" {
                    from.push(envelope.pid);
                }
            });
            for pid in from {
                server.outbox().try_send(Envelope::to(pid).urgent().body("answer")).ok();
            }
        }
    }
    cluster.run_until_idle();
    let totals = cluster.totals();
    let (begun, ended) = (totals.sent + totals.duplicated, totals.delivered + totals.dropped() + totals.held);
    assert_eq!(begun, ended, "{totals:?}");
    assert!(totals.lost > 0 && totals.cut > 0 && totals.held_ever > 0 && totals.held > 0, "{totals:?}");
    assert!(totals.duplicated > 0 && totals.reordered > 0, "{totals:?}");
    cluster.history().to_string()
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..3 {
        assert_eq!(eventful(seed), eventful(seed));
    }
    assert_ne!(eventful(1), eventful(2));
}

#[test]
fn blocking_code_just_works_in_real_time() {
    let cluster = Cluster::new(1);
    let [mut one, mut two] = <[_; 2]>::try_from(cluster.add_servers([1, 2]).unwrap()).unwrap();
    let echo = thread::spawn(move || {
        for _ in 0..1000 {
            let envelope = receive(two.inbox());
            two.outbox().send(Envelope::to(1).id(envelope.msg_id).body(envelope.msg)).unwrap();
        }
        two.stop().unwrap();
    });
    for id in 0..1000 {
        one.outbox().send(Envelope::to(2).id(id).body("ping")).unwrap();
        assert_eq!(receive(one.inbox()).msg_id, id);
    }
    echo.join().unwrap();
}

#[test]
#[should_panic(expected = "would wait for ever")]
fn a_wait_without_end_in_virtual_time_panics() {
    let (_cluster, mut servers) = cluster(1, 2);
    let _ = servers[0].inbox().recv();
}

#[test]
fn futures_step_virtual_time() {
    let (cluster, mut servers) = cluster(1, 2);
    cluster.set(Place::Everywhere, Conditions::new().delay(Duration::from_secs(60))).unwrap();
    servers[0].outbox().send(Envelope::to(2).body("later")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let envelope = runtime.block_on(servers[1].inbox().recv_async()).unwrap();
    assert_eq!(envelope.msg, "later");
    assert_eq!(cluster.now(), Duration::from_secs(60));
}

#[test]
fn a_thousand_servers() {
    let (cluster, mut servers) = cluster(1, 1000);
    let delay = Duration::from_millis(1)..=Duration::from_millis(20);
    cluster.set(Place::Everywhere, Conditions::new().delay(delay)).unwrap();
    // Gossip: who hears it for the first time tells ten others.
    let mut heard = vec![false; 1000];
    heard[0] = true;
    let mut news = vec![0];
    while !news.is_empty() {
        for index in news.drain(..) {
            let peers: Vec<u64> = (1..=10).map(|step| (index as u64 * 7 + step * 97) % 1000 + 1).collect();
            let peers: Vec<u64> = peers.into_iter().filter(|pid| *pid != index as u64 + 1).collect();
            servers[index].outbox().send(Envelope::to(peers).body("news")).unwrap();
        }
        cluster.run_for(Duration::from_millis(1));
        for (index, server) in servers.iter_mut().enumerate() {
            if server.inbox().drain(|_| ()) > 0 && !std::mem::replace(&mut heard[index], true) {
                news.push(index);
            }
        }
        if news.is_empty() && cluster.run_until_idle() > Duration::ZERO {
            news.extend((0..1000).filter(|index| servers[*index].inbox().drain(|_| ()) > 0 && !heard[*index]));
            news.iter().for_each(|index| heard[*index] = true);
        }
    }
    assert!(heard.iter().filter(|heard| **heard).count() > 900);
    broadcast(&mut servers[..1], 1);
    cluster.run_until_idle();
    assert_eq!(take_all(&mut servers), 999);
}

#[test]
fn a_panic_is_told_the_seed() {
    // Only that it does not abort: the message goes to the output of a failed test.
    let result = thread::spawn(|| {
        let (_cluster, _servers) = cluster(77, 2);
        panic!("a test fails");
    })
    .join();
    assert!(result.is_err());
}

/// The thread may take the wake that announces the end, and must not sleep on it.
#[test]
fn clusters_in_real_time_end_at_once() {
    for seed in 0..2000 {
        let cluster = Cluster::new(seed);
        let mut servers = cluster.add_servers([1, 2]).unwrap();
        servers[0].outbox().send(Envelope::to(2).body("short life")).unwrap();
        drop(cluster);
    }
}
