//! How fast it is: `cargo test --release -p cluster --test it -- mock::speed --ignored --nocapture`.

use std::time::{Duration, Instant};

use cluster::mock::{Conditions, Place};
use cluster::{BROADCAST, Envelope, Server};

use super::{cluster, take_all};

const MESSAGES: usize = 2_000_000;
/// Million messages a second, in virtual time, on one thread.
const LEAST: f64 = 1.0;

fn report(what: &str, messages: usize, begin: Instant) {
    let rate = messages as f64 / begin.elapsed().as_secs_f64() / 1e6;
    eprintln!("{what}: {rate:.2} M msg/s");
    assert!(rate >= LEAST, "{what}: {rate:.2} M msg/s, at least {LEAST} is promised");
}

#[test]
#[ignore = "measures"]
fn a_stream_to_one() {
    let (_cluster, mut servers) = cluster(1, 2);
    let begin = Instant::now();
    let mut taken = 0;
    while taken < MESSAGES {
        for _ in 0..1000 {
            servers[0].outbox().send(Envelope::to(2).body([7; 64].as_slice())).unwrap();
        }
        taken += take_all(&mut servers[1..]);
    }
    report("64 bytes to one, drained", taken, begin);
}

#[test]
#[ignore = "measures"]
fn broadcasts_with_a_delay() {
    let (cluster, mut servers) = cluster(1, 5);
    let delay = Duration::from_millis(1)..=Duration::from_millis(20);
    cluster.set(Place::Everywhere, Conditions::new().delay(delay)).unwrap();
    let begin = Instant::now();
    let mut taken = 0;
    while taken < MESSAGES {
        for server in &mut servers {
            for _ in 0..50 {
                server.outbox().send(Envelope::to(BROADCAST).body([7; 64].as_slice())).unwrap();
            }
        }
        cluster.run_for(Duration::from_millis(5));
        taken += take_all(&mut servers);
    }
    report("64 bytes to four others, delays of 1 to 20 ms", taken, begin);
}

#[test]
#[ignore = "measures"]
fn questions_and_answers() {
    let (_cluster, mut servers) = cluster(1, 2);
    let begin = Instant::now();
    for _ in 0..MESSAGES / 4 {
        servers[0].outbox().send(Envelope::to(2).body([7; 64].as_slice())).unwrap();
        let envelope = servers[1].inbox().recv().unwrap();
        servers[1].outbox().send(Envelope::to(1).body(envelope.msg)).unwrap();
        servers[0].inbox().recv().unwrap();
    }
    report("64 bytes there and back", MESSAGES / 2, begin);
}
