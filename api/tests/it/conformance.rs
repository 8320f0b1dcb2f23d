//! What every server does, whatever it runs on: the contract of [`Server`], stated once.
//!
//! Each test is generic over a [`Factory`] and runs on the real node with dedicated threads and inline, over TCP through
//! io_uring and epoll, and through memory, and on the mock under real and under virtual time.

mod peers;
mod runs;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use cluster::mock::{self, Time};
use cluster::{
    BROADCAST, Builder, Config, DownReason, Driver, Engine, Envelope, Event, Idle, Neighbours, Node, RecvError,
    RecvTimeoutError, SendError, Server, StartError, Threading, TryRecvError,
};
use futures_util::{FutureExt, StreamExt};

use crate::reactor::Poller;
use crate::support::{Cluster, PATIENCE, await_event, message, receive, send, without_fallback};

use runs::{
    an_answer_is_for_the_run_that_asked, an_envelope_names_the_run_of_its_sender, message_ids_of_two_runs_differ,
    one_incarnation_is_one_recipient,
};

use peers::{
    a_program_that_misses_events_reads_the_newest_states, drops_are_told_together, the_state_of_a_peer_can_be_asked_for,
};

/// Makes the servers of one cluster.
trait Factory {
    type Server: Server;

    /// A cluster of these servers, with this change to its configuration; none runs yet.
    fn new(pids: &[u64], change: fn(Config) -> Config) -> Self;

    /// Starts a server.
    fn start(&mut self, pid: u64) -> Result<Self::Server, StartError>;
}

/// The real node on threads of the engine.
struct Dedicated(Cluster);

impl Factory for Dedicated {
    type Server = Node;

    fn new(pids: &[u64], change: fn(Config) -> Config) -> Dedicated {
        Dedicated(Cluster::fixed(pids.iter().copied()).with(change))
    }

    fn start(&mut self, pid: u64) -> Result<Node, StartError> {
        cluster::start(pid, &self.0.config).map(without_fallback)
    }
}

/// The real node on the thread of the test, which drives all servers: one inline engine.
struct Inline(Cluster, Engine);

impl Factory for Inline {
    type Server = Node;

    fn new(pids: &[u64], change: fn(Config) -> Config) -> Inline {
        Inline(Cluster::fixed(pids.iter().copied()).with(change), Engine::inline(Idle::default()).unwrap())
    }

    fn start(&mut self, pid: u64) -> Result<Node, StartError> {
        Builder::new(pid, &self.0.config).engine(&self.1).start().map(without_fallback)
    }
}

/// The real node on an engine over epoll with so many loops; with none, the test drives it.
struct Epoll<const LOOPS: usize>(Cluster, Engine);

impl<const LOOPS: usize> Factory for Epoll<LOOPS> {
    type Server = Node;

    fn new(pids: &[u64], change: fn(Config) -> Config) -> Epoll<LOOPS> {
        let threading = match LOOPS {
            0 => Threading::Inline,
            shards => Threading::Dedicated { shards },
        };
        let engine = Engine::start(threading, Idle::default(), Driver::Epoll).unwrap();
        Epoll(Cluster::fixed(pids.iter().copied()).with(change), engine)
    }

    fn start(&mut self, pid: u64) -> Result<Node, StartError> {
        Builder::new(pid, &self.0.config).engine(&self.1).start().map(without_fallback)
    }
}

