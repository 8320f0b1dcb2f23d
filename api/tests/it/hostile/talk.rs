//! Two honest servers that talk while something else goes on, and how long their round trips take meanwhile.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Envelope, Event, Node, Server};
use hdrhistogram::Histogram;

use crate::support::{PATIENCE, eventually, send};

/// A round trip that takes longer is counted as this: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// The conversation of servers 1 and 2.
pub(super) struct Talk {
    ended: AtomicBool,
    round_trips: Mutex<Histogram<u64>>,
}

/// How long round trips took.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundTrips {
    pub(super) count: u64,
    pub(super) median: Duration,
    pub(super) p99: Duration,
    pub(super) longest: Duration,
}

impl fmt::Display for RoundTrips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RoundTrips { count, median, p99, longest } = self;
        write!(f, "{count} round trips, p50 {median:.1?}, p99 {p99:.1?}, longest {longest:.1?}")
    }
}

impl Talk {
    /// Servers 1 and 2 exchange one numbered envelope all the time while `meanwhile` runs. Each has to come once, in order,
    /// and their link has to stay.
    pub(super) fn during(nodes: [Node; 2], meanwhile: impl FnOnce(&Talk)) {
        let talk = Talk {
            ended: AtomicBool::new(false),
            round_trips: Mutex::new(Histogram::new_with_max(LONGEST_NS, 3).unwrap()),
        };
        thread::scope(|scope| {
            // However `meanwhile` ends, the servers are told.
            struct End<'a>(&'a AtomicBool);
            impl Drop for End<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let end = End(&talk.ended);
            let talk = &talk;
            let [one, two] = nodes;
            let servers = [scope.spawn(move || talk.answer(one)), scope.spawn(move || talk.ask(two))];
            talk.measure(|| talk.goes_on());
            meanwhile(talk);
            talk.measure(|| talk.goes_on());
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

    /// The round trips while `meanwhile` runs.
    pub(super) fn measure(&self, meanwhile: impl FnOnce()) -> RoundTrips {
        self.round_trips.lock().unwrap().reset();
        meanwhile();
        let round_trips = self.round_trips.lock().unwrap();
        let at = |quantile| Duration::from_nanos(round_trips.value_at_quantile(quantile));
        RoundTrips { count: round_trips.len(), median: at(0.5), p99: at(0.99), longest: at(1.0) }
    }

    /// Waits until twenty more round trips have been made.
    pub(super) fn goes_on(&self) {
        let count = || self.round_trips.lock().unwrap().len();
        let before = count();
        eventually("traffic between the honest servers", || (count() > before + 20).then_some(()));
    }

    fn ask(&self, mut node: Node) -> Node {
        for number in 0.. {
            if self.ended.load(Ordering::Relaxed) {
                break;
            }
            let begin = Instant::now();
            send(node.outbox(), Envelope::to(1).id(number).body("ball"));
            let envelope = node.inbox().recv_timeout(PATIENCE).unwrap();
            self.round_trips.lock().unwrap().saturating_record(begin.elapsed().as_nanos() as u64);
            assert_eq!((envelope.pid, envelope.msg_id, &envelope.msg[..]), (1, number, &b"ball"[..]));
        }
        node
    }

    fn answer(&self, mut node: Node) -> Node {
        let mut next = 0;
        while !self.ended.load(Ordering::Relaxed) {
            match node.inbox().recv_timeout(Duration::from_millis(100)) {
                Ok(envelope) if envelope.pid == 2 => {
                    assert_eq!((envelope.msg_id, &envelope.msg[..]), (next, &b"ball"[..]));
                    send(node.outbox(), Envelope::to(2).id(next).body("ball"));
                    next += 1;
                }
                // What an attacker was allowed to say.
                Ok(_) => {}
                Err(error) => assert_eq!(error, cluster::RecvTimeoutError::Timeout),
            }
        }
        node
    }
}
