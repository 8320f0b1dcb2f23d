//! Tests of adding and removing peers, of statistics, and of stops on a loop that failed or hangs.

use std::net::TcpListener;
use std::sync::mpsc::TryRecvError;

use super::*;
use crate::callback::caught;
use crate::driver::DriverChoice;
use crate::engine::{NodeConfig, NodeParts, Threading};
use crate::link::BROADCAST;
use crate::mailbox::Ready;
use crate::outbox::PushError;
use crate::payload::Body;
use crate::roster::RosterSizes;
use crate::runtime::IdleStrategy;
use crate::stream::{self, Lane};
use crate::testing::local;

/// Starts server 1 on an inline engine, with peers that have no address.
fn start(peers: impl Iterator<Item = Pid>) -> NodeParts {
    start_with(Threading::Inline, peers)
}

fn start_with(threading: Threading, peers: impl Iterator<Item = Pid>) -> NodeParts {
    let engine = Engine::start(threading, IdleStrategy::PARK, DriverChoice::Auto).unwrap();
    engine
        .attach(NodeConfig {
            local: local(1),
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            peers: peers.map(|pid| (pid, Vec::new())).collect(),
            ring_bytes: 64 * 1024,
            memory: true,
        })
        .unwrap()
}

fn send(server: &mut NodeParts, pid: Pid) -> Result<(), PushError> {
    let index = server.sender.index_of(pid)?;
    server.sender.push(index, Lane::Normal, 0, &Body::from(b"hello"), true)
}

fn remove(server: &mut NodeParts, pid: Pid) {
    let undelivered = server.handle.remove_peer(pid).unwrap().unwrap();
    assert_eq!((undelivered.messages, undelivered.bytes), (1, 5), "to {pid}");
    assert_eq!(send(server, pid), Err(PushError::UnknownPid));
}

