//! Protocol of one peer without a connection: two links, whose segments are handed from one to the other.
//!
//! A message is written to its stream, sent in a segment, received, consumed and acknowledged. Not included: the
//! kernel, the checksum of payloads, and the walk of the receiving application.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cluster_engine::batch::{Batch, Piece};
use cluster_engine::link::{Link, Verdict, Want};
use cluster_engine::stream::{self, SendQueue};
use cluster_engine::wire::{MAX_SEGMENT_PAYLOAD, SEGMENT_HEADER_BYTES, frame_bytes};
use cluster_engine::{Lane, Local, Pid, Time};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

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
    sender: Link,
    writer: SendQueue,
    receiver: Link,
    batch: Batch,
    /// Substitute for the payload that has arrived: a link reads positions and lengths, not the content of whole
    /// envelopes.
    payload: Vec<u8>,
}

impl Pair {
    fn connected() -> Pair {
        let (mut sender, mut receiver) = (link(1, 2), link(2, 1));
        assert_eq!(sender.wants(NOW, false), Want::Dial);
        sender.dials(NOW);
        let hello = sender.connected(NOW);
        let Verdict::Welcome(welcome) = receiver.greeted(&hello, NOW) else { panic!("refused") };
        assert!(sender.welcomed(&welcome, NOW));
        let (writer, reader) = stream::stream(stream::stream_id(0, Lane::Normal), 1 << 20, 4 << 20).unwrap();
        sender.open(reader);
        Pair { sender, writer, receiver, batch: Batch::default(), payload: vec![0; MAX_SEGMENT_PAYLOAD] }
    }

    fn exchange(&mut self, messages: u64) {
        for id in 0..messages {
            black_box(self.writer.push_with(id as i64, BYTES, |payload| payload.fill(7)).expect("room"));
        }
        self.sender.request_ack();
        while !self.writer.is_flushed() {
            self.batch.clear();
            self.sender.transmit(NOW, &mut self.batch);
            hand_over(&self.batch, &mut self.receiver, &self.payload);
            self.batch.clear();
            self.receiver.transmit(NOW, &mut self.batch);
            hand_over(&self.batch, &mut self.sender, &[]);
        }
    }
}

/// Hands every segment to a link that is up. `stand_in` replaces the payload of data segments.
fn hand_over(batch: &Batch, to: &mut Link, stand_in: &[u8]) {
    let mut pieces = batch.pieces().iter().peekable();
    while let Some(piece) = pieces.next() {
        let Piece::Header(index) = piece else { continue };
        let header = batch.header(*index);
        let payload: &[u8] = match pieces.peek() {
            Some(Piece::Owned(payload)) => payload,
            Some(Piece::Part(_)) => &stand_in[..header.segment_bytes() - SEGMENT_HEADER_BYTES],
            _ => &[],
        };
        if let Some(delivery) = to.receive(header, payload, NOW).expect("it is in order") {
            let messages = (payload.len() / frame_bytes(BYTES)) as u64;
            black_box(delivery.stream.consume(delivery.room, messages, messages * BYTES as u64));
        }
    }
}

fn link(pid: Pid, peer: Pid) -> Link {
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
    Link::new(Arc::new(local), peer)
}

const NOW: Time = Time::from_nanos(1_000_000_000);
const BYTES: usize = 64;

criterion_group!(benches, messages);
criterion_main!(benches);
