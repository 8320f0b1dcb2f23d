//! Tests of the ring against a model: a queue of bytes, a list of boundaries, and a state for each doorbell.

use std::{collections::VecDeque, panic, panic::AssertUnwindSafe};

use proptest::{collection::vec, prelude::*};

use super::{Consumer, MAX_RECORD, MIN_CAPACITY, Producer, leave_polling, ring};

/// Next step of a test. A fraction selects a value from the range that is valid at that moment.
#[derive(Clone, Debug)]
enum Step {
    Commit(usize),
    Abandon(usize),
    WaitForRoom(usize),
    Look,
    Read { from: Fraction, to: Fraction },
    Cut { from: Fraction, limit: Fraction },
    Release(Fraction),
    Wait { seen_is_new: bool },
    Wake,
    Poll,
    LeavePolling,
}

#[derive(Clone, Copy, Debug)]
struct Fraction(u16);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bell {
    Active,
    Waiting,
    Polling,
}

struct Model {
    producer: Producer,
    consumer: Consumer,
    /// Bytes from `released` to `written`.
    bytes: VecDeque<u8>,
    /// Record boundaries since the beginning.
    boundaries: Vec<u64>,
    released: u64,
    written: u64,
    /// Value of `written` that the consumer has seen.
    seen: u64,
    data: Bell,
    room: Bell,
    next_byte: u8,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn agrees_with_the_model(steps in vec(step(), 1..if cfg!(miri) { 40 } else { 300 })) {
        let mut model = Model::new();
        for step in &steps {
            model.run(step);
            model.check();
        }
    }
}

fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if cfg!(miri) {
        // Miri is slow, and has no files to store a failing seed in.
        config.cases = 4;
        config.failure_persistence = None;
    }
    config
}

fn step() -> impl Strategy<Value = Step> {
    let small = (1..=40.min(MAX_RECORD / 8)).prop_map(|words| words * 8);
    let any_len = (1..=MAX_RECORD / 8).prop_map(|words| words * 8);
    let len = prop_oneof![3 => small, 3 => any_len, 1 => Just(MAX_RECORD)].boxed();
    let fraction = || any::<u16>().prop_map(Fraction);
    prop_oneof![
        10 => len.clone().prop_map(Step::Commit),
        1 => len.clone().prop_map(Step::Abandon),
        1 => len.prop_map(Step::WaitForRoom),
        3 => Just(Step::Look),
        3 => (fraction(), fraction()).prop_map(|(from, to)| Step::Read { from, to }),
        6 => (fraction(), fraction()).prop_map(|(from, limit)| Step::Cut { from, limit }),
        4 => fraction().prop_map(Step::Release),
        2 => any::<bool>().prop_map(|seen_is_new| Step::Wait { seen_is_new }),
        1 => Just(Step::Wake),
        1 => Just(Step::Poll),
        1 => Just(Step::LeavePolling),
    ]
}

impl Model {
    fn new() -> Model {
        let (producer, consumer) = ring(0).unwrap();
        Model {
            producer,
            consumer,
            bytes: VecDeque::new(),
            boundaries: vec![0],
            released: 0,
            written: 0,
            seen: 0,
            data: Bell::Active,
            room: Bell::Active,
            next_byte: 1,
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Commit(len) => self.commit(len),
            Step::Abandon(len) => {
                if let Some(mut claim) = self.producer.claim(len) {
                    claim.fill(0xee);
                }
            }
            Step::WaitForRoom(len) => {
                let waits = self.free() < len;
                assert_eq!(self.producer.wait_for_room(len), waits);
                if waits {
                    self.room = Bell::Waiting;
                }
            }
            Step::Look => {
                self.seen = self.written;
                assert_eq!(self.consumer.written(), self.written);
            }
            Step::Read { from, to } => {
                let from = from.of(self.released, self.seen);
                self.read(from, to.of(from, self.seen));
            }
            Step::Cut { from, limit } => self.cut(from, limit),
            Step::Release(to) => {
                let to = to.of(self.released, self.seen);
                let signal = self.consumer.release(to);
                assert_eq!(signal, ring_bell(&mut self.room));
                self.bytes.drain(..(to - self.released) as usize);
                self.released = to;
            }
            Step::Wait { seen_is_new } => {
                let seen = if seen_is_new { self.written } else { self.seen };
                let waits = seen == self.written;
                assert_eq!(self.consumer.wait(seen), waits);
                self.data = if waits { Bell::Waiting } else { Bell::Active };
                self.seen = self.written;
            }
            Step::Wake => {
                self.consumer.wake();
                if self.data == Bell::Waiting {
                    self.data = Bell::Active;
                }
            }
            Step::Poll => {
                self.consumer.poll();
                if crate::barrier::available() {
                    self.data = Bell::Polling;
                }
            }
            Step::LeavePolling => {
                leave_polling([&mut self.consumer]);
                if self.data == Bell::Polling {
                    self.data = Bell::Active;
                }
            }
        }
    }

