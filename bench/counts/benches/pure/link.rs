//! Protocol of one peer: two links that are up, without a connection between them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cluster_engine::batch::Batch;
use cluster_engine::link::{Link, Verdict, Want};
use cluster_engine::stream::SendQueue;
use cluster_engine::wire::{Kind, SegmentHeader, encode_challenge};
use cluster_engine::{Lane, Local, Pid, Time};
use gungraun::{library_benchmark, library_benchmark_group};

use crate::wire::{frames, segment};

/// Link that is up, and the send queue of its one stream.
struct Sender {
    link: Link,
    writer: SendQueue,
    batch: Batch,
}

/// Link that is up, with segments that its peer has sent.
struct Receiver {
    link: Link,
    segments: Vec<(SegmentHeader, Vec<u8>)>,
}

fn link_of(pid: Pid, peer: Pid) -> Link {
    Link::new(
        Arc::new(Local {
            pid,
            incarnation: [pid as u8; 16],
            secret: 7,
            cluster: "counts".to_owned(),
            window_bytes: 64 << 20,
            max_envelope_bytes: 64 << 20,
            socket_bytes: 0,
            // Counted by itself in `wire`; here it would hide all other instructions.
            checksum_payload: false,
            heartbeat_interval: Duration::from_millis(250),
            peer_timeout: Duration::from_millis(1500),
            eager: true,
        }),
        peer,
    )
}

/// Returns two links that have greeted each other: first the one that has dialed, then the one that has accepted.
fn connected() -> (Link, Link) {
    let (mut dialer, mut acceptor) = (link_of(1, 2), link_of(2, 1));
    assert_eq!(dialer.wants(NOW, false), Want::Dial);
    dialer.dials(NOW);
    let hello = dialer.connected(NOW);
    let Verdict::Welcome(welcome) = acceptor.greeted(&hello, NOW) else { panic!("refused") };
    assert!(dialer.welcomed(&welcome, NOW));
    let confirmed = acceptor.receive(&SegmentHeader::new(Kind::Confirm), &encode_challenge(welcome.challenge), NOW);
    assert!(matches!(confirmed, Ok(None)));
    (dialer, acceptor)
}

fn sender(messages: i64) -> Sender {
    let (mut link, _) = connected();
    let (writer, reader) =
        cluster_engine::stream::stream(cluster_engine::stream::stream_id(0, Lane::Normal), 1 << 20, 4 << 20).unwrap();
    link.open(reader);
    let mut sender = Sender { link, writer, batch: Batch::default() };
    // Done once before the count: the growth of buffers at their first use depends on the state of the heap, which
    // depends on the name of the folder.
    write(&mut sender.writer, messages.max(1));
    sender.link.transmit(NOW, &mut sender.batch);
    sender.batch.clear();
    sender.acknowledged(80 * messages.max(1) as u64);
    write(&mut sender.writer, messages);
    sender
}

impl Sender {
    /// Passes the link an acknowledgement by the peer of all bytes up to `position`.
    fn acknowledged(&mut self, position: u64) {
        let mut header = SegmentHeader::new(Kind::Heartbeat);
        header.ack_stream = 0.into();
        header.ack_position = position.into();
        header.ack_credit = (1 << 30).into();
        assert!(self.link.receive(&header, &[], NOW).is_ok());
    }
}

fn write(writer: &mut SendQueue, messages: i64) {
    for id in 0..messages {
        black_box(writer.push_with(id, 64, |payload| payload.fill(7)).expect("room"));
    }
}

fn receiver(segments: u64, messages: usize) -> Receiver {
    let payload = frames(messages, 64);
    let sealed = |number: u64| {
        let (mut header, payload) = segment(payload.clone());
        header.position = (number * payload.len() as u64).into();
        header.seal(&[&payload]);
        (header, payload)
    };
    let mut receiver = Receiver { link: connected().1, segments: (0..=segments).map(sealed).collect() };
    // The first segment finds the stream, and is received before the count.
    let (header, payload) = receiver.segments.remove(0);
    let delivery = receiver.link.receive(&header, &payload, NOW).expect("in order").expect("frames");
    delivery.stream.consume(delivery.room, messages as u64, 64 * messages as u64);
    receiver
}

// Many waiting envelopes: a few segments.
#[library_benchmark]
#[bench::messages_3000_at_once(sender(3000))]
fn transmit(mut sender: Sender) -> Sender {
    sender.link.transmit(NOW, &mut sender.batch);
    assert!(black_box(sender.batch.segments()) >= 3);
    sender
}

// One envelope, one segment, one acknowledgement, repeated.
#[library_benchmark]
#[bench::messages_100_one_by_one(sender(0))]
fn exchange(mut sender: Sender) -> Sender {
    // The first message was sent before the count.
    for number in 2..=101 {
        write(&mut sender.writer, 1);
        sender.batch.clear();
        sender.link.transmit(NOW, &mut sender.batch);
        assert_eq!(black_box(sender.batch.segments()), 1);
        sender.acknowledged(80 * number);
    }
    sender
}

#[library_benchmark]
#[bench::segments_100_of_10_messages(receiver(100, 10))]
fn receive(mut receiver: Receiver) -> Receiver {
    for (header, payload) in &receiver.segments {
        let delivery = receiver.link.receive(header, payload, NOW).expect("in order").expect("frames");
        black_box(delivery.stream.consume(delivery.room, 10, 640));
    }
    receiver
}

library_benchmark_group!(name = sessions, benchmarks = [transmit, exchange, receive]);

const NOW: Time = Time::from_nanos(1_000_000_000);
