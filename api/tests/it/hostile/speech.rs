//! What the attacker says, and how it listens.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster::Config;
use cluster_engine::wire::{
    CHECKSUMMED, FrameHeader, Hello, Kind, SEGMENT_HEADER_BYTES, SegmentHeader, encode_challenge,
};
use zerocopy::IntoBytes;

use crate::support::PATIENCE;

/// A sealed segment.
pub(super) fn segment(kind: Kind, set: impl FnOnce(&mut SegmentHeader), payload: &[u8]) -> Vec<u8> {
    let mut header = SegmentHeader::new(kind);
    header.flags = CHECKSUMMED.into();
    set(&mut header);
    header.seal(&[payload]);
    [header.as_bytes(), payload].concat()
}

/// A data segment of stream 0.
pub(super) fn data(position: u64, flags: u16, payload: &[u8]) -> Vec<u8> {
    let set = |header: &mut SegmentHeader| {
        header.stream = 0.into();
        header.position = position.into();
        header.flags = (CHECKSUMMED | flags).into();
    };
    segment(Kind::Data, set, payload)
}

/// A frame whose header says that it has `length` bytes, with `present` bytes.
pub(super) fn frame(length: u32, present: usize) -> Vec<u8> {
    [FrameHeader::new(length, 666).as_bytes(), &vec![0; present]].concat()
}

static GREETINGS: AtomicU32 = AtomicU32::new(1);

/// What the attacker would say if it were server 3.
pub(super) fn hello(config: &Config) -> Hello {
    Hello {
        from: 3,
        to: 1,
        incarnation: [7; 16],
        known_incarnation: [0; 16],
        max_envelope_bytes: 1 << 27,
        credit: [1 << 22; 2],
        challenge: 0,
        peer_timeout_ms: 60_000,
        features: 0,
        // Each is news.
        greeting: GREETINGS.fetch_add(1, Ordering::Relaxed),
        cluster: config.cluster.clone(),
        sending: Vec::new(),
        receiving: Vec::new(),
    }
}

pub(super) fn say_hello(hello: &Hello) -> Vec<u8> {
    segment(Kind::Hello, |_| (), &hello.encode())
}

pub(super) fn dial(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The next segment: its kind and its payload.
pub(super) fn hear(stream: &mut TcpStream) -> Option<(Kind, Vec<u8>)> {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    stream.read_exact(&mut header).ok()?;
    let header = *SegmentHeader::parse(&header).unwrap().unwrap();
    let mut payload = vec![0; header.length.get() as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((header.kind(), payload))
}

/// Reads until a segment of one of these kinds comes.
#[track_caller]
pub(super) fn await_segment(stream: &mut TcpStream, kinds: &[Kind]) {
    while let Some((kind, _)) = hear(stream) {
        if kinds.contains(&kind) {
            return;
        }
    }
    panic!("none of {kinds:?} came");
}

/// Reads until the other side hangs up. A connection that is reset has ended too.
#[track_caller]
pub(super) fn await_end(stream: &mut TcpStream, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("{what}: not hung up on"),
            Err(_) => return,
        }
        assert!(Instant::now() < deadline, "{what}: not hung up on");
    }
}

/// Connects as server 3, as it should be done. The connection, and what the server said of itself.
pub(super) fn impersonate(config: &Config, hello: &Hello) -> (TcpStream, Hello) {
    let address = config.address_of(1).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut stream = dial(address);
        stream.write_all(&say_hello(hello)).unwrap();
        match hear(&mut stream) {
            Some((Kind::Welcome, payload)) => {
                let welcome = Hello::decode(&payload).unwrap();
                // Until then the server says of nobody that it is there.
                stream.write_all(&segment(Kind::Confirm, |_| (), &encode_challenge(welcome.challenge))).unwrap();
                return (stream, welcome);
            }
            // The last connection of this pid may not be forgotten yet.
            Some((Kind::Refuse, _)) | None => thread::sleep(Duration::from_millis(10)),
            other => panic!("{other:?}"),
        }
    }
    panic!("never welcomed");
}
