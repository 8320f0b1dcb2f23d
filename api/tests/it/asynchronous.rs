//! The inbox on async runtimes.

use std::thread;
use std::time::Duration;

use cluster::{Engine, Envelope, Idle, Inbox, Node, Server};
use futures_util::{FutureExt, StreamExt};

use crate::support::{Cluster, PATIENCE, is_io_uring_forbidden, pair, send};

/// A pair whose first server sends `count` envelopes from a thread.
fn busy_pair(count: i64) -> (Node, Node, thread::JoinHandle<()>) {
    let [mut one, two] = pair();
    let mut outbox = one.outbox().clone();
    let sender = thread::spawn(move || {
        for id in 0..count {
            send(&mut outbox, Envelope::to(2).id(id).body(vec![0; id as usize % 100]));
            if id % 100 == 0 {
                // So that the reader finds nothing now and then.
                thread::yield_now();
            }
        }
    });
    (one, two, sender)
}

async fn receive_in_order(inbox: &mut Inbox, count: i64) {
    for id in 0..count {
        assert_eq!(inbox.recv_async().await.unwrap().msg_id, id);
    }
}

/// Futures that are given up, in several ways, lose nothing.
async fn receive_with_cancellations(inbox: &mut Inbox, count: i64) {
    let mut next = 0;
    let mut cancelled = 0;
    while next < count {
        let envelope = match next % 3 {
            0 => inbox.recv_async().now_or_never(),
            1 => tokio::time::timeout(Duration::ZERO, inbox.recv_async()).await.ok(),
            _ => tokio::select! {
                biased;
                () = tokio::task::yield_now() => None,
                envelope = inbox.recv_async() => Some(envelope),
            },
        };
        let envelope = match envelope {
            Some(envelope) => envelope.unwrap(),
            None => {
                cancelled += 1;
                inbox.recv_async().await.unwrap()
            }
        };
        assert_eq!(envelope.msg_id, next);
        next += 1;
    }
    eprintln!("{cancelled} of {count} futures were cancelled");
}

fn within_patience(runtime: &tokio::runtime::Runtime, work: impl Future<Output = ()>) {
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") });
}

fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn multi_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

#[test]
fn tokio_on_one_thread() {
    let (_one, mut two, sender) = busy_pair(10_000);
    within_patience(&current_thread(), receive_in_order(two.inbox(), 10_000));
    sender.join().unwrap();
}

#[test]
fn tokio_on_several_threads() {
    let (_one, mut two, sender) = busy_pair(10_000);
    let runtime = multi_thread();
    let task = runtime.spawn(async move {
        receive_in_order(two.inbox(), 10_000).await;
        two
    });
    within_patience(&runtime, async { drop(task.await.unwrap()) });
    sender.join().unwrap();
}

#[test]
fn cancelled_futures_lose_nothing_on_one_thread() {
    let (_one, mut two, sender) = busy_pair(10_000);
    within_patience(&current_thread(), receive_with_cancellations(two.inbox(), 10_000));
    sender.join().unwrap();
}

#[test]
fn cancelled_futures_lose_nothing_on_several_threads() {
    let (_one, mut two, sender) = busy_pair(10_000);
    let runtime = multi_thread();
    let task = runtime.spawn(async move {
        receive_with_cancellations(two.inbox(), 10_000).await;
        two
    });
    within_patience(&runtime, async { drop(task.await.unwrap()) });
    sender.join().unwrap();
}

#[test]
fn tokio_uring() {
    if is_io_uring_forbidden() {
        return;
    }
    let (_one, mut two, sender) = busy_pair(10_000);
    tokio_uring::start(async {
        tokio::time::timeout(PATIENCE, receive_in_order(two.inbox(), 10_000)).await.expect("in time");
    });
    sender.join().unwrap();
}

#[test]
fn the_stream_gives_envelopes_until_the_stop() {
    for runtime in [current_thread(), multi_thread()] {
        let (_one, two, sender) = busy_pair(5_000);
        let cluster::Split { inbox, outbox: _outbox, events: _events, mut handle } = two.split();
        within_patience(&runtime, async {
            let mut inbox = inbox;
            let ids: Vec<i64> = inbox.by_ref().take(4_000).map(|envelope| envelope.msg_id).collect().await;
            assert_eq!(ids, (0..4_000).collect::<Vec<_>>());
            let mut ids: Vec<i64> = inbox.by_ref().take(1_000).map(|envelope| envelope.msg_id).collect().await;
            assert_eq!(ids.pop(), Some(4_999));
            // It waits, and is woken by the stop.
            let stopping = tokio::task::spawn_blocking(move || handle.stop());
            assert_eq!(inbox.next().await, None);
            assert_eq!(inbox.recv_async().await, Err(cluster::RecvError::Stopped));
            stopping.await.unwrap().unwrap();
        });
        sender.join().unwrap();
    }
}

#[test]
fn an_inline_server_in_an_async_runtime() {
    let engine = Engine::inline(Idle::default()).unwrap();
    let mut cluster = Cluster::new([1, 2]);
    let mut one = cluster.start(1);
    let mut two = cluster.start_on(2, &engine);
    let mut outbox = one.outbox().clone();
    let sender = thread::spawn(move || (0..2_000).for_each(|id| send(&mut outbox, Envelope::to(2).id(id))));
    within_patience(&current_thread(), async {
        let other = async {
            // Another task of the same thread has its turns too.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(receive_in_order(two.inbox(), 2_000), other);
    });
    sender.join().unwrap();
}

#[test]
fn several_inboxes_in_one_task() {
    let mut cluster = Cluster::new([1, 2, 3]);
    let [mut one, mut two, mut three] = cluster.start_each([1, 2, 3]);
    let mut outbox = one.outbox().clone();
    let sender = thread::spawn(move || {
        for id in 0..3_000 {
            send(&mut outbox, Envelope::to(2 + id as u64 % 2).id(id));
        }
    });
    within_patience(&current_thread(), async {
        let mut next = [0, 1];
        while next != [3_000, 3_001] {
            let (pid, id) = tokio::select! {
                envelope = two.inbox().recv_async() => (0, envelope.unwrap().msg_id),
                envelope = three.inbox().recv_async() => (1, envelope.unwrap().msg_id),
            };
            assert_eq!(id, next[pid]);
            next[pid] += 2;
        }
    });
    sender.join().unwrap();
}
