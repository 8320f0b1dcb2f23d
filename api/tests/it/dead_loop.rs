//! Event loops that fail, because the kernel refuses a system call that they need. Each test runs in a process of its
//! own, under a filter of system calls.

use std::thread;
use std::time::Duration;

use cluster::{
    Builder, Engine, Envelope, Event, FlushError, Idle, PeerError, SendError, Server, StartError, Threading,
    TryRecvError,
};

use crate::no_memory::in_child;
use crate::support::{Cluster, PATIENCE, assert_alive, await_event, receive, refusing, send};

/// Makes the kernel refuse these system calls of every thread with this error, from now on.
fn forbid<const N: usize>(calls: [libc::c_long; N], error: libc::c_int) {
    seccompiler::apply_filter_all_threads(&refusing(calls, error)).unwrap();
}

/// Makes the waits of event loops fail, on either driver.
fn forbid_waits() {
    forbid([libc::SYS_io_uring_enter, libc::SYS_epoll_wait, libc::SYS_epoll_pwait], libc::EIO);
}

const DEDICATED: Threading = Threading::Dedicated { shards: 1 };

fn cluster(threading: Threading) -> Cluster {
    Cluster::new([1, 2, 3]).with(|config| config.with_threading(threading).with_outbox_bytes(64 * 1024))
}

fn await_failure(server: &mut impl Server, text: &str) {
    await_event(server.events(), "failure", |event| match event {
        Event::EngineFailed { message } => {
            assert!(message.contains(text), "{message}");
            true
        }
        _ => false,
    });
}

/// Asserts that the server has ended: it takes nothing, receives nothing, and its stop returns the failure with the
/// number of undelivered envelopes.
fn assert_over(server: &mut impl Server, text: &str, undelivered: &[(u64, u64)]) {
    let peer = server.peers()[0];
    let error = server.outbox().send(Envelope::to(peer).body("too late")).unwrap_err();
    assert!(matches!(error, SendError::Stopped { .. }), "{error:?}");
    assert_eq!(error.into_envelope().message(), b"too late");
    let claimed = server.outbox().claim(peer, 8).map(drop).unwrap_err();
    assert!(matches!(claimed, SendError::Stopped { .. }), "{claimed:?}");
    assert_eq!(server.outbox().flush(PATIENCE), Err(FlushError::Stopped));
    assert_eq!(server.inbox().try_recv(), Err(TryRecvError::Stopped));
    assert!(server.inbox().recv().is_err() && server.inbox().is_stopped());
    let failed = |result| matches!(result, Err(PeerError::EngineFailed { .. }));
    assert!(failed(server.add_peer(9, "127.0.0.1:1")) && failed(server.remove_peer(peer).map(drop)));
    for _ in 0..2 {
        let error = server.stop().unwrap_err();
        assert!(error.failure().is_some_and(|failure| failure.contains(text)), "{error}");
        assert!(error.to_string().contains("has failed"), "{error}");
        let counted: Vec<(u64, u64)> = error.undelivered().iter().map(|each| (each.pid, each.messages)).collect();
        assert_eq!(counted, undelivered);
    }
    for row in server.stats() {
        let wanted = undelivered.iter().find(|(pid, _)| *pid == row.pid).map_or(0, |(_, messages)| *messages);
        assert_eq!((row.in_flight, row.dropped_stopped), (0, wanted), "{row:?}");
        assert_eq!(row.messages_out, row.acknowledged + row.dropped());
    }
}

