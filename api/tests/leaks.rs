//! Starting and stopping leaves nothing behind. In a process of its own, because it counts what the process has.
#![allow(clippy::print_stderr, reason = "what was measured is worth reading")]

use std::fs;
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cluster::{BROADCAST, Config, Envelope, Neighbours, Node, Pid, Server};

const PATIENCE: Duration = Duration::from_secs(30);

/// The tests of this file count the same things.
static ALONE: Mutex<()> = Mutex::new(());

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The names of the threads that are the engine's, or io_uring's for it.
fn engine_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("cluster-") || name.starts_with("iou-"))
        .collect()
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Fixed addresses, below the ports that the kernel gives away by itself.
fn config(name: &str, servers: u64, neighbours: Neighbours) -> Config {
    let mut port = 10_000 + (std::process::id() % 400) as u16 * 20;
    let members: Vec<(Pid, String)> = (0..servers)
        .map(|pid| {
            while TcpListener::bind(("127.0.0.1", port)).is_err() {
                port += 1;
            }
            port += 1;
            (pid, format!("127.0.0.1:{}", port - 1))
        })
        .collect();
    Config::new(members).unwrap().with_cluster(name).with_neighbours(neighbours)
}

fn exchange(servers: &mut [Node], round: i64) {
    for server in servers.iter_mut() {
        server.outbox().send(Envelope::to(BROADCAST).id(round).body(vec![round as u8; 100])).unwrap();
    }
    let peers = servers.len() - 1;
    for server in servers {
        for _ in 0..peers {
            let envelope = server.inbox().recv_timeout(PATIENCE).unwrap();
            assert_eq!((envelope.msg_id, &envelope.msg[..]), (round, &[round as u8; 100][..]));
        }
    }
}

#[test]
fn fourteen_servers_start_and_stop_sixty_four_times() {
    fourteen_servers(Neighbours::Tcp, 64);
}

#[test]
fn fourteen_neighbours_start_and_stop_thirty_two_times() {
    fourteen_servers(Neighbours::Memory, 32);
}

fn fourteen_servers(neighbours: Neighbours, rounds: i64) {
    let _alone = ALONE.lock();
    let config = config("fourteen", 14, neighbours);
    let before = descriptors();
    let mut settled = 0;
    let mut stops = Vec::new();
    let begin = Instant::now();
    for round in 0..rounds {
        let mut servers: Vec<Node> =
            config.servers.iter().map(|member| cluster::start(member.pid, &config).unwrap()).collect();
        exchange(&mut servers, round);
        if round % 2 == 0 {
            for server in &mut servers {
                let begin = Instant::now();
                server.stop().unwrap();
                stops.push(begin.elapsed());
            }
        }
        drop(servers);
        eventually("the end of the engine's threads", || engine_threads().is_empty());
        assert_eq!(descriptors(), before, "descriptors after round {round}");
        if round == rounds / 4 {
            settled = resident_kib();
        }
    }
    stops.sort_unstable();
    let grown = resident_kib().saturating_sub(settled);
    eprintln!(
        "{rounds} rounds in {:?}; a stop took {:?} (median), {:?} (worst); {settled} KiB resident, grown by {grown}",
        begin.elapsed(),
        stops[stops.len() / 2],
        stops[stops.len() - 1]
    );
    assert!(grown < 16 * 1024, "memory has grown by {grown} KiB in {} rounds", rounds - rounds / 4);
}

#[test]
fn a_server_whose_peer_comes_and_goes_keeps_its_size() {
    comes_and_goes(Neighbours::Tcp);
}

#[test]
fn a_server_whose_neighbour_comes_and_goes_keeps_its_size() {
    comes_and_goes(Neighbours::Memory);
}

/// Each has a listener, and all pairs are connected, which would take 39,800 descriptors.
#[test]
fn two_hundred_neighbours_need_no_connections() {
    let _alone = ALONE.lock();
    // With as many links as these have, four heartbeats a second for each would be most of the work.
    let config = config("crowd", 200, Neighbours::Memory)
        .with_outbox_bytes(Config::MIN_OUTBOX_BYTES)
        .with_heartbeat_interval_ms(4_000)
        .with_peer_timeout_ms(20_000);
    let before = descriptors();
    let begin = Instant::now();
    let mut servers: Vec<Node> =
        config.servers.iter().map(|member| cluster::start(member.pid, &config).unwrap()).collect();
    exchange(&mut servers, 7);
    let (took, more) = (begin.elapsed(), descriptors() - before);
    let loops = engine_threads().len();
    eprintln!("200 servers, all to all, in {took:?}: {more} descriptors, {} KiB resident", resident_kib());
    // A loop has a ring, an eventfd, and an epoll instance for its listeners.
    assert!(more <= 200 + 3 * loops, "{more} descriptors for {loops} loops");
    drop(servers);
    eventually("the end of the engine's threads", || engine_threads().is_empty());
    assert_eq!(descriptors(), before);
}

fn comes_and_goes(neighbours: Neighbours) {
    let _alone = ALONE.lock();
    let config = config("comes-and-goes", 2, neighbours);
    let mut one = cluster::start(0, &config).unwrap();
    let mut before = 0;
    let mut settled = 0;
    for round in 0..200 {
        let mut two = cluster::start(1, &config).unwrap();
        two.outbox().send(Envelope::to(0).id(round)).unwrap();
        assert_eq!(one.inbox().recv_timeout(PATIENCE).unwrap().msg_id, round);
        // By the clone of an outbox, whose streams come and go too.
        one.outbox().clone().send(Envelope::to(1).id(round)).unwrap();
        assert_eq!(two.inbox().recv_timeout(PATIENCE).unwrap().msg_id, round);
        two.stop().unwrap();
        drop(two);
        if round == 50 {
            eventually("closed connections", || {
                let now = descriptors();
                std::mem::replace(&mut before, now) == now
            });
            settled = resident_kib();
        }
    }
    eventually("closed connections", || descriptors() <= before);
    let grown = resident_kib().saturating_sub(settled);
    eprintln!("{before} descriptors; {settled} KiB resident, grown by {grown}");
    assert!(grown < 16 * 1024, "memory has grown by {grown} KiB");
}
