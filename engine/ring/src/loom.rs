//! Loom models: every order in which two threads can run through a short use of the ring.
//!
//! Loom watches each word of the ring's memory for races. It reports a thread that sleeps forever as a deadlock; this
//! is how a lost wake-up shows. Under loom a page has 64 bytes and the smallest ring 256.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test --release --lib ring::loom`

use std::sync::Arc;

use ::loom::{
    model::Builder,
    sync::Notify,
    thread::{self, JoinHandle},
};

use super::{Consumer, MAX_RECORD, MIN_CAPACITY, Producer, leave_polling, ring};

/// Checks that a record that crosses the end of the ring is handed over whole.
#[test]
fn bytes_are_handed_over() {
    check(|| {
        let (mut producer, mut consumer) = ring(0).unwrap();
        let start = go_to(&mut producer, &mut consumer, MIN_CAPACITY as u64 - 16);
        let writer = thread::spawn(move || {
            assert!(!put(&mut producer, 40, 1));
            assert!(!put(&mut producer, 8, 2));
        });
        let written = consumer.written() - start;
        assert!([0, 40, 48].contains(&written));
        if written >= 40 {
            assert_record(&consumer, start, 40, 1);
        }
        if written == 48 {
            assert_record(&consumer, start + 40, 8, 2);
        }
        writer.join().unwrap();
    });
}

/// Checks that the producer overwrites bytes only after they were read and released.
#[test]
fn room_is_handed_over() {
    check(|| {
        let (mut producer, mut consumer) = full_ring();
        let writer = thread::spawn(move || {
            let claimed = producer.claim(MAX_RECORD).map(|mut claim| {
                claim.fill(9);
                claim.commit()
            });
            assert_ne!(claimed, Some(true));
        });
        for record in 0..2 {
            let start = record * MAX_RECORD as u64;
            assert_record(&consumer, start, MAX_RECORD, record as u8);
            assert!(!consumer.release(start + MAX_RECORD as u64));
        }
        writer.join().unwrap();
    });
}

/// Checks that a sleeping consumer is woken for each record, and that no wait is answered by two signals.
#[test]
fn a_sleeping_consumer_is_woken() {
    check(|| {
        let (producer, mut consumer) = ring(0).unwrap();
        let signal = Arc::new(Notify::new());
        let writer = write_two(producer, &signal);
        let waits = read_up_to(&mut consumer, 16, &signal);
        assert!(writer.join().unwrap() <= waits);
        assert_record(&consumer, 0, 8, 1);
        assert_record(&consumer, 8, 8, 2);
    });
}

/// Checks that a consumer that polls at first, so that the producer may skip its fence, is woken later.
#[test]
fn a_consumer_that_polled_is_woken() {
    check(|| {
        let (producer, mut consumer) = ring(0).unwrap();
        let signal = Arc::new(Notify::new());
        consumer.poll();
        let writer = write_two(producer, &signal);
        let waits = read_up_to(&mut consumer, 16, &signal);
        assert!(writer.join().unwrap() <= waits);
    });
}

/// Checks a consumer that enters polling, and leaves it again, between two waits.
#[test]
fn a_consumer_that_polls_now_and_then_is_woken() {
    check(|| {
        let (producer, mut consumer) = ring(0).unwrap();
        let signal = Arc::new(Notify::new());
        let writer = write_two(producer, &signal);
        read_up_to(&mut consumer, 8, &signal);
        consumer.poll();
        read_up_to(&mut consumer, 16, &signal);
        writer.join().unwrap();
    });
}

/// Checks that one heavy barrier takes two rings out of polling.
#[test]
fn consumers_that_leave_polling_together_are_woken() {
    check(|| {
        let (first, second) = (ring(0).unwrap(), ring(0).unwrap());
        let mut producers = [first.0, second.0];
        let mut consumers = [first.1, second.1];
        consumers.iter_mut().for_each(Consumer::poll);
        let signal = Arc::new(Notify::new());
        let writer = spawn(&signal, move |signal| {
            for producer in &mut producers {
                if put(producer, 8, 1) {
                    signal.notify();
                }
            }
        });
        leave_polling(&mut consumers);
        for consumer in &mut consumers {
            read_up_to(consumer, 8, &signal);
        }
        writer.join().unwrap();
    });
}

