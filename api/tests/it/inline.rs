//! Who drives: inline servers, engines of one's own, and several servers on one engine.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cluster::{
    Config, Engine, Envelope, Event, FlushError, Idle, Node, PeerError, RecvError, RecvTimeoutError, SendError, Server,
    StartError, Threading, TryRecvError,
};
use futures_util::FutureExt;

use crate::support::{Cluster, PATIENCE, assert_alive, eventually, message, receive, send};

const SPIN: Idle = Idle { spin_us: 1_000_000, yield_us: 0, park: false };
const YIELD: Idle = Idle { spin_us: 5, yield_us: 1_000, park: true };

fn inline(idle: Idle) -> Cluster {
    Cluster::new([1, 2]).with(|config| config.with_threading(Threading::Inline).with_idle(idle))
}

fn ping_pong(mut cluster: Cluster, rounds: i64) {
    let [mut one, mut two] = cluster.start_each([1, 2]);
    thread::scope(|scope| {
        scope.spawn(move || {
            for id in 0..rounds {
                let envelope = receive(two.inbox());
                assert_eq!((envelope.pid, envelope.msg_id), (1, id));
                send(two.outbox(), Envelope::to(1).id(id).body(envelope.msg));
            }
            two.stop().unwrap();
        });
        scope.spawn(move || {
            for id in 0..rounds {
                let body = message(id as u64, id as usize % 3000);
                send(one.outbox(), Envelope::to(2).id(id).body(body.clone()));
                let envelope = receive(one.inbox());
                assert_eq!((envelope.pid, envelope.msg_id, &envelope.msg[..]), (2, id, &body[..]));
            }
        });
    });
}

#[test]
fn parked_servers_play_ping_pong() {
    ping_pong(inline(Idle::default()), 3_000);
}

#[test]
fn yielding_servers_play_ping_pong() {
    ping_pong(inline(YIELD), 3_000);
}

#[test]
fn spinning_servers_play_ping_pong() {
    ping_pong(inline(SPIN), 300);
}

#[test]
fn dedicated_servers_of_every_idle_strategy_play_ping_pong() {
    for idle in [Idle::default(), YIELD] {
        let threading = Threading::Dedicated { shards: 1 };
        ping_pong(Cluster::new([1, 2]).with(|config| config.with_threading(threading).with_idle(idle)), 1_000);
    }
}