/// The real node on an engine that a loop of `poll` turns on another thread.
struct Reactor(Cluster, Engine, #[expect(dead_code, reason = "its drop ends the thread")] Poller);

impl Factory for Reactor {
    type Server = Node;

    fn new(pids: &[u64], change: fn(Config) -> Config) -> Reactor {
        let engine = Engine::start(Threading::Reactor, Idle::default(), Driver::Auto).unwrap();
        let poller = Poller::new(engine.reactor().unwrap());
        Reactor(Cluster::fixed(pids.iter().copied()).with(change), engine, poller)
    }

    fn start(&mut self, pid: u64) -> Result<Node, StartError> {
        Builder::new(pid, &self.0.config).engine(&self.1).start()
    }
}

/// The real node beside others on the same engine, which it reaches through memory. The engine has so many loops; with none,
/// the test drives it.
struct Memory<const LOOPS: usize>(Cluster, Engine);

impl<const LOOPS: usize> Factory for Memory<LOOPS> {
    type Server = Node;

    fn new(pids: &[u64], change: fn(Config) -> Config) -> Memory<LOOPS> {
        let engine = match LOOPS {
            0 => Engine::inline(Idle::default()),
            _ => Engine::dedicated(LOOPS, Idle::default()),
        };
        let memory = |config: Config| config.with_neighbours(Neighbours::Memory);
        Memory(Cluster::fixed(pids.iter().copied()).with(memory).with(change), engine.unwrap())
    }

    fn start(&mut self, pid: u64) -> Result<Node, StartError> {
        Builder::new(pid, &self.0.config).engine(&self.1).start().map(without_fallback)
    }
}

/// The mock.
struct Mock<const VIRTUAL: bool>(mock::Cluster);

impl<const VIRTUAL: bool> Factory for Mock<VIRTUAL> {
    type Server = mock::Node;

    fn new(pids: &[u64], change: fn(Config) -> Config) -> Mock<VIRTUAL> {
        let config = change(Config::new(pids.iter().map(|pid| (*pid, format!("localhost:{pid}")))).unwrap());
        let time = if VIRTUAL { Time::Virtual } else { Time::Real };
        let cluster = mock::Cluster::from_config(1, time, &config).unwrap();
        // As on the real node.
        cluster.hold_while_partitioned(true);
        Mock(cluster)
    }

    fn start(&mut self, pid: u64) -> Result<mock::Node, StartError> {
        self.0.add_server(pid)
    }
}

fn same(config: Config) -> Config {
    config
}

/// The servers 1 to `N`, which reach each other.
fn running<F: Factory, const N: usize>(change: fn(Config) -> Config) -> (F, [F::Server; N]) {
    let pids: [u64; N] = std::array::from_fn(|index| index as u64 + 1);
    let mut factory = F::new(&pids, change);
    let servers = pids.map(|pid| factory.start(pid).unwrap());
    (factory, servers)
}

fn pid_and_peers<F: Factory>() {
    let mut factory = F::new(&[30, 10, 20], same);
    let server = factory.start(20).unwrap();
    assert_eq!((server.pid(), server.peers()), (20, &[10, 30][..]));
    assert!(matches!(factory.start(20), Err(StartError::AlreadyRunning { pid: 20 })));
}

fn unicast<F: Factory>() {
    let (_factory, [mut one, mut two, mut three]) = running::<F, 3>(same);
    send(one.outbox(), Envelope::to(2).id(-7).body("for two"));
    let envelope = receive(two.inbox());
    assert_eq!((envelope.pid, envelope.msg_id, &envelope.msg[..]), (1, -7, &b"for two"[..]));
    // What nobody sent to it does not come before what somebody did.
    send(one.outbox(), Envelope::to(3).body("for three"));
    assert_eq!(receive(three.inbox()).msg, "for three");
}

fn multicast<F: Factory>() {
    let (_factory, [mut one, mut two, mut three, mut four]) = running::<F, 4>(same);
    send(one.outbox(), Envelope::to([2, 4, 4]).id(5).body("some"));
    send(one.outbox(), Envelope::to([3, 4]).id(6).body("others"));
    assert_eq!(receive(two.inbox()).msg_id, 5);
    assert_eq!(receive(three.inbox()).msg_id, 6);
    let ids = [(); 3].map(|()| receive(four.inbox()).msg_id);
    assert_eq!(ids, [5, 5, 6], "who is named twice gets it twice");
    send(one.outbox(), Envelope::to(Vec::new()).body("nobody"));
}

fn broadcast<F: Factory>() {
    let (_factory, mut servers) = running::<F, 4>(same);
    for server in &mut servers {
        let pid = server.pid();
        send(server.outbox(), Envelope::to(BROADCAST).id(pid as i64).body("all"));
    }
    for server in &mut servers {
        let mut from = [(); 3].map(|()| {
            let envelope = receive(server.inbox());
            assert_eq!(envelope.msg_id, envelope.pid as i64);
            envelope.pid
        });
        from.sort_unstable();
        assert_eq!(from, server.peers());
        assert_eq!(server.inbox().try_recv(), Err(TryRecvError::Empty));
    }
}

fn order_and_content<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(same);
    let length = |id: i64| [0, 1, 7, 8, 63, 64, 65, 1000, 16_368, 16_369, 70_000][id as usize % 11];
    for batch in 0..20 {
        let ids = batch * 11..(batch + 1) * 11;
        for id in ids.clone() {
            send(one.outbox(), Envelope::to(2).id(id).body(message(id as u64, length(id))));
        }
        for id in ids {
            let envelope = receive(two.inbox());
            assert_eq!(envelope.msg_id, id);
            assert_eq!(envelope.msg, message(id as u64, length(id)));
            assert_eq!(envelope.msg.as_ptr().addr() % 8, 0, "aligned");
        }
    }
}