/// Checks that a wait that was taken back does not swallow the next signal.
#[test]
fn a_wait_can_be_taken_back() {
    check(|| {
        let (producer, mut consumer) = ring(0).unwrap();
        let signal = Arc::new(Notify::new());
        let writer = write_two(producer, &signal);
        if consumer.wait(0) {
            consumer.wake();
        }
        read_up_to(&mut consumer, 16, &signal);
        writer.join().unwrap();
    });
}

/// Checks that a producer that sleeps for want of room is woken.
#[test]
fn a_sleeping_producer_is_woken() {
    check(|| {
        let (mut producer, mut consumer) = full_ring();
        let signal = Arc::new(Notify::new());
        let reader = spawn(&signal, move |signal| {
            let signals = [8, MAX_RECORD as u64].map(|to| {
                let due = consumer.release(to);
                if due {
                    signal.notify();
                }
                usize::from(due)
            });
            signals.iter().sum::<usize>()
        });
        let waits = wait_for_room(&mut producer, MAX_RECORD, &signal);
        assert!(!put(&mut producer, MAX_RECORD, 7));
        assert!(reader.join().unwrap() <= waits);
    });
}

/// Checks both ends asleep in turn: the producer for room, the consumer for the record that follows.
#[test]
fn both_ends_wake_each_other() {
    check(|| {
        let (mut producer, mut consumer) = full_ring();
        let (room, data) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let writer = {
            let room = room.clone();
            spawn(&data, move |data| {
                wait_for_room(&mut producer, MAX_RECORD, &room);
                if put(&mut producer, MAX_RECORD, 7) {
                    data.notify();
                }
            })
        };
        if consumer.release(MAX_RECORD as u64) {
            room.notify();
        }
        let end = (MIN_CAPACITY + MAX_RECORD) as u64;
        read_up_to(&mut consumer, end, &data);
        assert_record(&consumer, end - MAX_RECORD as u64, MAX_RECORD, 7);
        writer.join().unwrap();
    });
}

/// Checks that a closed producer wakes the consumer, and that no bytes follow the close.
#[test]
fn a_close_wakes_the_consumer() {
    check(|| {
        let (mut producer, mut consumer) = ring(0).unwrap();
        let signal = Arc::new(Notify::new());
        let writer = spawn(&signal, move |signal| {
            for due in [put(&mut producer, 8, 1), producer.close()] {
                if due {
                    signal.notify();
                }
            }
        });
        while !consumer.is_closed() {
            let seen = consumer.written();
            if consumer.wait(seen) {
                signal.wait();
            }
        }
        assert_eq!(consumer.written(), 8);
        assert_record(&consumer, 0, 8, 1);
        writer.join().unwrap();
    });
}

/// Checks that a closed consumer wakes the producer.
#[test]
fn a_close_wakes_the_producer() {
    check(|| {
        let (mut producer, mut consumer) = full_ring();
        let signal = Arc::new(Notify::new());
        let reader = spawn(&signal, move |signal| {
            if consumer.close() {
                signal.notify();
            }
        });
        while !producer.is_closed() {
            if producer.wait_for_room(8) {
                signal.wait();
            }
        }
        reader.join().unwrap();
    });
}

/// Checks that a consumer that sees a dropped producer also sees its last bytes.
#[test]
fn a_drop_is_seen() {
    check(|| {
        let (mut producer, mut consumer) = ring(0).unwrap();
        // Polling, so that the commit runs no fence that would also order the close.
        consumer.poll();
        let writer = thread::spawn(move || assert!(!put(&mut producer, 8, 1)));
        if consumer.is_closed() {
            assert_eq!(consumer.written(), 8);
            assert_record(&consumer, 0, 8, 1);
        }
        drop(consumer);
        writer.join().unwrap();
    });
}

