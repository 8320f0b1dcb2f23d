//! Servers in a process without free descriptors. The tests have a process of their own, because they change its limit.

use std::fs::File;
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cluster::{Config, Envelope, Event, Neighbours, Node, Pid, Server};

const PATIENCE: Duration = Duration::from_secs(30);

/// Held by each test, because the limit applies to the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// The soft and the hard limit of open files.
fn limit() -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    (limit.rlim_cur, limit.rlim_max)
}

fn set_soft_limit(soft: u64) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: limit().1 };
    // SAFETY: the kernel reads one rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

/// Opens files until there is no descriptor left.
fn use_up_descriptors() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// Two servers that reach each other over TCP, and leave the limit as it is.
fn config() -> Config {
    let free = |_| TcpListener::bind("127.0.0.1:0").unwrap();
    let members = [1, 2].map(free);
    let members = [1, 2].into_iter().zip(members.each_ref().map(|each| each.local_addr().unwrap().to_string()));
    let members: Vec<(Pid, String)> = members.collect();
    Config::new(members)
        .unwrap()
        .with_cluster(format!("descriptors-{}", std::process::id()))
        .with_neighbours(Neighbours::Tcp)
        .with_raise_descriptor_limit(false)
}

/// The event that is `wanted`, with those before it.
fn await_event(node: &mut Node, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while Instant::now() < deadline {
        if let Some(event) = node.events().next_timeout(PATIENCE) {
            seen.push(event);
            if seen.last().is_some_and(&wanted) {
                return seen;
            }
        }
    }
    panic!("it did not come; there were {seen:?}");
}

/// Regression: a server without descriptors reported no failed dial, and every failed accept.
#[test]
fn a_shortage_of_descriptors_is_told_once_and_so_is_its_end() {
    let _alone = ALONE.lock().unwrap();
    let before = limit().0;
    let config = config();
    let (mut one, mut two) = (cluster::start(1, &config).unwrap(), cluster::start(2, &config).unwrap());
    for server in [&mut one, &mut two] {
        // Where io_uring is forbidden to the tests, that is the first event.
        if server.engine().fallback().is_some() {
            assert!(matches!(server.events().try_next(), Some(Event::EpollFallback { .. })));
        }
    }
    set_soft_limit(200);
    let mut held = use_up_descriptors();
    one.outbox().send(Envelope::to(2).body("in the end")).unwrap();
    let seen = await_event(&mut one, |event| matches!(event, Event::DialFailed { .. }));
    let [Event::DialFailed { error }] = &seen[..] else { panic!("{seen:?}") };
    assert!(error.contains("ulimit -n"), "{error}");
    // One for the dialing end, and none for the accepting end.
    held.pop();
    let seen = await_event(&mut two, |event| matches!(event, Event::AcceptFailed { .. }));
    let [Event::AcceptFailed { error }] = &seen[..] else { panic!("{seen:?}") };
    assert!(error.contains("ulimit -n"), "{error}");
    assert_eq!(await_event(&mut one, |_| true), [Event::DialResumed]);
    // Meanwhile accepts fail again and again.
    let begin = one.peer_state(2).unwrap().elapsed;
    while one.peer_state(2).unwrap().elapsed < begin + Duration::from_millis(500) {
        assert_eq!(two.events().next_timeout(Duration::from_millis(10)), None);
    }
    drop(held);
    assert_eq!(two.inbox().recv_timeout(PATIENCE).unwrap().msg, "in the end");
    let seen = await_event(&mut two, |event| *event == Event::AcceptResumed);
    assert!(matches!(seen[..], [Event::Up { .. }, Event::AcceptResumed]), "{seen:?}");
    let seen = await_event(&mut one, |event| matches!(event, Event::Up { .. }));
    assert!(matches!(seen[..], [Event::Up { .. }]), "{seen:?}");
    set_soft_limit(before);
}

#[test]
fn the_limit_is_raised_unless_the_configuration_says_otherwise() {
    let _alone = ALONE.lock().unwrap();
    let (before, hard) = limit();
    assert!(hard > 300, "nothing to raise");
    set_soft_limit(300);
    let config = config();
    let one = cluster::start(1, &config).unwrap();
    assert_eq!(limit().0, 300);
    let two = cluster::start(2, &config.with_raise_descriptor_limit(true)).unwrap();
    assert_eq!(limit().0, hard);
    drop((one, two));
    set_soft_limit(before);
}