fn ids_are_given_or_counted<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(|config| config.with_first_message_id(1000));
    send(one.outbox(), Envelope::to(2).body("first"));
    send(one.outbox(), Envelope::to(2).id(i64::MIN).body("given"));
    send(one.outbox(), Envelope::to(2).body("second"));
    one.outbox().claim(2, 5).unwrap().write(|buffer| buffer.copy_from_slice(b"third")).unwrap();
    let ids = [(); 4].map(|()| receive(two.inbox()).msg_id);
    assert_eq!(ids, [1000, i64::MIN, 1001, 1002]);
}

fn sizes_have_limits<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(|config| config.with_max_envelope_bytes(100_000));
    let error = one.outbox().send(Envelope::to(2).body(vec![1; 100_001])).unwrap_err();
    assert!(matches!(error, SendError::TooLarge { limit: 100_000, .. }), "{error:?}");
    assert_eq!(error.into_envelope().message().len(), 100_001);
    assert!(matches!(one.outbox().claim(2, 100_001), Err(SendError::TooLarge { .. })));
    send(one.outbox(), Envelope::to(2).body(vec![1; 100_000]));
    assert_eq!(receive(two.inbox()).msg.len(), 100_000);
}

fn unknown_pids_are_named<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(same);
    for (to, unknown) in [(vec![9], 9), (vec![2, 8], 8), (vec![1], 1)] {
        let error = one.outbox().send(Envelope::to(to).body("?")).unwrap_err();
        assert!(matches!(error, SendError::UnknownPid { pid, this: 1, .. } if pid == unknown), "{error:?}");
    }
    send(one.outbox(), Envelope::to(2).id(4).body("the first that comes"));
    assert_eq!(receive(two.inbox()).msg_id, 4);
}

fn waits_end<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(same);
    let wait = Duration::from_millis(10);
    assert_eq!(one.inbox().recv_timeout(wait), Err(RecvTimeoutError::Timeout));
    assert_eq!(one.inbox().drain_wait(Some(wait), |_| ()), 0);
    send(two.outbox(), Envelope::to(1).body("drained"));
    let mut drained = Vec::new();
    while one.inbox().drain_wait(Some(PATIENCE), |envelope| drained.push(envelope.to_owned())) == 0 {}
    assert_eq!((drained.len(), &drained[0].msg[..]), (1, &b"drained"[..]));
}

/// A peer that does not read: its senders are told, and nothing is lost.
fn a_full_peer_is_named<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(|config| {
        config.with_inbox_bytes(Config::MIN_INBOX_BYTES).with_outbox_bytes(Config::MIN_OUTBOX_BYTES)
    });
    let mut sent = 0;
    loop {
        match one.outbox().send_timeout(Envelope::to(2).id(sent).body(vec![0; 1000]), Duration::from_millis(50)) {
            Ok(()) => sent += 1,
            Err(SendError::Full { envelope }) => {
                assert_eq!(envelope.recipients(), &cluster::Recipients::One(2));
                break;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 1000, "nothing bounds it");
    }
    assert!(sent >= 64, "{sent}");
    for id in 0..sent {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
    send(one.outbox(), Envelope::to(2).id(sent).body("room again"));
    assert_eq!(receive(two.inbox()).msg_id, sent);
}

fn clones_send_too<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(same);
    let mut clone = one.outbox().clone();
    for id in 0..10 {
        send(&mut clone, Envelope::to(2).id(id).urgent().body("clone"));
    }
    drop(clone);
    for id in 0..10 {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
}

fn a_stop_delivers_first<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(same);
    send(one.outbox(), Envelope::to(2).body("hello"));
    assert_eq!(receive(two.inbox()).msg, "hello");
    for id in 0..100 {
        send(one.outbox(), Envelope::to(2).id(id).body("at the last moment"));
    }
    one.stop().unwrap();
    one.stop().unwrap();
    for id in 0..100 {
        assert_eq!(receive(two.inbox()).msg_id, id);
    }
    await_event(two.events(), "goodbye", |event| *event == Event::Down { pid: 1, reason: DownReason::Stopped });
}