    fn commit(&mut self, len: usize) {
        let fits = self.free() >= len;
        let Some(mut claim) = self.producer.claim(len) else {
            assert!(!fits);
            return;
        };
        assert!(fits);
        assert_eq!(claim.len(), len);
        assert_eq!(claim.as_ptr().align_offset(8), 0);
        for byte in claim.iter_mut() {
            self.next_byte = self.next_byte.wrapping_mul(5).wrapping_add(3);
            *byte = self.next_byte;
            self.bytes.push_back(self.next_byte);
        }
        let signal = claim.commit();
        assert_eq!(signal, ring_bell(&mut self.data));
        self.written += len as u64;
        self.boundaries.push(self.written);
    }

    fn read(&self, from: u64, to: u64) {
        let start = (from - self.released) as usize;
        let expected = self.bytes.range(start..start + (to - from) as usize);
        let [head, tail] = self.consumer.slices(from, to);
        assert!(head.iter().chain(tail).eq(expected));
        let wraps = from / self.capacity() != (to.max(1) - 1) / self.capacity() && from != to;
        assert_eq!(!tail.is_empty(), wraps);
        for (region, slice) in self.consumer.regions(from, to).iter().zip([head, tail]) {
            assert_eq!(region.len(), slice.len());
            assert!(region.is_empty() || region.as_ptr() == slice.as_ptr());
        }
    }

    fn cut(&self, from: Fraction, limit: Fraction) {
        let known = |at: &&u64| (self.released..=self.seen).contains(*at);
        let starts: Vec<u64> = self.boundaries.iter().filter(known).copied().collect();
        let from = starts[from.of(0, starts.len() as u64 - 1) as usize];
        let limit = limit.of(from, self.seen + 1000);
        let cut = self.consumer.cut(from, limit);
        if limit >= self.seen {
            assert_eq!(cut, self.seen);
            return;
        }
        assert!(from <= cut && cut <= limit);
        assert!(starts.binary_search(&cut).is_ok(), "{cut} is no boundary");
        if limit - from >= 2 * MAX_RECORD as u64 {
            assert!(cut > limit - 2 * MAX_RECORD as u64, "{cut} is far from {limit}");
        }
    }

    fn check(&self) {
        self.producer.assert_invariant();
        assert_eq!(self.producer.written(), self.written);
        assert_eq!(self.consumer.released(), self.released);
        assert_eq!(format!("{:?}", self.producer.shared().bells.0.data), format!("{:?}", self.data));
        assert_eq!(format!("{:?}", self.producer.shared().bells.0.room), format!("{:?}", self.room));
    }

    fn free(&self) -> usize {
        (self.capacity() - (self.written - self.released)) as usize
    }

    fn capacity(&self) -> u64 {
        self.producer.capacity() as u64
    }
}

impl Fraction {
    /// Value in `low..=high` that this fraction selects.
    fn of(self, low: u64, high: u64) -> u64 {
        low + (high - low) * u64::from(self.0) / u64::from(u16::MAX)
    }
}

/// Rings a doorbell of the model. Returns whether a signal is due.
fn ring_bell(bell: &mut Bell) -> bool {
    let signal = *bell == Bell::Waiting;
    if signal {
        *bell = Bell::Active;
    }
    signal
}

