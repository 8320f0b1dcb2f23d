//! The harness by itself: what an outbox writes comes out as letters, and a letter counts until it is taken.

use std::task::Waker;

use super::{Ends, Harness, Letter, Limits};
use crate::time::Time;
use crate::{Body, Lane, PushError};

const LIMITS: Limits = Limits { ring_bytes: 64 * 1024, window_bytes: 128 * 1024, max_envelope_bytes: 1 << 20 };

/// The servers 1 and 2.
fn pair() -> (Harness, Ends, Ends) {
    let mut harness = Harness::new(LIMITS);
    let drive = harness.drive(None);
    let one = harness.join(1, [1; 16], vec![2], &drive, Time::default());
    let two = harness.join(2, [2; 16], vec![1], &drive, Time::default());
    (harness, one, two)
}

fn collect(harness: &mut Harness) -> Vec<Letter> {
    let mut letters = Vec::new();
    harness.collect(Time::default(), &mut letters);
    letters
}

fn push(ends: &mut Ends, id: i64, length: usize) -> Result<(), PushError> {
    ends.sender.push(0, Lane::Normal, id, &Body::from(vec![id as u8; length]), true)
}

#[test]
fn letters_are_what_was_written_of_every_length() {
    let (mut harness, mut one, mut two) = pair();
    for (id, length) in [0, 1, 8, 1000, 16_368, 16_369, 66_544, 66_545, 1 << 20].into_iter().enumerate() {
        push(&mut one, id as i64, length).unwrap();
        let [letter] = <[Letter; 1]>::try_from(collect(&mut harness)).unwrap();
        assert_eq!((letter.from, letter.to, letter.id, letter.payload.len()), (1, 2, id as i64, length));
        assert!(letter.payload.iter().all(|byte| *byte == id as u8));
        assert!(two.receiver.pop().is_none(), "not delivered yet");
        assert!(harness.deliver(letter));
        let message = two.receiver.pop().unwrap();
        assert_eq!((message.pid, message.id, message.payload.len()), (1, id as i64, length));
    }
    assert_eq!(harness.stats(1, &[2])[0].messages_out, 9);
    assert_eq!(harness.stats(2, &[1])[0].messages_in, 9);
}

#[test]
fn what_is_under_way_takes_room_until_it_is_read_or_lost() {
    let (mut harness, mut one, mut two) = pair();
    for round in 0..3 {
        let mut letters = Vec::new();
        loop {
            match push(&mut one, 0, 1000) {
                Ok(()) => letters.append(&mut collect(&mut harness)),
                Err(error) => break assert_eq!(error, PushError::Full),
            }
        }
        let taken = letters.len() as u64 * 1016;
        assert!((LIMITS.window_bytes..LIMITS.window_bytes + 66_560).contains(&taken), "round {round}: {taken}");
        assert!(one.sender.wait_for_room(0, Lane::Normal, 1000, Waker::noop()).unwrap());
        // Half of them is lost, and half is delivered and read; what the ring still had comes after.
        for (index, letter) in letters.into_iter().enumerate() {
            if index % 2 == 0 { harness.lose(letter) } else { assert!(harness.deliver(letter)) }
        }
        while two.receiver.pop().is_some() {}
        loop {
            let letters = collect(&mut harness);
            if letters.is_empty() {
                break;
            }
            letters.into_iter().for_each(|letter| assert!(harness.deliver(letter)));
            while two.receiver.pop().is_some() {}
        }
        assert_eq!(harness.undelivered(1), []);
        assert_eq!(one.sender.has_room(0, Lane::Normal, 1000), Ok(true));
    }
}

#[test]
fn what_a_server_leaves_behind() {
    let (mut harness, mut one, mut two) = pair();
    push(&mut one, 1, 10).unwrap();
    push(&mut two, 2, 10).unwrap();
    let mut letters = collect(&mut harness);
    let (first, second) = (letters.remove(0), letters.remove(0));
    let copy = harness.duplicate(&first);
    push(&mut one, 3, 5).unwrap();
    let [undelivered] = harness.undelivered(1)[..] else { panic!("two copies under way, one in the ring") };
    assert_eq!((undelivered.pid, undelivered.messages, undelivered.bytes), (2, 3, 25));
    harness.leave(1);
    assert_eq!(push(&mut one, 4, 5), Err(PushError::Stopped));
    assert!(one.receiver.is_closed());
    assert!(!harness.deliver(second), "nobody is there to get it");
    assert!(harness.deliver(first) && harness.deliver(copy), "what is on its way arrives");
    assert_eq!([two.receiver.pop(), two.receiver.pop()].map(|message| message.unwrap().id), [1, 1]);
    assert!(collect(&mut harness).is_empty());
    // The next incarnation begins anew.
    let drive = harness.drive(None);
    let mut one = harness.join(1, [1; 16], vec![2], &drive, Time::default());
    push(&mut two, 5, 10).unwrap();
    collect(&mut harness).into_iter().for_each(|letter| assert!(harness.deliver(letter)));
    assert_eq!(one.receiver.pop().unwrap().id, 5);
}

#[test]
fn streams_outlive_a_change_of_peers() {
    let (mut harness, mut one, mut two) = pair();
    push(&mut one, 1, 10).unwrap();
    harness.regroup(1, &[0, 2]);
    assert_eq!(one.sender.peers(), [0, 2]);
    let [zero, second] = [0, 2].map(|pid| one.sender.index_of(pid).unwrap());
    one.sender.push(second, Lane::Normal, 2, &Body::from(b"second"), true).unwrap();
    one.sender.push(zero, Lane::Normal, 3, &Body::from(b"not there"), true).unwrap();
    let letters = collect(&mut harness);
    assert_eq!(letters.iter().map(|letter| (letter.to, letter.id)).collect::<Vec<_>>(), [(2, 1), (2, 2), (0, 3)]);
    for letter in letters {
        let there = letter.to == 2;
        assert_eq!(harness.deliver(letter), there, "only server 2 runs");
    }
    assert_eq!(two.receiver.pop().unwrap().id, 1);
}
