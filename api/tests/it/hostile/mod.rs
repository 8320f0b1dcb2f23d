//! Connections that mean harm, or that speak another language, cost nothing but themselves.

mod acknowledgements;
mod flood;
mod greetings;
mod mutation;
mod process;
mod recording;
mod segments;
mod slow;
mod speech;
mod talk;

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use cluster::{Config, Engine, Envelope, Event, Idle, Node, Server};

use self::speech::{await_end, hello, impersonate};
use crate::support::{Cluster, eventually, send};

/// Servers 1 and 2 play ping-pong; the attacker has the pid, and the address, of server 3.
///
/// They run on an engine of their own, so that one that breaks takes no other test along.
fn under_attack(change: impl FnOnce(Config) -> Config, attack: impl FnOnce(&Config, &dyn Fn())) {
    let mut cluster = Cluster::new([1, 2, 3]).with(change);
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let [one, two] = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    let rounds = AtomicU64::new(0);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        // However the attack ends, the honest servers are told.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let end = End(&ended);
        let (rounds, ended) = (&rounds, &ended);
        let serve = move |mut node: Node, first: bool| {
            let peer = if first { 2 } else { 1 };
            let mut next = i64::from(first);
            if first {
                send(node.outbox(), Envelope::to(peer).id(0).body("ball"));
            }
            while !ended.load(Ordering::Relaxed) {
                match node.inbox().recv_timeout(Duration::from_millis(100)) {
                    Ok(envelope) if envelope.pid == peer => {
                        assert_eq!((envelope.msg_id, &envelope.msg[..]), (next, &b"ball"[..]));
                        send(node.outbox(), Envelope::to(peer).id(next + 1).body("ball"));
                        next += 2;
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                    // What the attacker was allowed to say.
                    Ok(envelope) => assert_eq!(envelope.pid, 3),
                    Err(error) => assert_eq!(error, cluster::RecvTimeoutError::Timeout),
                }
            }
            node
        };
        let servers = [scope.spawn(move || serve(one, true)), scope.spawn(move || serve(two, false))];
        let alive = || {
            let before = rounds.load(Ordering::Relaxed);
            eventually("traffic between the honest servers", || {
                (rounds.load(Ordering::Relaxed) > before + 20).then_some(())
            });
        };
        alive();
        attack(&cluster.config, &alive);
        alive();
        drop(end);
        // Both live until both have been asked.
        let mut servers = servers.map(|server| server.join().unwrap());
        for server in &mut servers {
            while let Some(event) = server.events().try_next() {
                assert!(!matches!(event, Event::Down { pid: 1 | 2, .. }), "the honest link: {event:?}");
            }
        }
    });
}

/// The attacker is welcome, and then says this.
fn after_a_valid_handshake(what: &str, say: impl Fn(&Config) -> Vec<Vec<u8>>) {
    under_attack(
        |config| config.with_max_envelope_bytes(1 << 20),
        |config, alive| {
            for _ in 0..3 {
                let (mut stream, _) = impersonate(config, &hello(config));
                for segment in say(config) {
                    // It may hang up before all is said.
                    let _ = stream.write_all(&segment);
                }
                await_end(&mut stream, what);
                alive();
            }
        },
    );
}
