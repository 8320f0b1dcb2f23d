//! Code of the application that the engine calls, and that panics: wakers, and the owners of bodies.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};

use bytes::Bytes;
use cluster::mock;
use cluster::{Callback, Config, Envelope, Event, Events, Inbox, Server, Threading};

use crate::support::{Cluster, PATIENCE, await_event, eventually, receive, send};

/// A waker that panics, and counts how often.
#[derive(Default)]
struct Bomb(AtomicUsize);

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("this waker panics");
    }
}

/// A body whose owner panics when the engine drops it.
struct Mine {
    bytes: Vec<u8>,
    thread: ThreadId,
    panics: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Mine {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        // A loop may be faster than the thread that sends, and leave the last drop to it.
        if thread::current().id() != self.thread {
            self.panics.fetch_add(1, Ordering::SeqCst);
            panic!("this body panics");
        }
    }
}

fn body(length: usize, panics: &Arc<AtomicUsize>) -> Bytes {
    Bytes::from_owner(Mine { bytes: vec![7; length], thread: thread::current().id(), panics: panics.clone() })
}

/// Registers the waker for the next arrival.
fn await_with(inbox: &mut Inbox, waker: &Arc<Bomb>) {
    let waker = Waker::from(waker.clone());
    let mut context = Context::from_waker(&waker);
    let future = pin!(inbox.recv_async());
    assert!(matches!(future.poll(&mut context), Poll::Pending));
}

/// Waits for an event of panics. Returns their number.
fn await_panic(events: &mut Events, wanted: Callback, text: &str) -> usize {
    let mut panics = 0;
    await_event(events, "panic", |event| {
        if let Event::CallbackPanicked { callback, count, message } = event {
            assert_eq!((*callback, &message[..]), (wanted, text));
            panics = *count as usize;
        }
        panics > 0
    });
    panics
}

/// Checks that both servers go on: they exchange envelopes, and a flush succeeds.
fn go_on(one: &mut impl Server, two: &mut impl Server) {
    for round in 0..10 {
        send(one.outbox(), Envelope::to(two.pid()).id(round).body("ping"));
        assert_eq!(receive(two.inbox()).msg, "ping");
        send(two.outbox(), Envelope::to(one.pid()).id(round).body("pong"));
        assert_eq!(receive(one.inbox()).msg, "pong");
    }
    one.outbox().flush(PATIENCE).unwrap();
    assert!(!one.inbox().is_stopped() && !two.inbox().is_stopped());
}

fn wakers_panic(mut one: impl Server, mut two: impl Server) {
    for _ in 0..3 {
        let bomb = Arc::new(Bomb::default());
        await_with(two.inbox(), &bomb);
        send(one.outbox(), Envelope::to(two.pid()).body("wake up"));
        eventually("the waker was called", || (bomb.0.load(Ordering::SeqCst) == 1).then_some(()));
        assert_eq!(receive(two.inbox()).msg, "wake up");
        await_panic(two.events(), Callback::Waker, "this waker panics");
        go_on(&mut one, &mut two);
    }
    two.stop().unwrap();
    one.stop().unwrap();
}

fn bodies_panic(mut one: impl Server, mut two: impl Server) {
    let panics = Arc::new(AtomicUsize::new(0));
    for id in 0..20 {
        send(one.outbox(), Envelope::to(two.pid()).id(id).body(body(50_000, &panics)));
        assert_eq!(receive(two.inbox()).msg.len(), 50_000);
        if id % 2 == 0 {
            one.outbox().flush(PATIENCE).unwrap();
        }
    }
    go_on(&mut one, &mut two);
    let (mut told, wanted) = (0, panics.load(Ordering::SeqCst));
    assert!(wanted > 0, "the engine has dropped no body");
    while told < wanted {
        told += await_panic(one.events(), Callback::BodyDrop, "this body panics");
    }
    assert_eq!(told, wanted);
    two.stop().unwrap();
    one.stop().unwrap();
}

fn pair_on(threading: Threading) -> [cluster::Node; 2] {
    Cluster::new([1, 2]).with(|config: Config| config.with_threading(threading)).start_each([1, 2])
}

fn mock_pair() -> [mock::Node; 2] {
    let cluster = mock::Cluster::new(7);
    let servers: [mock::Node; 2] = cluster.add_servers([1, 2]).unwrap().try_into().unwrap();
    servers
}

const DEDICATED: Threading = Threading::Dedicated { shards: 1 };

#[test]
fn a_waker_that_panics_ends_no_loop() {
    let [one, two] = pair_on(DEDICATED);
    wakers_panic(one, two);
}

#[test]
fn a_waker_that_panics_ends_no_mock() {
    let [one, two] = mock_pair();
    wakers_panic(one, two);
}

#[test]
fn a_body_that_panics_when_it_is_dropped_ends_no_loop() {
    let [one, two] = pair_on(DEDICATED);
    bodies_panic(one, two);
}

#[test]
fn a_body_that_panics_when_it_is_dropped_ends_no_mock() {
    let [one, two] = mock_pair();
    bodies_panic(one, two);
}
