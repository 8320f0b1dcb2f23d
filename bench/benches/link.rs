//! Protocol of one peer without a connection: two sessions with their links, whose segments are handed from one to the
//! other.
//!
//! A message is written to its stream, sent in a segment, received, consumed and acknowledged. Not included: the
//! kernel, the checksum of payloads, and the walk of the receiving application.

use std::hint::black_box;
use std::time::Duration;

use cluster_engine::batch::{Batch, Piece};
use cluster_engine::link::{OneLink, Want};
use cluster_engine::session::{Session, SessionEvent};
use cluster_engine::stream::{self, SendQueue};
use cluster_engine::wire::{MAX_SEGMENT_PAYLOAD, SEGMENT_HEADER_BYTES, frame_bytes};
use cluster_engine::{Lane, Local, Pid, Time};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zerocopy::IntoBytes;

/// Measures messages written in batches; each iteration waits for the acknowledgement of its last message.
fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("link/messages of 64 B");
    for at_once in [1, 10, 100, 1000] {
        group.throughput(Throughput::Elements(at_once));
        group.bench_function(BenchmarkId::new("at once", at_once), |bencher| {
            let mut pair = Pair::connected();
            bencher.iter(|| pair.exchange(at_once));
        });
    }
}

struct Pair {
    sender: End,
    writer: SendQueue,
    receiver: End,
    batch: Batch,
}

/// Session with its link.
struct End {
    session: Session<()>,
    link: OneLink,
    /// Receive buffer. A link reads positions and lengths, not the content of whole envelopes: only headers and control
    /// segments are written to it.
    bytes: Vec<u8>,
}

impl Pair {
    fn connected() -> Pair {
        let mut sender = End::new(1, 2, Session::dialing(()));
        let mut receiver = End::new(2, 1, Session::accepted(NOW));
        assert_eq!(sender.link.link.wants(NOW, false), Want::Dial);
        sender.link.link.dials(NOW);
        assert!(sender.session.connected(&mut sender.link, NOW));
        let mut batch = Batch::default();
        for _ in 0..2 {
            sender.hand_over(&mut receiver, &mut batch);
            receiver.hand_over(&mut sender, &mut batch);
        }
        assert!(sender.session.up().is_some() && receiver.session.up().is_some());
        let (writer, reader) = stream::stream(stream::stream_id(0, Lane::Normal), 1 << 20, 4 << 20).unwrap();
        sender.link.link.open(reader);
        Pair { sender, writer, receiver, batch }
    }

    fn exchange(&mut self, messages: u64) {
        for id in 0..messages {
            black_box(self.writer.push_with(id as i64, BYTES, |payload| payload.fill(7)).expect("room"));
        }
        self.sender.link.link.request_ack();
        while !self.writer.is_flushed() {
            self.sender.hand_over(&mut self.receiver, &mut self.batch);
            self.receiver.hand_over(&mut self.sender, &mut self.batch);
        }
    }
}

impl End {
    fn new(pid: Pid, peer: Pid, session: Session<()>) -> End {
        let link = link(pid, peer);
        End { session, link, bytes: vec![0; SEGMENT_HEADER_BYTES + MAX_SEGMENT_PAYLOAD] }
    }

    /// Sends what can be sent, and hands every segment to the other end.
    fn hand_over(&mut self, to: &mut End, batch: &mut Batch) {
        batch.clear();
        match self.session.up() {
            Some(()) => self.session.transmit(&mut self.link.link, NOW, batch),
            None => self.session.transmit_handshake(batch),
        }
        let mut pieces = batch.pieces().iter().peekable();
        while let Some(piece) = pieces.next() {
            let Piece::Header(index) = piece else { continue };
            let header = batch.header(*index);
            to.bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(header.as_bytes());
            if let Some(Piece::Owned(payload)) = pieces.peek() {
                to.bytes[SEGMENT_HEADER_BYTES..][..payload.len()].copy_from_slice(payload);
            }
            to.session.rebase();
            let event = to.session.receive(&to.bytes[..header.segment_bytes()], &mut to.link, NOW);
            if let Some(SessionEvent::Delivery { delivery, payload, .. }) = event {
                let messages = (payload.len() / frame_bytes(BYTES)) as u64;
                black_box(delivery.stream.consume(delivery.room, messages, messages * BYTES as u64));
            }
        }
    }
}

fn link(pid: Pid, peer: Pid) -> OneLink {
    let local = Local {
        pid,
        incarnation: [pid as u8; 16],
        secret: 7,
        cluster: "bench".to_owned(),
        window_bytes: 64 << 20,
        max_envelope_bytes: 64 << 20,
        socket_bytes: 0,
        // Measured by itself in the suite `wire`.
        checksum_payload: false,
        heartbeat_interval: Duration::from_millis(250),
        peer_timeout: Duration::from_millis(1500),
        eager: true,
    };
    OneLink::new(local, peer)
}

const NOW: Time = Time::from_nanos(1_000_000_000);
const BYTES: usize = 64;

criterion_group!(benches, messages);
criterion_main!(benches);