#[test]
fn ten_thousand_removals_leave_no_more_than_there_was_at_once() {
    const ROUNDS: u64 = 5_000;
    // 1,024 less the one that was added again.
    const REMEMBERED: usize = 1023;
    let mut one = start(2..10);
    let mut idle = one.sender.clone();
    for round in 0..ROUNDS {
        // A peer that comes again, and a new one.
        for pid in [2 + round % 8, 1000 + round] {
            one.handle.set_peer(pid, Vec::new()).unwrap();
            send(&mut one, pid).unwrap();
            remove(&mut one, pid);
        }
        one.handle.set_peer(2 + round % 8, Vec::new()).unwrap();
    }
    let NodeHandle { node, loop_handle, outboxes, .. } = &one.handle;
    assert_eq!(outboxes.roster.sizes(), RosterSizes { peers: 8, places: 8 });
    assert_eq!(outboxes.stats.sizes(), (8, 8 + REMEMBERED));
    // An outbox that has followed every change, and one that has missed them.
    for sender in [&mut one.sender, &mut idle] {
        assert_eq!(sender.peers(), [2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(sender.places(), 8);
    }
    loop_handle.poll();
    let sizes = loop_handle.with_shard(|shard| shard.link_sizes(*node)).flatten().unwrap();
    assert_eq!((sizes.places, sizes.links, sizes.remembered), (8, 8, REMEMBERED));

    let rows = one.handle.stats();
    assert_eq!((rows.len(), rows[8 + REMEMBERED].pid), (8 + REMEMBERED + 1, BROADCAST));
    let sum = |count: fn(&PeerStats) -> u64| rows.iter().map(count).sum::<u64>();
    assert_eq!((sum(|row| row.messages_out), sum(|row| row.bytes_out)), (2 * ROUNDS, 10 * ROUNDS));
    assert_eq!((sum(|row| row.dropped_removed), sum(|row| row.in_flight)), (2 * ROUNDS, 0));
    assert_eq!((rows[0].messages_out, rows[8].messages_out), (ROUNDS / 8, 1));
}

#[test]
fn a_command_for_a_removed_link_does_nothing_to_the_next_one() {
    let mut one = start(2..3);
    let key = |server: &NodeParts, pid| {
        let link = server.handle.outboxes.roster.link_of(pid).unwrap();
        LinkKey { node: server.handle.node, link }
    };
    let gone = key(&one, 2);
    send(&mut one, 2).unwrap();
    remove(&mut one, 2);
    assert!(one.handle.set_peer(3, Vec::new()).unwrap());
    let present = key(&one, 3);
    assert_eq!(present.link.index, gone.link.index, "the place is used again");
    send(&mut one, 3).unwrap();

    let mailbox = one.handle.loop_handle.mailbox().clone();
    let (writer, stream) = stream::stream(stream::stream_id(9, Lane::Normal), 64 * 1024, 1 << 20).unwrap();
    mailbox.command(Command::Open { link: gone, stream: Box::new(stream) });
    mailbox.command(Command::Malformed { link: gone, pid: 2, session: 0, lost: 8 });
    let (report, reported) = mpsc::channel();
    mailbox.command(Command::Remove { link: gone, report });
    for ready in [Ready::Link(gone), Ready::RequestAck(gone), Ready::Consumed(gone)] {
        mailbox.ready(ready);
    }
    while one.handle.loop_handle.poll() {}
    assert!(writer.is_closed(), "nobody takes it");
    assert_eq!(reported.try_recv(), Err(TryRecvError::Disconnected), "nobody is removed");
    let row = |server: &NodeParts, pid| server.handle.stats().into_iter().find(|row| row.pid == pid).unwrap();
    assert_eq!((row(&one, 3).messages_out, row(&one, 3).in_flight), (1, 1));
    assert_eq!((row(&one, 2).messages_out, row(&one, 2).dropped_removed), (1, 1));
    remove(&mut one, 3);
}

/// The outbox had looked up a peer that was then removed. Another peer got the slot of its link.
#[test]
fn an_outbox_that_has_not_heard_of_a_removal_writes_to_nobody_else() {
    let mut one = start(2..3);
    send(&mut one, 2).unwrap();
    let index = one.sender.index_of(2).unwrap();
    assert_eq!(one.handle.remove_peer(2).unwrap().unwrap().messages, 1);
    one.handle.set_peer(3, Vec::new()).unwrap();
    let sender = &mut one.sender;
    let written = sender.push_with(index, Lane::Normal, 0, 5, |room| room.fill(1));
    assert_eq!(written, Err((PushError::UnknownPid, vec![1; 5])));
    assert!(!sender.push_at_once(index, Lane::Normal, 0, b"hello", true));
    assert_eq!(sender.push(index, Lane::Normal, 0, &Body::from(b"hello"), true), Err(PushError::UnknownPid));
    assert_eq!(sender.has_room(index, Lane::Normal, 5), Err(PushError::UnknownPid));
    send(&mut one, 3).unwrap();
    let row = one.handle.stats().into_iter().find(|row| row.pid == 3).unwrap();
    assert_eq!((row.messages_out, row.in_flight), (1, 1));
}

fn undelivered(stopped: &Stopped) -> Vec<(Pid, u64, u64)> {
    stopped.undelivered.iter().map(|each| (each.pid, each.messages, each.bytes)).collect()
}

#[test]
fn a_panic_while_the_shard_is_looked_at_ends_its_servers() {
    let mut one = start(2..4);
    send(&mut one, 3).unwrap();
    let loop_handle = one.handle.loop_handle().clone();
    let looked = caught(|| loop_handle.with_shard(|_| panic!("as a bug would")));
    assert_eq!(looked, Err::<Option<()>, _>("as a bug would".to_owned()));
    assert!(!loop_handle.poll() && loop_handle.is_stopped());
    assert_eq!(send(&mut one, 3), Err(PushError::Stopped));
    assert!(one.receiver.is_closed());
    let mut event = one.events.pop();
    if matches!(event, Some(Event::EpollFallback { .. })) {
        event = one.events.pop();
    }
    assert!(matches!(&event, Some(Event::EngineFailed { message }) if message.contains("panicked")), "{event:?}");
    assert!(one.handle.set_peer(9, Vec::new()).is_err() && one.handle.remove_peer(2).is_err());
    for _ in 0..2 {
        let stopped = one.handle.stop(Duration::ZERO).unwrap();
        assert_eq!(undelivered(&stopped), [(3, 1, 5)]);
        assert!(stopped.failure.is_some_and(|failure| failure.contains("panicked")));
    }
    let row = one.handle.stats().into_iter().find(|row| row.pid == 3).unwrap();
    assert_eq!((row.messages_out, row.dropped_stopped, row.in_flight), (1, 1, 0));
    // A loop that is gone keeps no command.
    loop_handle.mailbox().command(Command::Shutdown);
    assert_eq!(loop_handle.mailbox().backlog(), (0, 0));
}

#[test]
fn a_stop_that_is_not_answered_is_no_success() {
    let mut one = start_with(Threading::Dedicated { shards: 1 }, 2..3);
    send(&mut one, 2).unwrap();
    let loop_handle = one.handle.loop_handle().clone();
    let (end, ends) = mpsc::channel::<()>();
    // Keeps the loop from its next turn.
    let (held, holds) = mpsc::channel();
    let holder = std::thread::spawn(move || {
        loop_handle.with_shard(|_| {
            held.send(()).unwrap();
            let _ = ends.recv();
        });
    });
    holds.recv().unwrap();
    let stopped = one.handle.stop(Duration::ZERO).unwrap();
    assert_eq!(undelivered(&stopped), [(2, 1, 5)]);
    assert!(stopped.failure.is_some_and(|failure| failure.contains("not answered")));
    drop(end);
    holder.join().unwrap();
}