#[test]
fn an_inline_server_sends_a_stream() {
    let mut cluster = Cluster::new([1, 2]);
    let mut two = cluster.start(2);
    let engine = Engine::inline(Idle::default()).unwrap();
    let mut one = cluster.start_on(1, &engine);
    let sender = thread::spawn(move || {
        for id in 0..50_000 {
            send(one.outbox(), Envelope::to(2).id(id).body(vec![0; 100]));
        }
        // The last ones are sent by the stop.
        one.stop().unwrap();
    });
    for id in 0..50_000 {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
    sender.join().unwrap();
}

/// The loop waits in the kernel, in `recv`, when the other thread begins to send.
#[test]
fn an_inline_server_whose_outbox_is_on_another_thread() {
    let mut cluster = Cluster::new([1, 2]);
    let mut two = cluster.start(2);
    let engine = Engine::inline(Idle::default()).unwrap();
    let cluster::Split { mut inbox, mut outbox, events: _events, handle } = cluster.start_on(1, &engine).split();
    let driver = thread::spawn(move || {
        while receive(&mut inbox).msg != "stop" {}
        drop(handle);
    });
    for id in 0..2_000 {
        send(&mut outbox, Envelope::to(2).id(id).body(vec![0; id as usize % 2000]));
        if id % 10 == 0 {
            // So that the loop goes to sleep again and again.
            for expected in (id - 9).max(0)..=id {
                assert_eq!(receive(two.inbox()).msg_id, expected);
            }
        }
    }
    for id in 1_991..2_000 {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
    send(two.outbox(), Envelope::to(1).body("stop"));
    driver.join().unwrap();
}

#[test]
fn an_inline_server_that_moves_before_its_first_use() {
    let [one, two] = inline(Idle::default()).start_each([1, 2]);
    let run = |mut node: Node| {
        thread::spawn(move || {
            let peer = node.peers()[0];
            send(node.outbox(), Envelope::to(peer).body("moved"));
            assert_eq!(receive(node.inbox()).msg, "moved");
            node.stop().unwrap();
        })
    };
    [run(one), run(two)].into_iter().for_each(|thread| thread.join().unwrap());
}

/// Regression: `recv`, `drain` and `flush` waited, or timed out, on a thread that the loop does not belong to.
#[test]
fn calls_from_another_thread_than_the_loops_are_errors() {
    let mut cluster = Cluster::new([1, 2]);
    let mut two = cluster.start(2);
    let engine = Engine::inline(Idle::default()).unwrap();
    let mut one = cluster.start_on(1, &engine);
    send(two.outbox(), Envelope::to(1).body("here"));
    assert_eq!(receive(one.inbox()).msg, "here");
    let mut one = elsewhere(move || {
        assert_eq!(one.inbox().recv(), Err(RecvError::WrongThread));
        assert_eq!(one.inbox().recv_timeout(PATIENCE), Err(RecvTimeoutError::WrongThread));
        assert_eq!(one.inbox().try_recv(), Err(TryRecvError::WrongThread));
        assert_eq!(one.inbox().recv_async().now_or_never(), Some(Err(RecvError::WrongThread)));
        assert_eq!(one.inbox().drain_wait(None, |_| ()), 0);
        assert_eq!(one.inbox().iter().next(), None);
        one.outbox().try_send(Envelope::to(2).body("from elsewhere")).unwrap();
        assert_eq!(one.outbox().flush(PATIENCE), Err(FlushError::WrongThread));
        assert_eq!(one.add_peer(3, "127.0.0.1:1"), Err(PeerError::WrongThread));
        assert_eq!(one.remove_peer(2), Err(PeerError::WrongThread));
        assert_eq!(one.block(&[2]), Err(PeerError::WrongThread));
        assert!(!one.poll());
        let error = one.stop().unwrap_err();
        assert!(error.is_wrong_thread() && error.undelivered().is_empty(), "{error}");
        assert!(error.to_string().contains("Threading::Shared"), "{error}");
        one
    });
    // Nothing has happened to it.
    one.outbox().flush(PATIENCE).unwrap();
    assert_eq!(receive(two.inbox()).msg, "from elsewhere");
    one.stop().unwrap();
}

/// Regression: nobody drove the loop, and nobody was told.
#[test]
fn an_inline_server_ends_with_its_thread() {
    let mut cluster = Cluster::fixed([1, 2]);
    let engine = Engine::inline(Idle::default()).unwrap();
    let mut one = cluster.start_on(1, &engine);
    let mut waiting = one.outbox().clone();
    let mut one = thread::spawn(move || {
        send(one.outbox(), Envelope::to(2).body("for nobody"));
        assert!(one.inbox().try_recv().is_err());
        one
    })
    .join()
    .unwrap();
    assert_eq!(one.inbox().recv_timeout(PATIENCE), Err(RecvTimeoutError::Stopped));
    assert_eq!(one.outbox().flush(PATIENCE), Err(FlushError::Stopped));
    assert!(matches!(waiting.send(Envelope::to(2).body("late")), Err(SendError::Stopped { .. })));
    let event = one.events().next_timeout(PATIENCE);
    assert!(matches!(&event, Some(Event::EngineFailed { message }) if message.contains("thread")), "{event:?}");
    let error = one.stop().unwrap_err();
    assert!(error.failure().is_some_and(|failure| failure.contains("thread")), "{error}");
    assert_eq!(error.undelivered().iter().map(|each| (each.pid, each.messages)).collect::<Vec<_>>(), [(2, 1)]);
    eventually("the address is free", || std::net::TcpListener::bind(cluster.address(1)).ok());
    // Nor does the engine take another server.
    let refused = cluster::Builder::new(1, &cluster.config).engine(&engine).start();
    assert!(matches!(refused, Err(StartError::EngineFailed { .. })), "{refused:?}");
}

/// The thread that waits in `recv` is told.
#[test]
fn an_inline_server_whose_handle_is_dropped_elsewhere_stops() {
    let mut cluster = Cluster::new([1, 2]);
    let engine = Engine::inline(Idle::default()).unwrap();
    let cluster::Split { mut inbox, outbox: _outbox, events: _events, handle } = cluster.start_on(1, &engine).split();
    handle.poll();
    let dropping = thread::spawn(move || drop(handle));
    assert_eq!(inbox.recv(), Err(RecvError::Stopped));
    dropping.join().unwrap();
}

/// A thread that begins where another one has ended may have its thread-local memory at the same address.
#[test]
fn a_later_thread_is_not_taken_for_the_one_that_has_driven_the_loop() {
    let mut cluster = Cluster::new([1, 2]);
    let engine = Engine::inline(Idle::default()).unwrap();
    let mut one = cluster.start_on(1, &engine);
    let stay = mpsc::channel::<()>();
    let (owned, one_again) = mpsc::channel();
    let owner = thread::spawn(move || {
        assert!(one.inbox().try_recv().is_err());
        owned.send(one).unwrap();
        let _ = stay.1.recv();
    });
    let mut one = one_again.recv().unwrap();
    for _ in 0..20 {
        one = elsewhere(move || {
            assert_eq!(one.inbox().recv_timeout(PATIENCE), Err(RecvTimeoutError::WrongThread));
            assert!(!one.inbox().is_stopped(), "the loop has failed: another thread has entered its ring");
            one
        });
    }
    assert!(one.events().try_next().is_none());
    drop(stay.0);
    owner.join().unwrap();
    assert!(one.inbox().is_stopped());
}

/// Runs this on a thread that ends afterwards.
fn elsewhere<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || done.send(run()).unwrap());
    let value = finished.recv_timeout(PATIENCE / 2).expect("it does not wait");
    thread.join().unwrap();
    value
}

