//! What the tests share: clusters on free ports, waiting, payloads that can be checked, and random numbers with a seed.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{Builder, Config, Engine, Envelope, Event, Events, Inbox, Neighbours, Node, Outbox, Pid, Server};
use fastrand::Rng;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// How long a test waits for anything. Reached only by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "did not happen within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A configuration, and the listeners of those of its servers that were not started yet.
pub struct Cluster {
    pub config: Config,
    listeners: HashMap<Pid, TcpListener>,
}

impl Cluster {
    /// Servers on ports that the kernel chose. Each listens already, and its listener is handed over when it starts.
    pub fn new(pids: impl IntoIterator<Item = Pid>) -> Cluster {
        let mut listeners = HashMap::new();
        let members: Vec<(Pid, String)> = pids
            .into_iter()
            .map(|pid| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap().to_string();
                listeners.insert(pid, listener);
                (pid, address)
            })
            .collect();
        Cluster { config: config(members), listeners }
    }

    /// Servers on ports that nobody else will get, so that they can be started late, and started again.
    pub fn fixed(pids: impl IntoIterator<Item = Pid>) -> Cluster {
        let members: Vec<(Pid, String)> = pids.into_iter().map(|pid| (pid, fixed_address())).collect();
        Cluster { config: config(members), listeners: HashMap::new() }
    }

    /// Changes the configuration.
    pub fn with(mut self, change: impl FnOnce(Config) -> Config) -> Cluster {
        self.config = change(self.config);
        self
    }

    pub fn start(&mut self, pid: Pid) -> Node {
        without_fallback(self.start_with_all_events(pid))
    }

    /// As [`start`](Cluster::start), and leaves the event about a fallback to the test.
    pub fn start_with_all_events(&mut self, pid: Pid) -> Node {
        let listener = self.listeners.remove(&pid);
        let builder = Builder::new(pid, &self.config);
        let builder = if let Some(listener) = listener { builder.listener(listener) } else { builder };
        builder.start().unwrap()
    }

    pub fn start_on(&mut self, pid: Pid, engine: &Engine) -> Node {
        let listener = self.listeners.remove(&pid);
        let builder = Builder::new(pid, &self.config).engine(engine);
        let builder = if let Some(listener) = listener { builder.listener(listener) } else { builder };
        without_fallback(builder.start().unwrap())
    }

    /// Starts these servers.
    pub fn start_each<const N: usize>(&mut self, pids: [Pid; N]) -> [Node; N] {
        pids.map(|pid| self.start(pid))
    }

    pub fn address(&self, pid: Pid) -> String {
        self.config.address_of(pid).unwrap().to_owned()
    }

    /// The ports of all servers.
    pub fn ports(&self) -> Vec<u16> {
        let port = |address: &str| address.rsplit(':').next().unwrap().parse().unwrap();
        self.config.servers.iter().map(|member| port(&member.address)).collect()
    }
}

/// Reads the event of a server that runs on epoll because io_uring is forbidden to the tests. So they see the same
/// events everywhere.
pub fn without_fallback(mut node: Node) -> Node {
    if node.engine().fallback().is_some() {
        assert!(matches!(node.events().try_next(), Some(Event::EpollFallback { .. })));
    }
    node
}

/// Returns whether a test of io_uring itself must be left out (`forbid-io-uring`).
pub fn is_io_uring_forbidden() -> bool {
    std::env::var_os("IO_URING_FORBIDDEN").is_some()
}

/// A filter that refuses these system calls with this error.
pub fn refusing<const N: usize>(calls: [libc::c_long; N], error: libc::c_int) -> BpfProgram {
    let rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let refused = SeccompAction::Errno(error as u32);
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture).unwrap();
    filter.try_into().unwrap()
}

/// These servers in a cluster of their own, over TCP: that is the longer way, and what most tests are about. With
/// `NEIGHBOURS=memory` in the environment, through memory.
fn config(members: Vec<(Pid, String)>) -> Config {
    let neighbours = match std::env::var("NEIGHBOURS").as_deref() {
        Ok("memory") => Neighbours::Memory,
        _ => Neighbours::Tcp,
    };
    Config::new(members).unwrap().with_cluster(unique_name()).with_neighbours(neighbours)
}

/// The connections between the servers that listen on these ports, as the kernel lists them.
pub fn connections(ports: &[u16]) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let established = table.lines().skip(1).filter(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields[1].rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
        // The accepted end has the listener's port; the dialed one has one of its own.
        fields[3] == "01" && port.is_some_and(|port| ports.contains(&port))
    });
    established.count()
}

/// Two connected servers, 1 and 2.
pub fn pair() -> [Node; 2] {
    Cluster::new([1, 2]).start_each([1, 2])
}

/// A cluster name that no other test has.
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An address that can be listened on, now and again later: below the ports that the kernel gives away by itself, and in
/// a range of this process.
pub fn fixed_address() -> String {
    const RANGES: u32 = 100;
    const PORTS: u32 = 120;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(number < 10 * PORTS, "no free ports");
        let range = (std::process::id() + number / PORTS * 37) % RANGES;
        let address = format!("127.0.0.1:{}", 20_000 + range * PORTS + number % PORTS);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// The next envelope; the test fails when none comes.
#[track_caller]
pub fn receive(inbox: &mut Inbox) -> Envelope {
    match inbox.recv_timeout(PATIENCE) {
        Ok(envelope) => envelope,
        Err(error) => panic!("no envelope: {error}"),
    }
}

/// Sends; the test fails when there is no room for long.
#[track_caller]
pub fn send(outbox: &mut Outbox, draft: cluster::Draft) {
    if let Err(error) = outbox.send_timeout(draft, PATIENCE) {
        panic!("not sent: {error}");
    }
}

/// Waits for an event that `wanted` recognizes, and returns it with those before it.
#[track_caller]
pub fn await_event(events: &mut Events, what: &str, mut wanted: impl FnMut(&Event) -> bool) -> Vec<Event> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while Instant::now() < deadline {
        if let Some(event) = events.next_timeout(deadline.saturating_duration_since(Instant::now())) {
            let found = wanted(&event);
            seen.push(event);
            if found {
                return seen;
            }
        }
    }
    panic!("no {what}; there were {seen:?}");
}

/// Whether envelopes travel both ways between two servers. Nothing else may be in their inboxes.
#[track_caller]
pub fn assert_alive(a: &mut Node, b: &mut Node) {
    send(a.outbox(), Envelope::to(b.pid()).body("are you there?"));
    assert_eq!(receive(b.inbox()).msg, "are you there?");
    send(b.outbox(), Envelope::to(a.pid()).body("I am"));
    assert_eq!(receive(a.inbox()).msg, "I am");
}

/// A message whose every byte follows from `seed` and its length.
pub fn message(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    Rng::with_seed(seed ^ (length as u64) << 32).fork().fill(&mut bytes);
    bytes.into()
}

/// Compares without printing megabytes when it fails.
#[track_caller]
pub fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: another length");
    if let Some(at) =
        (0..found.len()).find(|at| found[*at..(*at + 1)] != expected[*at..(*at + 1)]).filter(|_| found != expected)
    {
        panic!("{what}: byte {at} of {} is {} instead of {}", found.len(), found[at], expected[at]);
    }
}

/// A random number generator, seeded from the environment variable `SEED`, or anew; prints the seed.
pub fn random_of_test(test: &str) -> Rng {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    eprintln!("{test}: SEED={seed}");
    Rng::with_seed(seed).fork()
}
