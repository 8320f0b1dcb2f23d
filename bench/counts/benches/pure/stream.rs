//! Encoding of envelopes into a stream, and taking them out of it in runs.

use std::hint::black_box;

use cluster_engine::stream::{SendQueue, SendWindow, Taken};
use cluster_engine::{Body, Time};
use gungraun::{library_benchmark, library_benchmark_group};

pub type Ends = (SendQueue, SendWindow);

/// Returns an empty stream, whose peer has room for all that fits.
fn empty() -> Ends {
    let (writer, mut reader) = cluster_engine::stream::stream(0, 1 << 20, 4 << 20).unwrap();
    reader.restart();
    (writer, reader)
}

fn filled() -> Ends {
    let (mut writer, reader) = empty();
    fill(&mut writer, &[7; 64]);
    (writer, reader)
}

fn fill(writer: &mut SendQueue, payload: &[u8]) {
    for id in 0..MESSAGES {
        black_box(writer.push(id, &Body::from(black_box(payload))).expect("room"));
    }
}

// The work of `Outbox::send`.
#[library_benchmark]
#[bench::messages_500_of_64(empty(), vec![7; 64])]
#[bench::messages_500_of_1024(empty(), vec![7; 1024])]
fn encode((mut writer, reader): Ends, payload: Vec<u8>) -> (Ends, Vec<u8>) {
    fill(&mut writer, &payload);
    ((writer, reader), payload)
}

// The work of `Outbox::claim`.
#[library_benchmark]
#[bench::messages_500_of_64(empty())]
fn encode_in_place((mut writer, reader): Ends) -> Ends {
    for id in 0..MESSAGES {
        let write = |payload: &mut [u8]| payload[..8].copy_from_slice(&id.to_le_bytes());
        black_box(writer.push_with(id, 64, write).expect("room"));
    }
    (writer, reader)
}

// Payloads that are longer than a record of the ring.
#[library_benchmark]
#[bench::messages_20_of_65536(empty(), vec![bytes::Bytes::from(vec![7; 65536]); 20])]
fn by_reference((mut writer, mut reader): Ends, payloads: Vec<bytes::Bytes>) -> Ends {
    for (id, payload) in payloads.into_iter().enumerate() {
        black_box(writer.push_reference(id as i64, payload).expect("room"));
    }
    let written = reader.written();
    while let Some(Taken::Data(extent)) = reader.take(written, Time::default(), ROOM) {
        black_box(reader.slices(&extent));
    }
    reader.acknowledge(reader.sent()).expect("it was sent");
    (writer, reader)
}

#[library_benchmark]
#[bench::messages_500_of_64(filled())]
fn take_and_acknowledge((writer, mut reader): Ends) -> Ends {
    let written = reader.written();
    while let Some(Taken::Data(extent)) = reader.take(written, Time::default(), ROOM) {
        black_box(reader.slices(&extent));
        reader.acknowledge(extent.to).expect("it was sent");
    }
    (writer, reader)
}

library_benchmark_group!(name = envelopes, benchmarks = [encode, encode_in_place, by_reference, take_and_acknowledge]);

const MESSAGES: i64 = 500;

/// Limit of a take, above all bytes that are written here.
const ROOM: u64 = 1 << 40;
