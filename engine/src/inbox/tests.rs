//! The inbox by itself: the order of what overflows, and what is left when its loop is gone.

use std::thread;

use super::*;
use crate::driver::Bell;
use crate::link::InStream;
use crate::roster::LinkId;

const WINDOW: u64 = 1 << 20;
const LINK: LinkKey = LinkKey { node: 0, link: LinkId { index: 0, generation: 0 } };

/// An inbox whose queue holds so many arrivals, and a stream on which they come.
fn start(arrivals: usize) -> (InboxSender, Receiver, InStream) {
    let mailbox = Arc::new(Mailbox::new(Arc::new(Bell::for_thread())));
    let (sender, receiver) = inbox(mailbox, arrivals);
    (sender, receiver, InStream::new(0, 0, WINDOW))
}

fn arrived(stream: &InStream, end: u64, body: Body) -> Arrived {
    Arrived { pid: 7, link: LINK, session: 1, stream: stream.shared().clone(), end, body }
}

/// An envelope in a segment of its own.
fn whole(stream: &InStream, id: i64) -> Arrived {
    arrived(stream, 24 * (id as u64 + 1), Body::Whole { id, payload: Bytes::from_static(b"payload!") })
}

/// The position up to which the application has taken envelopes.
fn consumed(stream: &mut InStream) -> u64 {
    stream.grant().1 - WINDOW
}

/// The ids of all that is there, taken in turn in both ways.
fn rest(receiver: &mut Receiver) -> Vec<i64> {
    let mut ids = Vec::new();
    while !receiver.is_empty() {
        ids.extend(receiver.pop().map(|message| message.id));
        receiver.drain(2, |received| ids.push(received.id));
    }
    ids
}

#[test]
fn what_overflows_is_read_in_order_when_the_loop_is_gone() {
    for (arrivals, taken_first) in [(1, 0), (1, 3), (4, 0), (4, 2), (4, 7), (64, 0)] {
        let (mut sender, mut receiver, mut stream) = start(arrivals);
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
        assert_eq!(consumed(&mut stream), 30 * 24);
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