#[test]
fn a_loop_that_cannot_wait_ends_its_server() {
    if in_child("dead_loop::a_loop_that_cannot_wait_ends_its_server") {
        return;
    }
    let mut cluster = cluster(DEDICATED);
    let [mut one, mut two, mut three] = cluster.start_each([1, 2, 3]);
    assert_alive(&mut one, &mut two);
    for id in 0..5 {
        send(two.outbox(), Envelope::to(1).id(id).body("acknowledged"));
    }
    two.outbox().flush(PATIENCE).unwrap();
    assert_alive(&mut three, &mut two);
    one.block(&[2, 3]).unwrap();
    let mut outboxes = [one.outbox().clone(), one.outbox().clone()];
    for id in 0..7 {
        send(one.outbox(), Envelope::to(3).id(id).body("to nobody"));
    }
    let [full, flushed] = &mut outboxes;
    thread::scope(|scope| {
        let full = scope.spawn(|| {
            let mut sent = 0;
            loop {
                match full.send(Envelope::to(2).id(sent).body(vec![0; 10_000])) {
                    Ok(()) => sent += 1,
                    Err(error) => break (sent as u64, error),
                }
            }
        });
        let flushed = scope.spawn(|| {
            send(flushed, Envelope::to(3).body("one more"));
            flushed.flush(10 * PATIENCE)
        });
        let waiting = scope.spawn(|| two.inbox().recv());
        thread::sleep(Duration::from_millis(50));
        forbid_waits();
        await_failure(&mut one, "Input/output error");
        let (sent, error) = full.join().unwrap();
        assert!(matches!(error, SendError::Stopped { .. }), "{error:?}");
        assert_eq!(error.into_envelope().message().len(), 10_000);
        assert_eq!(flushed.join().unwrap(), Err(FlushError::Stopped));
        assert!(waiting.join().unwrap().is_err());
        for id in 0..5 {
            assert_eq!(receive(one.inbox()).msg_id, id, "it was acknowledged");
        }
        assert_over(&mut one, "Input/output error", &[(2, sent), (3, 8)]);
    });
    await_failure(&mut two, "Input/output error");
    assert_over(&mut two, "Input/output error", &[]);
}

#[test]
fn an_inline_loop_that_cannot_wait_ends_its_server() {
    if in_child("dead_loop::an_inline_loop_that_cannot_wait_ends_its_server") {
        return;
    }
    let mut cluster = cluster(DEDICATED);
    let engine = Engine::inline(Idle::default()).unwrap();
    let mut two = cluster.start(2);
    let mut one = cluster.start_on(1, &engine);
    send(two.outbox(), Envelope::to(1).body("hello"));
    assert_eq!(receive(one.inbox()).msg, "hello");
    for _ in 0..3 {
        send(one.outbox(), Envelope::to(3).body("to nobody"));
    }
    forbid_waits();
    assert!(one.inbox().recv().is_err());
    await_failure(&mut one, "Input/output error");
    assert_over(&mut one, "Input/output error", &[(3, 3)]);
    // Its listeners go with it.
    let config = cluster.config.clone();
    drop(cluster);
    let refused = Builder::new(3, &config).engine(&engine).start().unwrap_err();
    assert!(matches!(&refused, StartError::EngineFailed { message } if message.contains("error")), "{refused:?}");
}

#[test]
fn a_loop_that_panics_ends_its_server_and_no_other() {
    if in_child("dead_loop::a_loop_that_panics_ends_its_server_and_no_other") {
        return;
    }
    let mut cluster = cluster(DEDICATED);
    let [mut one, mut two, mut three] = cluster.start_each([1, 2, 3]);
    assert_alive(&mut one, &mut two);
    assert_alive(&mut three, &mut two);
    one.block(&[2]).unwrap();
    send(one.outbox(), Envelope::to(2).body("to nobody"));
    // A loop that goes to sleep after it has sent much needs this.
    forbid([libc::SYS_membarrier], libc::EPERM);
    send(one.outbox(), Envelope::to(3).body(vec![0; 10_000]));
    await_failure(&mut one, "membarrier");
    let undelivered: Vec<(u64, u64)> = match one.stop() {
        Err(error) => error.undelivered().iter().map(|each| (each.pid, each.messages)).collect(),
        Ok(()) => panic!("it says that all is well"),
    };
    assert!(undelivered.contains(&(2, 1)), "{undelivered:?}");
    assert_over(&mut one, "membarrier", &undelivered);
    await_event(three.events(), "end", |event| matches!(event, Event::Down { pid: 1, .. }));
    assert_eq!(receive(three.inbox()).msg.len(), 10_000);
    assert_alive(&mut three, &mut two);
    // An orderly end needs the barrier.
    std::mem::forget((two, three));
}
