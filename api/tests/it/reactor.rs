//! Servers whose event loop a reactor turns: tokio on one thread and on several, and a loop of `poll`.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cluster::{Builder, Driver, Engine, Envelope, Idle, Node, Reactor, SendError, Server, Threading, TurnError};

use crate::support::{Cluster, PATIENCE, receive, send};

fn start() -> Engine {
    Engine::start(Threading::Reactor, Idle::default(), Driver::Auto).unwrap()
}

fn pair(engines: [&Engine; 2]) -> [Node; 2] {
    let mut cluster = Cluster::new([1, 2]);
    [cluster.start_on(1, engines[0]), cluster.start_on(2, engines[1])]
}

/// Turns a loop as a reactor without a runtime would: waits for the descriptor, turns until there is nothing to do.
pub struct Poller {
    ends: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Poller {
    pub fn new(reactor: Reactor) -> Poller {
        let ends = Arc::new(AtomicBool::new(false));
        let end = ends.clone();
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match reactor.turn() {
                    Ok(turn) if turn.worked => continue,
                    Ok(_) => {}
                    Err(TurnError::Ended) => break,
                    Err(failed) => panic!("{failed}"),
                }
                let mut poll = libc::pollfd { fd: reactor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: the kernel reads and writes one pollfd during the call.
                unsafe { libc::poll(&raw mut poll, 1, 100) };
            }
        });
        Poller { ends, thread: Some(thread) }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_loop_of_poll_turns_it() {
    let engines = [start(), start()];
    let _pollers = engines.each_ref().map(|engine| Poller::new(engine.reactor().unwrap()));
    let [mut one, mut two] = pair([&engines[0], &engines[1]]);
    for id in 0..2000 {
        send(one.outbox(), Envelope::to(2).id(id).body(vec![7; 100]));
    }
    for id in 0..2000 {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
    one.outbox().flush(PATIENCE).unwrap();
    one.stop().unwrap();
}

/// Exchanges `count` requests and answers, then a stream in each direction.
async fn exchange(mut one: Node, mut two: Node, count: i64) {
    for id in 0..count {
        one.outbox().send(Envelope::to(2).id(id).body("ask")).unwrap();
        let asked = two.inbox().recv_async().await.unwrap();
        two.outbox().send(Envelope::to(1).id(asked.msg_id).body("answer")).unwrap();
        assert_eq!(one.inbox().recv_async().await.unwrap().msg_id, id);
    }
    let sending = async {
        for id in 0..20 * count {
            while let Err(error) = one.outbox().try_send(Envelope::to(2).id(id).body(vec![1; 1000])) {
                assert!(matches!(error, SendError::Full { .. }), "{error}");
                tokio::task::yield_now().await;
            }
        }
    };
    let receiving = async {
        for id in 0..20 * count {
            assert_eq!(two.inbox().recv_async().await.unwrap().msg_id, id);
        }
    };
    tokio::join!(sending, receiving);
    one.stop().unwrap();
    two.stop().unwrap();
}

fn on(runtime: &tokio::runtime::Runtime, loops: usize) {
    let engines: Vec<Engine> = (0..loops).map(|_| start()).collect();
    runtime.block_on(async {
        let driving: Vec<_> = engines.iter().map(|engine| tokio::spawn(engine.reactor().unwrap().drive())).collect();
        let [one, two] = pair([&engines[0], &engines[loops - 1]]);
        tokio::time::timeout(PATIENCE, exchange(one, two, 500)).await.expect("in time");
        drop(engines);
        for each in driving {
            // The engines have ended with their servers.
            tokio::time::timeout(PATIENCE, each).await.expect("in time").unwrap().unwrap();
        }
    });
}

/// Two runtimes of one thread each, as two processes have.
#[test]
fn a_stream_of_short_envelopes_passes_between_two_runtimes() {
    const COUNT: i64 = 300_000;
    let engines = [start(), start()];
    let [mut one, mut two] = pair([&engines[0], &engines[1]]);
    let drive = |engine: &Engine| tokio::spawn(engine.reactor().unwrap().drive());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            runtime().block_on(async {
                let _driving = drive(&engines[0]);
                for id in 0..COUNT {
                    while let Err(error) = one.outbox().try_send(Envelope::to(2).id(id).body(vec![1; 64])) {
                        assert!(matches!(error, SendError::Full { .. }), "{error}");
                        tokio::task::yield_now().await;
                    }
                }
                tokio::time::timeout(PATIENCE, one.inbox().recv_async()).await.expect("in time").unwrap();
            });
        });
        runtime().block_on(async {
            let _driving = drive(&engines[1]);
            for id in 0..COUNT {
                let received = tokio::time::timeout(PATIENCE, two.inbox().recv_async()).await;
                assert_eq!(received.unwrap_or_else(|_| panic!("{id} does not come")).unwrap().msg_id, id);
            }
            two.outbox().send(Envelope::to(1).body("all there")).unwrap();
            two.stop().unwrap();
        });
    });
}

#[test]
fn tokio_on_one_thread_turns_it() {
    on(&tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(), 2);
}

#[test]
fn tokio_on_several_threads_turns_it() {
    on(&tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(), 2);
}

#[test]
fn two_servers_of_one_loop_talk_under_tokio() {
    on(&tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(), 1);
}

/// A future that is dropped leaves the loop to the next one, with what was sent in between.
#[test]
fn a_drive_that_is_dropped_can_be_followed_by_another() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = start();
    let [mut one, mut two] = pair([&engine, &engine]);
    runtime.block_on(async {
        for id in 0..20 {
            let driving = tokio::spawn(engine.reactor().unwrap().drive());
            one.outbox().send(Envelope::to(2).id(id).body("now")).unwrap();
            assert_eq!(two.inbox().recv_async().await.unwrap().msg_id, id);
            driving.abort();
            assert!(driving.await.unwrap_err().is_cancelled());
        }
    });
}

/// An idle loop costs no turns beside its heartbeats: the task is not polled again and again.
#[test]
fn a_pending_receive_does_not_spin() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = start();
    let [mut one, mut two] = pair([&engine, &engine]);
    runtime.block_on(async {
        let _driving = tokio::spawn(engine.reactor().unwrap().drive());
        one.outbox().send(Envelope::to(2).body("met")).unwrap();
        two.inbox().recv_async().await.unwrap();
        let before = engine.wake_ups();
        assert!(tokio::time::timeout(Duration::from_millis(500), two.inbox().recv_async()).await.is_err());
        let woken = engine.wake_ups() - before;
        assert!(woken < 50, "{woken} turns in half a second");
    });
}

#[test]
fn io_uring_is_no_driver_for_a_reactor() {
    let error = Engine::start(Threading::Reactor, Idle::default(), Driver::IoUring).unwrap_err();
    assert!(error.to_string().contains("epoll"), "{error}");
    let cluster = Cluster::fixed([1]).with(|config| config.with_threading(Threading::Reactor));
    let node = Builder::new(1, &cluster.config).start().unwrap();
    assert_eq!(node.engine().driver(), Driver::Epoll);
    assert!(node.engine().reactor().is_some());
}
