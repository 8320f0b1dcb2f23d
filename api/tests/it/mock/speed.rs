//! Speed of the mock, beside a channel of the standard library:
//! `cargo test --release -p cluster --test it -- mock::speed --ignored --nocapture --test-threads 1`.

use std::hint::black_box;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::mock::{Conditions, Place};
use cluster::{BROADCAST, Envelope, Server};

use super::{cluster, take_all};

const MESSAGES: usize = 500_000;
const ROUNDS: usize = 5;

/// Seconds for a message of 64 bytes that is copied, sent and received over a channel, all on one thread.
fn channel() -> f64 {
    let (sender, receiver) = mpsc::channel();
    let begin = Instant::now();
    for _ in 0..MESSAGES {
        sender.send(Bytes::copy_from_slice(&[7; 64])).unwrap();
        black_box(receiver.recv().unwrap());
    }
    begin.elapsed().as_secs_f64() / MESSAGES as f64
}

/// Compares seconds for each message in virtual time, on one thread, with the channel's, in turn. The median of the
/// ratios must not be over `most`.
fn compare(what: &str, most: f64, mut measure: impl FnMut() -> f64) {
    let mut ratios: Vec<f64> = (0..ROUNDS).map(|_| measure() / channel()).collect();
    ratios.sort_by(f64::total_cmp);
    eprintln!(
        "{what}: {:.1} times a channel's time ({:.1} to {:.1})",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
    assert!(ratios[ROUNDS / 2] <= most, "{what}: at most {most} times a channel's time is promised, not {ratios:?}");
}

fn since(begin: Instant, messages: usize) -> f64 {
    begin.elapsed().as_secs_f64() / messages as f64
}

#[test]
#[ignore = "measures"]
fn a_stream_to_one() {
    let (_cluster, mut servers) = cluster(1, 2);
    compare("64 bytes to one, drained", 6.0, || {
        let begin = Instant::now();
        let mut taken = 0;
        while taken < MESSAGES {
            for _ in 0..1000 {
                servers[0].outbox().send(Envelope::to(2).body([7; 64].as_slice())).unwrap();
            }
            taken += take_all(&mut servers[1..]);
        }
        since(begin, taken)
    });
}

#[test]
#[ignore = "measures"]
fn broadcasts_with_a_delay() {
    let (cluster, mut servers) = cluster(1, 5);
    let delay = Duration::from_millis(1)..=Duration::from_millis(20);
    cluster.set(Place::Everywhere, Conditions::new().delay(delay)).unwrap();
    compare("64 bytes to four others, delays of 1 to 20 ms", 24.0, || {
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
        since(begin, taken)
    });
}

#[test]
#[ignore = "measures"]
fn questions_and_answers() {
    let (_cluster, mut servers) = cluster(1, 2);
    compare("64 bytes there and back", 28.0, || {
        let begin = Instant::now();
        for _ in 0..MESSAGES / 2 {
            servers[0].outbox().send(Envelope::to(2).body([7; 64].as_slice())).unwrap();
            let envelope = servers[1].inbox().recv().unwrap();
            servers[1].outbox().send(Envelope::to(1).body(envelope.msg)).unwrap();
            servers[0].inbox().recv().unwrap();
        }
        since(begin, MESSAGES)
    });
}