#[test]
fn capacity_is_rounded_up() {
    assert_eq!(ring(0).unwrap().0.capacity(), MIN_CAPACITY);
    assert_eq!(ring(MIN_CAPACITY + 1).unwrap().1.capacity(), 2 * MIN_CAPACITY);
}

#[test]
fn wrong_calls_are_refused() {
    let (mut producer, mut consumer) = ring(0).unwrap();
    for len in [0, 12, MAX_RECORD + 8, usize::MAX & !7] {
        assert!(panics(|| producer.claim(len)), "a claim of {len}");
    }
    assert!(panics(|| producer.wait_for_room(MIN_CAPACITY + 1)));
    assert!(!producer.claim(64).unwrap().commit());
    assert!(panics(|| consumer.release(64)), "not seen yet");
    assert_eq!(consumer.written(), 64);
    assert!(!consumer.release(32));
    assert!(panics(|| consumer.release(24)), "released already");
    assert!(panics(|| consumer.release(72)), "not written");
    assert!(panics(|| consumer.slices(24, 64)));
    assert!(panics(|| consumer.regions(32, 72)));
    assert!(panics(|| consumer.cut(24, 64)));
}

#[test]
fn regions_outlive_the_ring() {
    let (mut producer, mut consumer) = ring(0).unwrap();
    let mut claim = producer.claim(8).unwrap();
    claim.copy_from_slice(b"outlives");
    assert!(!claim.commit());
    let written = consumer.written();
    let [region, rest] = consumer.regions(0, written);
    drop((producer, consumer));
    assert!(rest.is_empty());
    let reader = std::thread::spawn(move || {
        // SAFETY: no bytes were released, so nobody has written here since. The region keeps the memory mapped.
        let bytes = unsafe { std::slice::from_raw_parts(region.as_ptr(), region.len()) };
        bytes.to_vec()
    });
    assert_eq!(reader.join().unwrap(), b"outlives");
}

#[test]
fn a_closed_producer_writes_no_more() {
    let (mut producer, mut consumer) = ring(0).unwrap();
    assert!(!producer.claim(16).unwrap().commit());
    assert!(!consumer.is_closed());
    assert!(!producer.close());
    assert!(consumer.is_closed());
    assert!(producer.claim(8).is_none());
    assert_eq!((producer.free(), producer.wait_for_room(8)), (0, false));
    assert_eq!((producer.written(), consumer.written()), (16, 16));
}

#[test]
fn a_close_wakes_the_consumer_and_is_reported_once() {
    let (mut producer, mut consumer) = ring(0).unwrap();
    assert!(consumer.wait(0));
    assert!(producer.close());
    assert!(!producer.close(), "one signal for one wait");
    assert!(!consumer.wait(0));
    assert!(consumer.wait(0), "a closed ring may be slept on");

    let (producer, mut consumer) = ring(0).unwrap();
    drop(producer);
    assert!(consumer.is_closed() && !consumer.wait(0) && consumer.wait(0));
}

#[test]
fn news_do_not_hide_a_close() {
    let (mut producer, mut consumer) = ring(0).unwrap();
    assert!(!producer.claim(8).unwrap().commit());
    assert!(!producer.close());
    assert!(!consumer.wait(0), "news");
    assert!(!consumer.wait(8), "the close");
    assert!(consumer.wait(8));
}

#[test]
fn a_close_wakes_the_producer() {
    let (mut producer, mut consumer) = ring(0).unwrap();
    for _ in 0..MIN_CAPACITY / MAX_RECORD {
        assert!(!producer.claim(MAX_RECORD).unwrap().commit());
    }
    assert!(producer.claim(8).is_none());
    assert!(producer.wait_for_room(8));
    assert!(!producer.is_closed());
    assert!(consumer.close());
    assert!(!consumer.close(), "one signal for one wait");
    assert!(producer.is_closed());
    assert!(!producer.wait_for_room(8), "there is nothing to wait for");
}

/// Returns whether a call panics. Both ends of a ring remain usable after a refused call.
fn panics<T>(call: impl FnOnce() -> T) -> bool {
    panic::catch_unwind(AssertUnwindSafe(|| drop(call()))).is_err()
}