fn a_stopped_server_says_so<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(same);
    send(two.outbox(), Envelope::to(1).body("before"));
    // In the inbox when it stops: it can still be taken.
    while one.inbox().drain_wait(Some(PATIENCE), |_| ()) == 0 {}
    one.stop().unwrap();
    assert!(one.inbox().recv().is_err());
    assert_eq!(one.inbox().try_recv(), Err(TryRecvError::Stopped));
    assert_eq!(one.inbox().recv_timeout(PATIENCE), Err(RecvTimeoutError::Stopped));
    assert!(one.inbox().is_stopped());
    let error = one.outbox().send(Envelope::to(2).body("after")).unwrap_err();
    assert!(matches!(error, SendError::Stopped { .. }), "{error:?}");
    assert_eq!(error.into_envelope().message(), b"after");
    assert!(matches!(one.outbox().claim(2, 5), Err(SendError::Stopped { .. })));
}

/// Number of envelopes, each in its own segment: more than the queue between a loop and its inbox has room for.
const UNREAD: i64 = 1500;

/// Sends [`UNREAD`] envelopes to server 2, and sees each acknowledged.
fn send_acknowledged(server: &mut impl Server) {
    for id in 0..UNREAD {
        send(server.outbox(), Envelope::to(2).id(id).body("?"));
        server.outbox().flush(PATIENCE).unwrap();
    }
}

fn a_stop_keeps_what_was_acknowledged<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(same);
    send_acknowledged(&mut one);
    two.stop().unwrap();
    let inbox = two.inbox();
    let mut ids = Vec::new();
    for _ in 0..50 {
        assert!(!inbox.is_stopped());
        ids.push(inbox.recv().unwrap().msg_id);
        ids.push(inbox.try_recv().unwrap().msg_id);
        ids.push(inbox.recv_timeout(PATIENCE).unwrap().msg_id);
        ids.push(inbox.recv_async().now_or_never().unwrap().unwrap().msg_id);
        ids.push(inbox.next().now_or_never().unwrap().unwrap().msg_id);
    }
    assert!(inbox.drain(|envelope| ids.push(envelope.msg_id)) > 0);
    assert!(inbox.drain_wait(None, |envelope| ids.push(envelope.msg_id)) > 0);
    ids.extend(inbox.iter().map(|envelope| envelope.msg_id));
    assert!(ids.iter().copied().eq(0..UNREAD), "{} of {UNREAD}: {ids:?}", ids.len());
    assert!(inbox.is_stopped());
    assert_eq!(inbox.recv(), Err(RecvError::Stopped));
    assert_eq!(inbox.recv_async().now_or_never(), Some(Err(RecvError::Stopped)));
    assert_eq!(inbox.drain_wait(None, |_| ()), 0);
}

fn a_removed_peer_leaves_what_it_was_told_is_acknowledged<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(same);
    send_acknowledged(&mut one);
    two.remove_peer(1).unwrap();
    two.stop().unwrap();
    assert!(two.inbox().iter().map(|envelope| envelope.msg_id).eq(0..UNREAD));
}

/// Reads several times what an inbox holds, with a closure that panics at every third envelope.
fn a_panic_in_drain_keeps_the_rest<F: Factory>() {
    let (_factory, [mut one, mut two]) = running::<F, 2>(|config| config.with_inbox_bytes(Config::MIN_INBOX_BYTES));
    let (mut sent, mut expected, mut found) = (0, 0, None);
    let mut progress = Instant::now();
    while expected < 3000 {
        while sent < 3000 && one.outbox().try_send(Envelope::to(2).id(sent).body(vec![0; 200])).is_ok() {
            sent += 1;
        }
        let drained = catch_unwind(AssertUnwindSafe(|| {
            two.inbox().drain_wait(Some(Duration::from_millis(10)), |envelope| {
                found = found.or((envelope.msg_id != expected).then_some(envelope.msg_id));
                expected += 1;
                if expected % 3 == 0 {
                    resume_unwind(Box::new("at the third"));
                }
            })
        }));
        assert_eq!(found, None, "one of the first {expected} that came");
        if drained.ok() != Some(0) {
            progress = Instant::now();
        }
        assert!(progress.elapsed() < PATIENCE, "{expected} of {sent} came");
    }
    let row = two.stats()[0];
    assert_eq!((row.messages_in, row.bytes_in, row.bytes_unread), (3000, 600_000, 0));
}