/// Checks that a cut is a boundary and near its limit while the producer marks pages.
#[test]
fn cuts_are_boundaries() {
    check(|| {
        let (mut producer, mut consumer) = ring(0).unwrap();
        go_to(&mut producer, &mut consumer, 24);
        for _ in 0..5 {
            assert!(!put(&mut producer, 40, 0));
        }
        consumer.written();
        assert!(!consumer.release(64));
        let writer = thread::spawn(move || {
            // From 224: the first record of its page, reaching into the next page.
            assert!(!put(&mut producer, 56, 0));
            // From 280: in the fifth page, whose mark replaces that of the first page.
            assert!(!put(&mut producer, 40, 0));
        });
        let written = consumer.written();
        for limit in [70, 130, 200, written - 1] {
            let cut = consumer.cut(64, limit);
            assert!([64, 104, 144, 184, 224, 280].contains(&cut) && cut <= limit);
            assert!(limit < 64 + 2 * MAX_RECORD as u64 || cut > limit - 2 * MAX_RECORD as u64);
        }
        writer.join().unwrap();
    });
}

/// Runs a model in every order with at most three preemptions. This finds interactions of two threads at two points at
/// once.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Runs `act` on a new thread, with the signal by which it wakes the other thread.
fn spawn<T: 'static>(signal: &Arc<Notify>, act: impl FnOnce(&Notify) -> T + 'static) -> JoinHandle<T> {
    let signal = signal.clone();
    thread::spawn(move || act(&signal))
}

/// Writes two records of 8 bytes on a new thread and sends the signals that are due. The thread returns their number.
fn write_two(mut producer: Producer, signal: &Arc<Notify>) -> JoinHandle<usize> {
    spawn(signal, move |signal| {
        let mut signals = 0;
        for byte in [1, 2] {
            if put(&mut producer, 8, byte) {
                signals += 1;
                signal.notify();
            }
        }
        signals
    })
}

/// Reads until `written` is at least `end`, and sleeps in between. Returns the number of waits announced, each of which
/// may have cost a signal.
fn read_up_to(consumer: &mut Consumer, end: u64, signal: &Notify) -> usize {
    let mut waits = 0;
    loop {
        let seen = consumer.written();
        if seen >= end {
            return waits;
        }
        waits += 1;
        if consumer.wait(seen) {
            signal.wait();
        }
    }
}

/// Sleeps until there is room for `len` bytes. Returns the number of waits announced.
fn wait_for_room(producer: &mut Producer, len: usize, signal: &Notify) -> usize {
    let mut waits = 0;
    while producer.claim(len).is_none() {
        waits += 1;
        if producer.wait_for_room(len) {
            signal.wait();
        }
    }
    waits
}

/// Writes a record of `len` equal bytes. Returns whether a signal is due.
fn put(producer: &mut Producer, len: usize, byte: u8) -> bool {
    let mut claim = producer.claim(len).expect("room");
    claim.fill(byte);
    claim.commit()
}

fn assert_record(consumer: &Consumer, start: u64, len: usize, byte: u8) {
    let [head, tail] = consumer.slices(start, start + len as u64);
    assert!(head.iter().chain(tail).all(|&found| found == byte));
}

/// Moves an empty ring to a later position, which is returned.
fn go_to(producer: &mut Producer, consumer: &mut Consumer, position: u64) -> u64 {
    while producer.written() < position {
        let len = (position - producer.written()).min(MAX_RECORD as u64);
        assert!(!put(producer, len as usize, 0));
        let written = consumer.written();
        assert!(!consumer.release(written));
    }
    position
}

/// Makes a full ring: four records of the greatest length, filled with their numbers from 0.
fn full_ring() -> (Producer, Consumer) {
    let (mut producer, mut consumer) = ring(0).unwrap();
    for record in 0..4 {
        assert!(!put(&mut producer, MAX_RECORD, record));
    }
    consumer.written();
    (producer, consumer)
}
