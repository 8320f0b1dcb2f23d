//! Protocol of one peer: sessions that are up, without a connection between them.

use std::hint::black_box;
use std::time::Duration;

use cluster_engine::batch::{Batch, Piece};
use cluster_engine::link::{OneLink, Want};
use cluster_engine::session::{Session, SessionEvent};
use cluster_engine::stream::SendQueue;
use cluster_engine::wire::{Kind, SegmentHeader};
use cluster_engine::{Lane, Local, Pid, Time};
use gungraun::{library_benchmark, library_benchmark_group};
use zerocopy::IntoBytes;

use crate::wire::frames;

/// Session that is up, with its link.
struct End {
    session: Session<()>,
    links: OneLink,
}

/// End that is up, and the send queue of its one stream.
struct Sender {
    end: End,
    writer: SendQueue,
    batch: Batch,
}

/// End that is up, with the bytes that its peer has sent.
struct Receiver {
    end: End,
    bytes: Vec<u8>,
}

fn end_of(pid: Pid, peer: Pid, session: Session<()>) -> End {
    let local = Local {
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
    };
    End { session, links: OneLink::new(local, peer) }
}

impl End {
    /// Returns the bytes of the next segment of the handshake.
    fn handshake(&mut self) -> Vec<u8> {
        let mut batch = Batch::default();
        self.session.transmit_handshake(&mut batch);
        let header = batch.header(0).as_bytes().to_vec();
        let payload = batch.pieces().iter().find_map(|piece| match piece {
            Piece::Owned(payload) => Some(payload.clone()),
            _ => None,
        });
        [header, payload.unwrap_or_default()].concat()
    }

    fn receive(&mut self, bytes: &[u8]) -> Option<SessionEvent<()>> {
        self.session.rebase();
        self.session.receive(bytes, &mut self.links, NOW)
    }
}

/// Returns two ends that have greeted each other: first the one that has dialed, then the one that has accepted.
fn connected() -> (End, End) {
    let mut dialer = end_of(1, 2, Session::dialing(()));
    let mut acceptor = end_of(2, 1, Session::accepted(NOW));
    assert_eq!(dialer.links.link.wants(NOW, false), Want::Dial);
    dialer.links.link.dials(NOW);
    assert!(dialer.session.connected(&mut dialer.links, NOW));
    assert!(matches!(acceptor.receive(&dialer.handshake()), Some(SessionEvent::Welcomed(()))));
    assert!(matches!(dialer.receive(&acceptor.handshake()), Some(SessionEvent::Established(()))));
    assert!(matches!(acceptor.receive(&dialer.handshake()), Some(SessionEvent::Established(()))));
    (dialer, acceptor)
}

fn sender(messages: i64) -> Sender {
    let (mut end, _) = connected();
    let (writer, reader) =
        cluster_engine::stream::stream(cluster_engine::stream::stream_id(0, Lane::Normal), 1 << 20, 4 << 20).unwrap();
    end.links.link.open(reader);
    let mut sender = Sender { end, writer, batch: Batch::default() };
    // Done once before the count: the growth of buffers at their first use depends on the state of the heap, which
    // depends on the name of the folder.
    write(&mut sender.writer, messages.max(1));
    sender.transmit();
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
        header.seal(&[]);
        assert!(matches!(self.end.receive(header.as_bytes()), Some(SessionEvent::Control)));
    }

    fn transmit(&mut self) {
        self.end.session.transmit(&mut self.end.links.link, NOW, &mut self.batch);
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
        let mut header = SegmentHeader::new(Kind::Data);
        header.stream = 0.into();
        header.position = (number * payload.len() as u64).into();
        header.seal(&[&payload]);
        [header.as_bytes(), &payload].concat()
    };
    let mut end = connected().1;
    // The first segment finds the stream, and is received before the count.
    let Some(SessionEvent::Delivery { delivery, .. }) = end.receive(&sealed(0)) else { panic!("in order") };
    delivery.stream.consume(delivery.room, messages as u64, 64 * messages as u64);
    end.session.rebase();
    Receiver { end, bytes: (1..=segments).flat_map(sealed).collect() }
}

// Many waiting envelopes: a few segments.
#[library_benchmark]
#[bench::messages_3000_at_once(sender(3000))]
fn transmit(mut sender: Sender) -> Sender {
    sender.transmit();
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
        sender.transmit();
        assert_eq!(black_box(sender.batch.segments()), 1);
        sender.acknowledged(80 * number);
    }
    sender
}

#[library_benchmark]
#[bench::segments_100_of_10_messages(receiver(100, 10))]
fn receive(mut receiver: Receiver) -> Receiver {
    let Receiver { end, bytes } = &mut receiver;
    while let Some(event) = end.session.receive(bytes, &mut end.links, NOW) {
        let SessionEvent::Delivery { delivery, .. } = event else { panic!("frames") };
        black_box(delivery.stream.consume(delivery.room, 10, 640));
    }
    assert_eq!(end.session.parsed(), bytes.len());
    receiver
}

library_benchmark_group!(name = sessions, benchmarks = [transmit, exchange, receive]);

const NOW: Time = Time::from_nanos(1_000_000_000);
