//! Tests of the inbox alone: the order of the overflow, the rest after the loop is gone, and closures that panic.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use zerocopy::IntoBytes;

use super::*;
use crate::callback::Callbacks;
use crate::delivery::{self, InboxSender};
use crate::driver::{ChunkPool, Notifier};
use crate::link::RecvCredit;
use crate::roster::LinkId;

const WINDOW: u64 = 1 << 20;
const RUN: WireIncarnation = [3; 16];
const LINK: LinkKey = LinkKey { node: 0, link: LinkId { index: 0, generation: 0 } };

/// A byte count that is larger than the sum of all arrivals here.
const MUCH: u64 = 1 << 40;

/// A stream, and the window that its bytes count against.
struct Stream {
    inbound: Arc<RecvShared>,
    window: RecvCredit,
}

/// Makes an inbox whose queue holds `arrivals` arrivals, and a stream for them.
fn start(arrivals: usize) -> (InboxSender, Receiver, Stream) {
    let mailbox = Arc::new(Mailbox::new(Arc::new(Notifier::for_thread())));
    let (sender, arrivals) = delivery::arrivals(arrivals, Callbacks::default());
    let receiver = Receiver::new(arrivals, mailbox);
    let mut window = RecvCredit::new(WINDOW);
    window.take(MUCH);
    (sender, receiver, Stream { inbound: RecvShared::new(window.consumption().clone()), window })
}

fn arrived(stream: &Stream, room: u64, body: ArrivedBody) -> Arrived {
    Arrived { pid: 7, link: LINK, session: 1, incarnation: RUN, stream: stream.inbound.clone(), room, body }
}

/// Makes an arrival of one envelope by itself.
fn whole(stream: &Stream, id: i64) -> Arrived {
    arrived(stream, 24, ArrivedBody::Whole { id, payload: Bytes::from_static(b"payload!") })
}

/// Makes a segment of envelopes with these ids and 8 bytes of payload each.
fn segment(stream: &Stream, room: u64, ids: std::ops::Range<i64>) -> Arrived {
    let mut buffer = ChunkPool::new(64 * 1024, 1).take().unwrap();
    for id in ids {
        buffer.append(FrameHeader::new(8, id).as_bytes());
        buffer.append(b"payload!");
    }
    arrived(stream, room, ArrivedBody::Frames(buffer.share(0..buffer.filled())))
}

/// Returns the bytes of the window that the application has taken.
fn consumed(stream: &Stream) -> u64 {
    MUCH - stream.window.unread()
}

/// Takes all envelopes that are left, in turn by `pop` and by `drain`. Returns their ids.
fn rest(receiver: &mut Receiver) -> Vec<i64> {
    let mut ids = Vec::new();
    while !receiver.is_empty() {
        ids.extend(receiver.pop().map(|message| message.id));
        receiver.drain(2, |received| ids.push(received.id));
    }
    ids
}

/// Drains with a closure that panics at its envelope number `last`. Returns the ids of the envelopes that the closure
/// was given.
fn drain_and_panic(receiver: &mut Receiver, last: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        receiver.drain(usize::MAX, |received| {
            ids.push(received.id);
            if ids.len() == last {
                resume_unwind(Box::new("an application panics"));
            }
        })
    }));
    assert!(panicked.is_err(), "{ids:?}");
    ids
}

#[test]
fn what_overflows_is_read_in_order_when_the_loop_is_gone() {
    for (arrivals, taken_first) in [(1, 0), (1, 3), (4, 0), (4, 2), (4, 7), (64, 0)] {
        let (mut sender, mut receiver, stream) = start(arrivals);
        for id in 0..10 {
            sender.push(whole(&stream, id));
        }
        for id in 0..taken_first {
            assert_eq!(receiver.pop().unwrap().id, id);
        }
        for id in 10..30 {
            sender.push(whole(&stream, id));
        }
        drop(sender);
        assert!(receiver.is_closed() && !receiver.is_empty());
        assert_eq!(rest(&mut receiver), (taken_first..30).collect::<Vec<_>>(), "{arrivals} {taken_first}");
        assert!(receiver.pop().is_none());
        assert_eq!(consumed(&stream), 30 * 24);
    }
}

#[test]
fn what_overflows_while_it_is_read_keeps_its_order() {
    let count = if cfg!(miri) { 300 } else { 200_000 };
    for arrivals in [1, 3, 64] {
        let (mut sender, mut receiver, stream) = start(arrivals);
        let producer = thread::spawn(move || {
            for id in 0..count {
                sender.push(whole(&stream, id));
                sender.wake();
                if id % 1000 == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut next = 0;
        while !(receiver.is_empty() && receiver.is_closed() && receiver.is_empty()) {
            if let Some(message) = receiver.pop() {
                assert_eq!(message.id, next);
                next += 1;
            }
        }
        assert_eq!(next, count);
        producer.join().unwrap();
    }
}

#[test]
fn a_closure_that_panics_takes_one_envelope_and_leaves_the_others() {
    let (mut sender, mut receiver, stream) = start(8);
    sender.push(segment(&stream, 100, 0..5));
    sender.push(segment(&stream, 100, 5..8));
    sender.push(arrived(&stream, 100, ArrivedBody::Whole { id: 8, payload: Bytes::from_static(b"long") }));
    assert_eq!(drain_and_panic(&mut receiver, 3), [0, 1, 2]);
    assert_eq!(consumed(&stream), 0, "the rest of the segment takes room");
    assert_eq!(receiver.pop().unwrap().id, 3);
    assert_eq!(drain_and_panic(&mut receiver, 1), [4], "the last of the segment that was begun");
    assert_eq!(consumed(&stream), 100, "nothing of it is left");
    assert_eq!(drain_and_panic(&mut receiver, 4), [5, 6, 7, 8]);
    assert_eq!(consumed(&stream), 300);
    assert!(receiver.is_empty());
    assert_eq!((stream.inbound.counters().messages(), stream.inbound.counters().bytes()), (9, 8 * 8 + 4));
}

#[test]
fn closures_that_panic_each_time_are_handed_everything_once() {
    let (mut sender, mut receiver, stream) = start(2);
    for index in 0..100 {
        sender.push(segment(&stream, 1000, index * 7..(index + 1) * 7));
    }
    let mut ids = Vec::new();
    for turn in 0.. {
        if receiver.is_empty() {
            break;
        }
        let left = 700 - ids.len();
        ids.extend(drain_and_panic(&mut receiver, left.min(1 + turn % 20)));
    }
    assert_eq!(ids, (0..700).collect::<Vec<_>>());
    assert_eq!(consumed(&stream), 100_000);
}

#[test]
fn a_segment_that_does_not_hold_frames_is_finished() {
    let (mut sender, mut receiver, stream) = start(2);
    let mut buffer = ChunkPool::new(4096, 1).take().unwrap();
    buffer.append(FrameHeader::new(8, 1).as_bytes());
    buffer.append(b"payload!");
    buffer.append(b"no frame");
    sender.push(arrived(&stream, 32, ArrivedBody::Frames(buffer.share(0..32))));
    sender.push(segment(&stream, 48, 2..4));
    let mut ids = Vec::new();
    assert_eq!(receiver.drain(usize::MAX, |received| ids.push(received.id)), 3);
    assert_eq!((ids, consumed(&stream)), (vec![1, 2, 3], 80));
    let told = receiver.mailbox.next_command();
    assert!(matches!(told, Some(Command::Malformed { link: LINK, session: 1, lost: 8, .. })), "not told");
}