#[test]
fn an_inline_server_that_is_dropped_elsewhere_leaves_no_listener() {
    let mut cluster = Cluster::fixed([1, 2]);
    let engine = Engine::inline(Idle::default()).unwrap();
    let mut one = cluster.start_on(1, &engine);
    assert!(one.inbox().try_recv().is_err());
    thread::spawn(move || drop((one, engine))).join().unwrap();
    eventually("the address is free", || std::net::TcpListener::bind(cluster.address(1)).ok());
}

#[test]
fn a_handle_drives_the_loop() {
    let mut cluster = Cluster::new([1, 2]);
    let mut two = cluster.start(2);
    let engine = Engine::inline(Idle::default()).unwrap();
    let cluster::Split { mut inbox, mut outbox, mut events, mut handle } = cluster.start_on(1, &engine).split();
    send(&mut outbox, Envelope::to(2).body("polled"));
    eventually("delivery", || {
        handle.poll_timeout(Duration::from_millis(1));
        two.inbox().try_recv().ok()
    });
    send(two.outbox(), Envelope::to(1).body("back"));
    eventually("the answer", || {
        handle.poll();
        inbox.try_recv().ok()
    });
    assert!(matches!(events.try_next(), Some(cluster::Event::Up { pid: 2, .. })));
    // Without anything to do it waits as long as it was told.
    let begin = Instant::now();
    while handle.poll_timeout(Duration::from_millis(20)) {}
    eventually("a wait", || (begin.elapsed() >= Duration::from_millis(20)).then_some(()));
    handle.stop().unwrap();
}

