//! A process that gets no more memory from the kernel. Each test limits a process of its own.

use std::env;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use cluster::{DownReason, Envelope, Event, SendError, Server, Threading};

use crate::support::{Cluster, PATIENCE, assert_alive, await_event, message, receive, send};

/// Set in the process that is to be limited.
const CHILD: &str = "CLUSTER_TEST_CHILD";

/// Runs the test of this name again, in a process of its own. Returns `false` in that process.
pub fn in_child(test: &str) -> bool {
    if env::var_os(CHILD).is_some() {
        return false;
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads", "1"])
        .env(CHILD, test)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "{test}: {status}");
                return true;
            }
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                panic!("{test} hangs");
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// No more than `spare` bytes of address space beyond what there is, until it is dropped.
struct Limit(libc::rlimit);

impl Limit {
    fn new(spare: u64) -> Limit {
        let pages: u64 =
            std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes to `before` and reads `limit` during the calls alone.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &raw mut before), 0);
            let limit = libc::rlimit { rlim_cur: pages * 4096 + spare, rlim_max: before.rlim_max };
            assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const limit), 0);
        }
        Limit(before)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const self.0) };
    }
}

fn cluster() -> Cluster {
    Cluster::new([1, 2]).with(|config| config.with_threading(Threading::Dedicated { shards: 1 }))
}

#[test]
fn a_stream_without_memory_is_an_error_of_the_send() {
    if in_child("no_memory::a_stream_without_memory_is_an_error_of_the_send") {
        return;
    }
    let [mut one, mut two] = cluster().with(|config| config.with_outbox_bytes(64 << 20)).start_each([1, 2]);
    let limit = Limit::new(16 << 20);
    let error = one.outbox().send(Envelope::to(2).id(7).body("no room for this")).unwrap_err();
    drop(limit);
    assert!(matches!(error, SendError::NoMemory { bytes: 0x400_0000, .. }), "{error:?}");
    assert!(error.to_string().contains("outbox_bytes"), "{error}");
    one.outbox().send(error.into_envelope()).unwrap();
    let envelope = receive(two.inbox());
    assert_eq!((envelope.msg_id, &envelope.msg[..]), (7, &b"no room for this"[..]));
}

/// Less than a receive buffer, and enough for all other allocations.
const LITTLE: u64 = 200 * 1024;

/// Enough for the dialing end, whose buffer has 260 KiB, and for the greeting at the other end: not for both ends.
const ENOUGH_TO_DIAL: u64 = 480 * 1024;

#[test]
fn a_connection_without_memory_is_made_again() {
    if in_child("no_memory::a_connection_without_memory_is_made_again") {
        return;
    }
    let [mut one, mut two] = cluster().start_each([1, 2]);
    assert_alive(&mut one, &mut two);
    let limit = Limit::new(LITTLE);
    // Nobody reads: what arrives keeps the buffers that it came in.
    let mut sent = 0;
    let lost = loop {
        let _ = one.outbox().send_timeout(Envelope::to(2).id(sent).body(message(sent as u64, 900)), PATIENCE / 100);
        sent += 1;
        match two.events().try_next() {
            Some(Event::Down { reason, .. }) => break reason,
            _ => assert!(sent < 4000, "all of it had room"),
        }
    };
    assert_eq!(lost, DownReason::NoMemory);
    drop(limit);
    await_event(two.events(), "connection", |event| matches!(event, Event::Up { pid: 1, .. }));
    send(one.outbox(), Envelope::to(2).id(-1).body("last"));
    let mut next = 0;
    loop {
        let envelope = receive(two.inbox());
        if envelope.msg_id == -1 {
            break;
        }
        // Envelopes that had no room in time were not taken.
        assert!(envelope.msg_id >= next, "{} after {next}", envelope.msg_id);
        assert_eq!(envelope.msg, message(envelope.msg_id as u64, 900));
        next = envelope.msg_id + 1;
    }
    assert_alive(&mut one, &mut two);
    one.stop().unwrap();
    two.stop().unwrap();
}

#[test]
fn an_accepted_connection_without_memory_is_told_and_made_again() {
    if in_child("no_memory::an_accepted_connection_without_memory_is_told_and_made_again") {
        return;
    }
    let [mut one, mut two] = cluster().start_each([1, 2]);
    one.block(&[2]).unwrap();
    send(one.outbox(), Envelope::to(2).body("late"));
    let limit = Limit::new(ENOUGH_TO_DIAL);
    one.unblock(&[2]).unwrap();
    await_event(two.events(), "trouble", |event| matches!(event, Event::AcceptFailed { .. }));
    drop(limit);
    assert_eq!(receive(two.inbox()).msg, "late");
    assert_alive(&mut one, &mut two);
}
