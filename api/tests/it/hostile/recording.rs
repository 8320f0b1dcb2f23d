//! What a real server says to another, kept by a proxy between them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cluster::{Envelope, Node, Server};
use cluster_engine::wire::SegmentHeader;

use crate::support::{Cluster, PATIENCE, receive, send};

/// The segments of one connection, from the side that has dialed. The first is the greeting.
pub(super) type Recording = Vec<Vec<u8>>;

/// Short envelopes on both lanes, some of them perishable; acknowledgements of what comes back; the end of an outbox, and
/// the goodbye.
pub(super) fn chat() -> Recording {
    record(|speaker, listener| {
        for id in 0..12 {
            send(speaker.outbox(), Envelope::to(1).id(id).body(vec![id as u8; 3 * id as usize]));
            send(speaker.outbox(), Envelope::to(1).id(id).body("vote").urgent());
            send(speaker.outbox(), Envelope::to(1).id(id).ttl(Duration::from_secs(60)).best_effort());
            send(listener.outbox(), Envelope::to(3).id(id).body("answer"));
            assert_eq!(receive(speaker.inbox()).msg_id, id);
        }
        let mut second = speaker.outbox().clone();
        send(&mut second, Envelope::to(1).body("from another outbox"));
        second.flush(PATIENCE).unwrap();
    })
}

/// An envelope that takes several segments.
pub(super) fn bulk() -> Recording {
    record(|speaker, _| {
        send(speaker.outbox(), Envelope::to(1).body(vec![7; 150_000]));
        send(speaker.outbox(), Envelope::to(1).body("after it"));
    })
}

/// What server 3 says to server 1 while both do this.
fn record(talk: impl FnOnce(&mut Node, &mut Node)) -> Recording {
    let mut cluster = Cluster::new([1, 3]);
    let (recorder, recorded) = keep_what_passes_to(cluster.address(1));
    let mut listener = cluster.start(1);
    cluster.config.servers[0].address = recorder;
    let mut speaker = cluster.start(3);
    send(speaker.outbox(), Envelope::to(1).body("first"));
    assert_eq!(receive(listener.inbox()).msg, "first");
    talk(&mut speaker, &mut listener);
    speaker.outbox().flush(PATIENCE).unwrap();
    // Its outbox that is gone is said to have ended before it leaves.
    speaker.stop().unwrap();
    segments(&recorded.join().unwrap())
}

/// Passes one connection on to `target`: where to connect, and what the dialing side has said when it has closed.
fn keep_what_passes_to(target: String) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let recorded = thread::spawn(move || {
        let (mut speaker, _) = listener.accept().unwrap();
        let mut target = TcpStream::connect(target).unwrap();
        let (mut answers, mut back) = (target.try_clone().unwrap(), speaker.try_clone().unwrap());
        let answering = thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let mut said = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        // Whoever leaves may reset the connection.
        while let Ok(read @ 1..) = speaker.read(&mut buffer) {
            said.extend_from_slice(&buffer[..read]);
            if target.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = target.shutdown(Shutdown::Both);
        let _ = answering.join();
        said
    });
    (address, recorded)
}

fn segments(mut bytes: &[u8]) -> Recording {
    let mut segments = Vec::new();
    while let Some(header) = SegmentHeader::parse(bytes).unwrap() {
        let (segment, rest) = bytes.split_at(header.segment_bytes());
        segments.push(segment.to_vec());
        bytes = rest;
    }
    segments
}
