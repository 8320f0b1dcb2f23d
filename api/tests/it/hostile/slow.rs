//! Thousands of connections that say nothing, or one byte now and then.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Engine, Envelope, Idle, Server};

use super::process::{await_descriptors, descriptors, resident_kib};
use super::speech::{hello, say_hello};
use super::talk::Talk;
use crate::support::{Cluster, PATIENCE, send};

const CONNECTIONS: usize = 2_000;
/// What one of them may cost.
const CONNECTION_KIB: u64 = 16;
/// How soon somebody honest is heard while all of them are there.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
/// A connection that has not greeted by then is hung up on: counted from when the server accepts it.
const GREETING: Duration = Duration::from_secs(5);
/// From the dial to the accept, and from the end to when this test, which looks at each of them in turn, notices it.
const TOLERANCE: Duration = Duration::from_secs(1);
/// So many dial before all of them are accepted. A dial beyond the kernel's queue (128) would be repeated after a second, three, seven.
const GROUP: usize = 50;
/// How often those that speak say one more byte. They greet as they should, and would take minutes.
const BYTE_EVERY: Duration = Duration::from_secs(1);

/// Connections that have not greeted, at most, and those that are just being closed.
const MOST_UNGREETED: usize = 128 + 16;

/// Alone in its process: see `flood`.
#[test]
#[ignore = "measures its whole process"]
fn two_thousand_slow_connections() {
    let mut cluster = Cluster::new([1, 2, 3]);
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let nodes = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    let (greeting, address) = (say_hello(&hello(&cluster.config)), cluster.address(1));
    Talk::during(nodes, |talk| {
        let quiet = talk.measure(|| thread::sleep(Duration::from_secs(2)));
        let (before, open) = (resident_kib(), descriptors());
        let mut lives = Vec::new();
        let mut most = 0;
        let mut met = Duration::ZERO;
        let besieged = talk.measure(|| {
            let mut connections = Vec::new();
            for number in 0..CONNECTIONS {
                connections.push(Slow::new(&address, &greeting, number % 2 == 1));
                if connections.len().is_multiple_of(GROUP) {
                    // Both ends are in this process. The server holds few: the others wait, or are closed.
                    let held = descriptors().saturating_sub(open + connections.len());
                    assert!(held <= MOST_UNGREETED, "{held} connections are held that have not greeted");
                }
            }
            let mut newcomer = None;
            let deadline = Instant::now() + PATIENCE;
            while !connections.is_empty() {
                most = resident_kib().max(most);
                connections.retain_mut(|connection| match connection.is_open() {
                    true => true,
                    false => {
                        lives.push(connection.since.elapsed());
                        false
                    }
                });
                // While all are there, somebody honest connects for the first time.
                newcomer.get_or_insert_with(|| {
                    let begin = Instant::now();
                    let mut three = cluster.start(3);
                    send(three.outbox(), Envelope::to(1).body("hello"));
                    three.outbox().flush(PATIENCE).unwrap();
                    met = begin.elapsed();
                    three
                });
                assert!(Instant::now() < deadline, "{} connections were not hung up on", connections.len());
                thread::sleep(Duration::from_millis(5));
            }
        });
        await_descriptors(open);
        lives.sort_unstable();
        let (median, longest) = (lives[CONNECTIONS / 2], lives[CONNECTIONS - 1]);
        let each = most.saturating_sub(before) / CONNECTIONS as u64;
        eprintln!("quiet: {quiet}");
        eprintln!("{CONNECTIONS} slow connections: {besieged}");
        eprintln!(
            "an honest newcomer was heard after {met:.1?}; hung up on after {median:.1?} (median), {longest:.1?}"
        );
        eprintln!("{each} KiB each: {before} KiB resident before, {most} at most, {} after", resident_kib());
        assert!(each <= CONNECTION_KIB, "{each} KiB for each");
        assert!(met <= HEARD_WITHIN, "a newcomer was heard after {met:.1?}");
        assert!(longest <= GREETING + TOLERANCE, "a slow connection was hung up on after {longest:.1?}");
    });
}

struct Slow<'a> {
    stream: TcpStream,
    since: Instant,
    /// What it has still to say.
    rest: &'a [u8],
    said: Instant,
}

impl<'a> Slow<'a> {
    fn new(address: &str, greeting: &'a [u8], speaks: bool) -> Slow<'a> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        let now = Instant::now();
        Slow { stream, since: now, rest: if speaks { greeting } else { &[] }, said: now }
    }

    /// Says one more byte if it is time, and looks whether the server is still there.
    fn is_open(&mut self) -> bool {
        if self.said.elapsed() >= BYTE_EVERY
            && let Some((byte, rest)) = self.rest.split_first()
        {
            // A connection that has ended is noticed below.
            let _ = self.stream.write(&[*byte]);
            (self.rest, self.said) = (rest, Instant::now());
        }
        match self.stream.read(&mut [0; 16]) {
            Ok(0) => false,
            Ok(_) => panic!("nothing was to be said to who did not greet"),
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}
