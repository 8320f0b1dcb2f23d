//! Stress test: two real threads that sleep by parking and wake each other through the doorbells.
//!
//! A lost wake-up leaves both threads asleep. The test waits for them with a limit so generous that only a lost wake-up
//! exceeds it, and then fails with the state of the ring.

use std::{
    hint,
    sync::{
        Arc, OnceLock,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, Thread},
    time::Duration,
};

use super::{Consumer, MAX_RECORD, MIN_CAPACITY, Producer, ring};

#[test]
fn parking_loses_no_wakeup() {
    run(0);
}

#[test]
fn polling_then_parking_loses_no_wakeup() {
    // So little patience that the consumer enters and leaves polling all the time.
    run(3);
}

#[test]
fn polling_loses_no_wakeup() {
    run(10_000);
}

/// Handles of both threads, by which they wake each other.
#[derive(Default)]
struct Threads {
    producer: OnceLock<Thread>,
    consumer: OnceLock<Thread>,
}

/// Runs both threads. `patience` is the number of polls without new bytes before the consumer sleeps.
fn run(patience: u32) {
    let (producer, consumer) = ring(MIN_CAPACITY).unwrap();
    let ring_state = producer.shared();
    let threads = Arc::new(Threads::default());
    let (done, finished) = mpsc::channel::<()>();
    let write = {
        let (threads, done) = (threads.clone(), done.clone());
        thread::spawn(move || {
            let _done = done;
            write_all(producer, &threads);
        })
    };
    let read = thread::spawn(move || {
        let _done = done;
        read_all(consumer, &threads, patience)
    });

    // Never sent to: the channel disconnects when both threads are gone.
    if finished.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
        panic!("no progress, so a wake-up was lost: {ring_state:?}");
    }
    read.join().expect("the consumer's thread");
    write.join().expect("the producer's thread");
}

fn write_all(mut producer: Producer, threads: &Threads) {
    threads.producer.set(thread::current()).expect("set once");
    let consumer = threads.consumer.wait();
    for number in 0..RECORDS {
        let len = record_len(number);
        let mut claim = loop {
            // Claimed again after this check, because a claim would keep the producer borrowed.
            if producer.claim(len).is_some() {
                break producer.claim(len).expect("there was room just now");
            }
            assert!(!producer.is_closed());
            if producer.wait_for_room(len) {
                thread::park();
            }
        };
        for (index, word) in claim.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&record_word(number, index).to_le_bytes());
        }
        if claim.commit() {
            consumer.unpark();
        }
    }
    if producer.close() {
        consumer.unpark();
    }
}

fn read_all(mut consumer: Consumer, threads: &Threads, patience: u32) {
    threads.consumer.set(thread::current()).expect("set once");
    let producer = threads.producer.wait();
    let mut at = 0;
    let mut number = 0;
    let mut looks = 0;
    loop {
        if consumer.written() != at {
            looks = 0;
            let to = consumer.cut(at, at + BATCH);
            assert!(to > at);
            number = check(&consumer, at, to, number);
            at = to;
            if consumer.release(at) {
                producer.unpark();
            }
        } else if consumer.is_closed() && consumer.written() == at {
            break;
        } else if looks < patience {
            looks += 1;
            consumer.poll();
            if looks.is_multiple_of(32) { thread::yield_now() } else { hint::spin_loop() }
        } else {
            looks = 0;
            if consumer.wait(at) {
                thread::park();
                consumer.wake();
            }
        }
    }
    assert_eq!(number, RECORDS);
}

/// Checks the records from `from` to `to`. `number` is that of the first record. Returns the number of the next one.
fn check(consumer: &Consumer, from: u64, to: u64, mut number: u64) -> u64 {
    let [head, tail] = consumer.slices(from, to);
    let mut words = head.chunks_exact(8).chain(tail.chunks_exact(8));
    while let Some(first) = words.next() {
        assert_eq!(first, record_word(number, 0).to_le_bytes());
        for index in 1..record_len(number) / 8 {
            let word = words.next().expect("a cut falls between two records");
            assert_eq!(word, record_word(number, index).to_le_bytes());
        }
        number += 1;
    }
    number
}

/// Length of a record in bytes: mostly short, sometimes long enough to fill a good part of the ring.
fn record_len(number: u64) -> usize {
    let mixed = mix(number);
    let longest = MAX_RECORD / 8 - 1;
    let mask = if mixed.is_multiple_of(512) { longest } else { longest & 15 };
    (1 + ((mixed >> 32) as usize & mask)) * 8
}

fn record_word(number: u64, index: usize) -> u64 {
    number << 16 | index as u64
}

fn mix(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

const RECORDS: u64 = match (cfg!(miri), cfg!(debug_assertions)) {
    (true, _) => 300,
    (false, true) => 300_000,
    (false, false) => 3_000_000,
};

/// Bytes read at once: at least two records of the greatest length, so that a cut always finds a boundary.
const BATCH: u64 = 2 * MAX_RECORD as u64;

const LIMIT: Duration = Duration::from_secs(if cfg!(miri) { 600 } else { 60 });
