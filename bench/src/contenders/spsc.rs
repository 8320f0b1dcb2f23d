//! Floor without a kernel: frames through a byte ring between two threads that never sleep.
//!
//! The ring is `rtrb`, 1 MiB for each direction. Its cost above `memcpy` is the transfer of cache lines from one core
//! to the other; the cost of any contender above this one is the network. Each thread needs a core.

use std::hint::spin_loop;
use std::thread;

use rtrb::{Consumer, Producer, RingBuffer};

use super::Outcome;
use super::frame::{HEADER_BYTES, header, walk};
use crate::measure::{Checker, Pinger};

pub fn round_trip(pinger: &mut Pinger) -> Outcome {
    let (mut questions, mut asked) = RingBuffer::new(RING_BYTES);
    let (mut answers, mut answered) = RingBuffer::new(RING_BYTES);
    let mut message = vec![0; HEADER_BYTES + pinger.size()];
    message[..HEADER_BYTES].copy_from_slice(&header(pinger.size(), 0));
    let mut echoed = message.clone();
    thread::scope(|scope| {
        scope.spawn(move || while read(&mut asked, &mut echoed) && write(&mut answers, &echoed) {});
        while pinger.ask(&mut message[HEADER_BYTES..]) {
            if !write(&mut questions, &message) || !read(&mut answered, &mut message) {
                return Err("the echo has ended".into());
            }
            pinger.answered(&message[HEADER_BYTES..])?;
        }
        drop(questions);
        Ok(())
    })
}

pub fn one_way(checker: &mut Checker) -> Outcome {
    let (mut producer, mut consumer) = RingBuffer::new(RING_BYTES);
    let load = checker.load();
    let mut buffer = vec![0; HEADER_BYTES + load.size];
    thread::scope(|scope| {
        let mut message = buffer.clone();
        scope.spawn(move || {
            message[..HEADER_BYTES].copy_from_slice(&header(load.size, 0));
            for sequence in 0..load.count {
                load.stamp(sequence, &mut message[HEADER_BYTES..]);
                if !write(&mut producer, &message) {
                    return;
                }
            }
        });
        while !checker.is_complete() {
            if !read(&mut consumer, &mut buffer) {
                return Err("the sender has ended".into());
            }
            walk(&buffer, |payload| checker.take(payload))?;
        }
        Ok(())
    })
}

/// Writes all of `bytes`, and waits for room as often as necessary. Returns `false` if the reader has gone.
fn write(producer: &mut Producer<u8>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let room = producer.slots().min(bytes.len());
        if room == 0 {
            if producer.is_abandoned() {
                return false;
            }
            spin_loop();
            continue;
        }
        let Ok(mut chunk) = producer.write_chunk(room) else { return false };
        let (now, later) = bytes.split_at(room);
        let (first, second) = chunk.as_mut_slices();
        let (head, tail) = now.split_at(first.len());
        first.copy_from_slice(head);
        second.copy_from_slice(tail);
        chunk.commit_all();
        bytes = later;
    }
    true
}

/// Reads until `bytes` is full. Returns `false` if the writer has gone.
fn read(consumer: &mut Consumer<u8>, mut bytes: &mut [u8]) -> bool {
    while !bytes.is_empty() {
        let there = consumer.slots().min(bytes.len());
        if there == 0 {
            // Bytes written before the writer went are still in the ring.
            if consumer.is_abandoned() && consumer.is_empty() {
                return false;
            }
            spin_loop();
            continue;
        }
        let Ok(chunk) = consumer.read_chunk(there) else { return false };
        let (now, later) = bytes.split_at_mut(there);
        let (first, second) = chunk.as_slices();
        now[..first.len()].copy_from_slice(first);
        now[first.len()..].copy_from_slice(second);
        chunk.commit_all();
        bytes = later;
    }
    true
}

const RING_BYTES: usize = 1 << 20;
