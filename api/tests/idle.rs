//! A server that has nothing to do uses no processor. In a process of its own, because it measures the process.
#![allow(clippy::print_stderr, reason = "what was measured is worth reading")]

use std::net::TcpListener;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Builder, Config, Envelope, Neighbours, Node, Pid, Server, Threading};

const PATIENCE: Duration = Duration::from_secs(30);
/// This watches for a while: it measures use over time.
const WATCHED: Duration = Duration::from_secs(5);
static ALONE: Mutex<()> = Mutex::new(());

/// What this process has used: time on a processor, and how often a thread of it went to sleep.
fn used() -> (Duration, u64) {
    // SAFETY: all zero is a valid rusage, and the kernel fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let duration = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    (duration(usage.ru_utime) + duration(usage.ru_stime), usage.ru_nvcsw as u64)
}

fn start(threading: Threading, neighbours: Neighbours) -> [Node; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let members: Vec<(Pid, String)> =
        (1..).zip(&listeners).map(|(pid, listener)| (pid, listener.local_addr().unwrap().to_string())).collect();
    let config =
        Config::new(members).unwrap().with_cluster("idle").with_threading(threading).with_neighbours(neighbours);
    let mut pids = [1, 2].into_iter();
    listeners.map(|listener| Builder::new(pids.next().unwrap(), &config).listener(listener).start().unwrap())
}

/// What a busy host does to a virtual processor may be counted too: 16 ms became 81 once, with no wake-up more. So a while that was
/// dear is forgiven once, if the next two are not: what a server itself uses, it uses again.
fn watch(what: &str, heartbeats: u64) {
    if !is_frugal(what, heartbeats) {
        let again = [(); 2].map(|()| is_frugal(what, heartbeats));
        assert_eq!(again, [true; 2], "{what}: more than 1 % of a processor, and not once alone");
    }
}

fn is_frugal(what: &str, heartbeats: u64) -> bool {
    let (time, sleeps) = used();
    let begin = Instant::now();
    thread::sleep(WATCHED);
    let wall = begin.elapsed();
    let (time, sleeps) = (used().0 - time, used().1 - sleeps);
    let share = time.as_secs_f64() / wall.as_secs_f64();
    eprintln!("{what}: {time:?} of processor in {wall:?} ({:.3} %), {sleeps} wake-ups", share * 100.0);
    // Both servers send a heartbeat and receive one; twice as much for other reasons is plenty.
    assert!(sleeps <= 2 * (4 * heartbeats + 20), "{what}: {sleeps} wake-ups for {heartbeats} heartbeats");
    share < 0.01
}

#[test]
fn parked_servers_use_no_processor() {
    let _alone = ALONE.lock();
    for (threading, neighbours) in [
        (Threading::Dedicated { shards: 1 }, Neighbours::Tcp),
        (Threading::Shared, Neighbours::Tcp),
        (Threading::Shared, Neighbours::Memory),
    ] {
        let [mut one, mut two] = start(threading, neighbours);
        // Never connected.
        watch(&format!("{threading:?}, {neighbours:?}, not connected"), 0);
        one.outbox().send(Envelope::to(2).body("hello")).unwrap();
        two.inbox().recv_timeout(PATIENCE).unwrap();
        for id in 0..20_000 {
            two.outbox().send(Envelope::to(1).id(id).body(vec![0; 200])).unwrap();
        }
        for id in 0..20_000 {
            assert_eq!(one.inbox().recv_timeout(PATIENCE).unwrap().msg_id, id);
        }
        watch(&format!("{threading:?}, {neighbours:?}, connected"), WATCHED.as_millis() as u64 / 250);
    }
}

#[test]
fn applications_that_wait_use_no_processor() {
    let _alone = ALONE.lock();
    let [mut one, two] = start(Threading::Dedicated { shards: 1 }, Neighbours::Tcp);
    let cluster::Split { mut inbox, mut outbox, mut events, mut handle } = two.split();
    outbox.send(Envelope::to(1).body("hello")).unwrap();
    one.inbox().recv_timeout(PATIENCE).unwrap();
    while events.try_next().is_some() {}
    let reader = thread::spawn(move || inbox.recv());
    let watcher = thread::spawn(move || events.next_timeout(2 * WATCHED));
    // A sender that waits for a reader that does not read.
    let sender = thread::spawn(move || {
        loop {
            if let Err(error) = outbox.send(Envelope::to(1).body(vec![0; 10_000])) {
                return error;
            }
        }
    });
    let mut before = 0;
    let deadline = Instant::now() + PATIENCE;
    while std::mem::replace(&mut before, handle.stats()[0].messages_out) != handle.stats()[0].messages_out
        || before < 100
    {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(50));
    }
    watch("waiting applications", WATCHED.as_millis() as u64 / 250);
    let _ = handle.stop_within(Duration::ZERO);
    assert!(reader.join().unwrap().is_err());
    assert!(matches!(sender.join().unwrap(), cluster::SendError::Stopped { .. }));
    drop(watcher.join().unwrap());
}
