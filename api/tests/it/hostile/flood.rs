//! Mutated protocol streams by the hundred thousand, and two honest servers that notice nothing of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use cluster::{Engine, Idle, Member};
use cluster_engine::wire::{Hello, Kind};
use fastrand::Rng;
use socket2::{Domain, Socket, Type};

use super::mutation::Material;
use super::process::{await_descriptors, descriptors, peak_resident_kib, resident_kib};
use super::recording::{bulk, chat};
use super::speech::hello;
use super::talk::{Talk, compare};
use crate::support::{Cluster, PATIENCE, fixed_address, random_of_test};

/// So many connections at a time, each from a pid of its own.
const ATTACKERS: u64 = 8;
/// What the engine keeps for later use, 64 receive buffers of 260 KiB, and some more.
const KEPT_KIB: u64 = 20 * 1024;
/// What is unread while a busy machine lets the application wait.
const UNREAD_KIB: u64 = 128 * 1024;
/// What each attacker leaves between two streams, where it does.
const PAUSE: Option<Duration> = Some(Duration::from_millis(ATTACKERS));

/// Few, in every run of the tests.
#[test]
fn a_thousand_mutated_streams() {
    let rng = random_of_test("a_thousand_mutated_streams");
    flood(|attack, talk| {
        let welcomed = attack.run(1_000, &rng);
        talk.goes_on();
        assert!(welcomed > 300, "only {welcomed} greetings were believed");
    });
}

/// Many, with what they cost. Alone in its process, and optimized:
/// `cargo test --release --package cluster --test it -- --ignored --nocapture --test-threads 1 hostile::`
#[test]
#[ignore = "takes half a minute, and measures its whole process"]
fn a_hundred_thousand_mutated_streams() {
    const STREAMS: u64 = 100_000;
    let rng = random_of_test("a_hundred_thousand_mutated_streams");
    flood(|attack, talk| {
        let quiet = talk.measure(|| thread::sleep(Duration::from_secs(2)));
        eprintln!("quiet: {quiet}");
        // The same connections past the server tell what the attackers alone cost on a machine of few processors.
        let past = Attack { address: bystander(), ..attack.clone() };
        // Printed, not asserted: with both processors taken, the tail is what the scheduler makes of it.
        for (to, attack) in [("another listener", &past), ("the server", attack)] {
            let meanwhile = talk.measure(|| _ = attack.run(STREAMS / 25, &rng));
            eprintln!("all at once, to {to}: {meanwhile}");
        }
        let paced = |attack: &Attack| {
            let attack = Attack { pause: PAUSE, ..attack.clone() };
            talk.measure(|| _ = attack.run(STREAMS / 100, &rng))
        };
        compare("1,000 streams a second", || paced(&past), || paced(attack));
        // What is kept for later use is there by now.
        let (before, open) = (resident_kib(), descriptors());
        let (mut welcomed, mut meanwhile) = (0, quiet);
        let peak = peak_resident_kib(|| meanwhile = talk.measure(|| welcomed = attack.run(STREAMS, &rng)));
        await_descriptors(open);
        // Behind all that the attackers have sent.
        talk.goes_on();
        let after = resident_kib();
        eprintln!("{STREAMS} streams, {welcomed} greetings believed: {meanwhile}");
        eprintln!("{before} KiB resident before, {peak} at most, {after} after");
        assert!(welcomed > STREAMS / 3, "only {welcomed} greetings were believed");
        assert!(after < before + KEPT_KIB, "memory has grown from {before} to {after} KiB");
        assert!(peak < before + KEPT_KIB + UNREAD_KIB, "memory has grown from {before} to {peak} KiB");
        assert!(meanwhile.p99 < Duration::from_secs(5), "{meanwhile}");
    });
}

/// Servers 1 and 2 talk, and the attackers' pids and addresses belong to nobody.
fn flood(attack: impl FnOnce(&Attack, &Talk)) {
    let material = Material { recordings: vec![chat(), bulk()] };
    let mut cluster = Cluster::new([1, 2]);
    let pids = 3..3 + ATTACKERS;
    cluster.config.servers.extend(pids.map(|pid| Member::new(pid, fixed_address())));
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let nodes = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    let config = cluster.config.clone();
    let address = cluster.address(1).parse().unwrap();
    let all = Attack { material: &material, hello: hello(&config), address, pause: None };
    Talk::during(nodes, |talk| attack(&all, talk));
}

#[derive(Clone)]
struct Attack<'a> {
    material: &'a Material,
    hello: Hello,
    address: SocketAddr,
    pause: Option<Duration>,
}

impl Attack<'_> {
    /// Throws `streams` streams, and returns how many greetings were believed.
    fn run(&self, streams: u64, rng: &Rng) -> u64 {
        let (welcomed, mut rng) = (AtomicU64::new(0), rng.clone());
        thread::scope(|scope| {
            for attacker in 0..ATTACKERS {
                let (welcomed, mut rng) = (&welcomed, rng.fork());
                scope.spawn(move || {
                    for _ in (attacker..streams).step_by(ATTACKERS as usize) {
                        self.pause.inspect(|pause| thread::sleep(*pause));
                        welcomed.fetch_add(u64::from(self.throw(3 + attacker, &mut rng)), Ordering::Relaxed);
                    }
                });
            }
        });
        welcomed.into_inner()
    }

    /// Throws one stream from the pid `from`. Whether its greeting was believed.
    fn throw(&self, from: u64, rng: &mut Rng) -> bool {
        // Another life each time: what the server takes to be the last one's is over.
        let incarnation = std::array::from_fn(|_| rng.u8(..));
        let bytes = self.material.mutated(rng, &Hello { from, incarnation, ..self.hello.clone() });
        let mut stream = connect(self.address, rng);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut part = &bytes[..];
        // It may hang up before all is said.
        while !part.is_empty() {
            let length = if rng.u64(..4) == 0 { rng.usize(1..=part.len()) } else { part.len() };
            match stream.write(&part[..length]) {
                Ok(written) => part = &part[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("it is not read from"),
                Err(_) => break,
            }
        }
        if rng.u64(..8) == 0 {
            // Left without a word, with a reset.
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            return false;
        }
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "not hung up on");
        }
        answer.get(3) == Some(&(Kind::Welcome as u8))
    }
}

/// Connects from one of many addresses, because each has only so many ports.
fn connect(address: SocketAddr, rng: &mut Rng) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source = Ipv4Addr::new(127, 0, rng.u8(..200), rng.u8(2..202));
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.into()
}

/// A listener that reads what comes and says nothing.
fn bystander() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok((mut stream, _)) = listener.accept() {
            while let Ok(1..) = stream.read(&mut buffer) {}
        }
    });
    address
}