#[test]
fn two_servers_of_one_inline_engine_talk_on_one_thread() {
    let engine = Engine::inline(Idle::default()).unwrap();
    let mut cluster = Cluster::new([1, 2]);
    let [mut one, mut two] = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    for id in 0..500 {
        send(one.outbox(), Envelope::to(2).id(id).body(message(id as u64, id as usize * 20)));
        let envelope = receive(two.inbox());
        assert_eq!(envelope.msg_id, id);
        send(two.outbox(), Envelope::to(1).id(id).body(envelope.msg));
        assert_eq!(receive(one.inbox()).msg, message(id as u64, id as usize * 20));
    }
    one.stop().unwrap();
    two.stop().unwrap();
}

#[test]
fn several_servers_on_one_engine() {
    let engine = Engine::dedicated(1, Idle::default()).unwrap();
    let pids = [1, 2, 3, 4, 5];
    let mut cluster = Cluster::new(pids);
    let mut servers = pids.map(|pid| cluster.start_on(pid, &engine));
    for server in &mut servers {
        let pid = server.pid();
        send(server.outbox(), Envelope::to(cluster::BROADCAST).id(pid as i64).body("all"));
    }
    for server in &mut servers {
        let mut from: Vec<u64> = (1..pids.len()).map(|_| receive(server.inbox()).pid).collect();
        from.sort_unstable();
        assert_eq!(from, server.peers());
    }
    // The engine outlives its servers, and takes others.
    drop(servers);
    let mut cluster = Cluster::new([1, 2]);
    let [mut one, mut two] = [cluster.start_on(1, &engine), cluster.start_on(2, &engine)];
    assert_alive(&mut one, &mut two);
    // And its servers outlive the handle.
    drop(engine);
    assert_alive(&mut one, &mut two);
}

#[test]
fn servers_of_every_threading_talk_to_each_other() {
    let mut cluster = Cluster::new([1, 2, 3]);
    let mut shared = cluster.start(1);
    let two_shards = Engine::dedicated(2, YIELD).unwrap();
    let mut dedicated = cluster.start_on(2, &two_shards);
    let engine = Engine::inline(Idle::default()).unwrap();
    let mut inline = cluster.start_on(3, &engine);
    assert_alive(&mut shared, &mut dedicated);
    assert_alive(&mut dedicated, &mut shared);
    send(shared.outbox(), Envelope::to([2, 3]).body("to both"));
    assert_eq!(receive(dedicated.inbox()).msg, "to both");
    assert_eq!(receive(inline.inbox()).msg, "to both");
    // An inline server sends when it is driven; it is driven while it waits for the answer.
    send(inline.outbox(), Envelope::to(2).body("from inline"));
    let answering = thread::spawn(move || {
        let envelope = receive(dedicated.inbox());
        send(dedicated.outbox(), Envelope::to(envelope.pid).body(envelope.msg));
        dedicated
    });
    assert_eq!(receive(inline.inbox()).msg, "from inline");
    drop(answering.join().unwrap());
}

#[test]
fn small_rings_on_an_inline_engine() {
    let mut cluster = inline(Idle::default())
        .with(|config| config.with_outbox_bytes(Config::MIN_OUTBOX_BYTES).with_inbox_bytes(Config::MIN_INBOX_BYTES));
    let [mut one, mut two] = cluster.start_each([1, 2]);
    let sender = thread::spawn(move || {
        for id in 0..3_000 {
            send(one.outbox(), Envelope::to(2).id(id).body(message(id as u64, id as usize * 7 % 30_000)));
        }
        one.stop().unwrap();
    });
    let reader = thread::spawn(move || {
        for id in 0..3_000 {
            let envelope = receive(two.inbox());
            assert_eq!(envelope.msg_id, id);
            assert_eq!(envelope.msg, message(id as u64, id as usize * 7 % 30_000));
        }
        two.stop().unwrap();
    });
    sender.join().unwrap();
    reader.join().unwrap();
}