fn a_pid_starts_again<F: Factory>() {
    let (mut factory, [mut one, mut two]) = running::<F, 2>(same);
    let up = |event: &Event| matches!(event, Event::Up { pid: 2, .. });
    let mut incarnations = Vec::new();
    for round in 0..3 {
        send(two.outbox(), Envelope::to(1).id(round).body("here"));
        assert_eq!(receive(one.inbox()).msg_id, round);
        let seen = await_event(one.events(), "link", up);
        let Some(Event::Up { incarnation, .. }) = seen.last() else { panic!("{seen:?}") };
        assert_eq!(seen.iter().any(|event| matches!(event, Event::Restarted { pid: 2, .. })), round > 0, "{seen:?}");
        incarnations.push(*incarnation);
        send(one.outbox(), Envelope::to(2).id(round).body("there"));
        assert_eq!(receive(two.inbox()).msg_id, round);
        two.stop().unwrap();
        await_event(one.events(), "end", |event| matches!(event, Event::Down { pid: 2, .. }));
        assert_eq!(one.peers(), [2], "a peer that is not there is still a peer");
        two = factory.start(2).unwrap();
    }
    incarnations.dedup();
    assert_eq!(incarnations.len(), 3);
}

fn everything_is_counted<F: Factory>() {
    let (_factory, [mut one, mut two, _three]) = running::<F, 3>(same);
    for _ in 0..10 {
        send(one.outbox(), Envelope::to(2).body("12345"));
    }
    for taken in 0..10 {
        // What has been taken out of the inbox is counted, at the latest when everything that has come was taken.
        assert!(two.stats()[0].messages_in <= taken);
        receive(two.inbox());
    }
    let [to_two, to_three] = one.stats()[..] else { panic!("{:?}", one.stats()) };
    assert_eq!((to_two.pid, to_two.messages_out, to_two.bytes_out, to_two.messages_in), (2, 10, 50, 0));
    assert_eq!((to_three.pid, to_three.messages_out), (3, 0));
    let row = two.stats()[0];
    assert_eq!((row.pid, row.messages_in, row.bytes_in, row.messages_out), (1, 10, 50, 0));
}

/// A module of tests for one kind of server: the whole contract.
macro_rules! on {
    ($kind:ident, $factory:ty) => {
        on!($kind, $factory:
            pid_and_peers
            unicast
            multicast
            broadcast
            order_and_content
            ids_are_given_or_counted
            sizes_have_limits
            unknown_pids_are_named
            waits_end
            a_full_peer_is_named
            clones_send_too
            a_stop_delivers_first
            a_stopped_server_says_so
            a_stop_keeps_what_was_acknowledged
            a_removed_peer_leaves_what_it_was_told_is_acknowledged
            a_panic_in_drain_keeps_the_rest
            a_pid_starts_again
            everything_is_counted
            the_state_of_a_peer_can_be_asked_for
            drops_are_told_together
            a_program_that_misses_events_reads_the_newest_states
            an_envelope_names_the_run_of_its_sender
            an_answer_is_for_the_run_that_asked
            one_incarnation_is_one_recipient
            message_ids_of_two_runs_differ
        );
    };
    ($kind:ident, $factory:ty: $($test:ident)*) => {
        mod $kind {
            use super::*;
            $(
                #[test]
                fn $test() {
                    super::$test::<$factory>();
                }
            )*
        }
    };
}

on!(dedicated, Dedicated);
on!(inline, Inline);
on!(epoll_inline, Epoll<0>);
on!(epoll_on_two_loops, Epoll<2>);
on!(reactor, Reactor);
on!(memory_inline, Memory<0>);
on!(memory_on_one_loop, Memory<1>);
on!(memory_on_two_loops, Memory<2>);
on!(mock_in_real_time, Mock<false>);
on!(mock_in_virtual_time, Mock<true>);
