//! Tests of the switchboard alone: envelopes of outboxes come out as packets, and a packet counts until it is read.

use std::task::Waker;

use super::{Ends, Limits, Packet, Switchboard};
use crate::time::Time;
use crate::{Body, Lane, PushError};

const LIMITS: Limits = Limits { ring_bytes: 64 * 1024, window_bytes: 128 * 1024, max_envelope_bytes: 1 << 20 };

/// Starts the servers 1 and 2.
fn pair() -> (Switchboard, Ends, Ends) {
    let mut switchboard = Switchboard::new(LIMITS);
    let loop_handle = switchboard.loop_handle(None);
    let one = switchboard.join(1, [1; 16], vec![2], &loop_handle, Time::default());
    let two = switchboard.join(2, [2; 16], vec![1], &loop_handle, Time::default());
    (switchboard, one, two)
}

fn collect(switchboard: &mut Switchboard) -> Vec<Packet> {
    let mut packets = Vec::new();
    switchboard.collect(Time::default(), &mut packets);
    packets
}

fn push(ends: &mut Ends, id: i64, length: usize) -> Result<(), PushError> {
    ends.sender.push(0, Lane::Normal, id, &Body::from(vec![id as u8; length]), true)
}

#[test]
fn packets_are_what_was_written_of_every_length() {
    let (mut switchboard, mut one, mut two) = pair();
    for (id, length) in [0, 1, 8, 1000, 16_368, 16_369, 66_544, 66_545, 1 << 20].into_iter().enumerate() {
        push(&mut one, id as i64, length).unwrap();
        let [packet] = <[Packet; 1]>::try_from(collect(&mut switchboard)).unwrap();
        assert_eq!((packet.from, packet.to, packet.id, packet.payload.len()), (1, 2, id as i64, length));
        assert!(packet.payload.iter().all(|byte| *byte == id as u8));
        assert!(two.receiver.pop().is_none(), "not delivered yet");
        assert!(switchboard.deliver(packet));
        let message = two.receiver.pop().unwrap();
        assert_eq!((message.pid, message.id, message.payload.len()), (1, id as i64, length));
    }
    assert_eq!(switchboard.stats(1, &[2])[0].messages_out, 9);
    assert_eq!(switchboard.stats(2, &[1])[0].messages_in, 9);
}

#[test]
fn what_is_under_way_takes_room_until_it_is_read_or_lost() {
    let (mut switchboard, mut one, mut two) = pair();
    for round in 0..3 {
        let mut packets = Vec::new();
        loop {
            match push(&mut one, 0, 1000) {
                Ok(()) => packets.append(&mut collect(&mut switchboard)),
                Err(error) => break assert_eq!(error, PushError::Full),
            }
        }
        let taken = packets.len() as u64 * 1016;
        assert!((LIMITS.window_bytes..LIMITS.window_bytes + 66_560).contains(&taken), "round {round}: {taken}");
        assert!(one.sender.wait_for_room(0, Lane::Normal, 1000, Waker::noop()).unwrap());
        // Half of the packets are lost, half are delivered and read. The rest of the ring follows.
        for (index, packet) in packets.into_iter().enumerate() {
            if index % 2 == 0 { switchboard.lose(packet) } else { assert!(switchboard.deliver(packet)) }
        }
        while two.receiver.pop().is_some() {}
        loop {
            let packets = collect(&mut switchboard);
            if packets.is_empty() {
                break;
            }
            packets.into_iter().for_each(|packet| assert!(switchboard.deliver(packet)));
            while two.receiver.pop().is_some() {}
        }
        assert_eq!(switchboard.undelivered(1), []);
        assert_eq!(one.sender.has_room(0, Lane::Normal, 1000), Ok(true));
    }
}

#[test]
fn what_a_server_leaves_behind() {
    let (mut switchboard, mut one, mut two) = pair();
    push(&mut one, 1, 10).unwrap();
    push(&mut two, 2, 10).unwrap();
    let mut packets = collect(&mut switchboard);
    let (first, second) = (packets.remove(0), packets.remove(0));
    let copy = switchboard.duplicate(&first);
    push(&mut one, 3, 5).unwrap();
    let [undelivered] = switchboard.undelivered(1)[..] else { panic!("two copies under way, one in the ring") };
    assert_eq!((undelivered.pid, undelivered.messages, undelivered.bytes), (2, 3, 25));
    switchboard.leave(1);
    assert_eq!(push(&mut one, 4, 5), Err(PushError::Stopped));
    assert!(one.receiver.is_closed());
    assert!(!switchboard.deliver(second), "nobody is there to get it");
    assert!(switchboard.deliver(first) && switchboard.deliver(copy), "what is on its way arrives");
    assert_eq!([two.receiver.pop(), two.receiver.pop()].map(|message| message.unwrap().id), [1, 1]);
    assert!(collect(&mut switchboard).is_empty());
    // The stream starts over for the next incarnation.
    let loop_handle = switchboard.loop_handle(None);
    let mut one = switchboard.join(1, [1; 16], vec![2], &loop_handle, Time::default());
    push(&mut two, 5, 10).unwrap();
    collect(&mut switchboard).into_iter().for_each(|packet| assert!(switchboard.deliver(packet)));
    assert_eq!(one.receiver.pop().unwrap().id, 5);
}

#[test]
fn streams_outlive_a_change_of_peers() {
    let (mut switchboard, mut one, mut two) = pair();
    push(&mut one, 1, 10).unwrap();
    switchboard.regroup(1, &[0, 2]);
    assert_eq!(one.sender.peers(), [0, 2]);
    let [zero, second] = [0, 2].map(|pid| one.sender.index_of(pid).unwrap());
    one.sender.push(second, Lane::Normal, 2, &Body::from(b"second"), true).unwrap();
    one.sender.push(zero, Lane::Normal, 3, &Body::from(b"not there"), true).unwrap();
    let packets = collect(&mut switchboard);
    assert_eq!(packets.iter().map(|packet| (packet.to, packet.id)).collect::<Vec<_>>(), [(2, 1), (2, 2), (0, 3)]);
    for packet in packets {
        let there = packet.to == 2;
        assert_eq!(switchboard.deliver(packet), there, "only server 2 runs");
    }
    assert_eq!(two.receiver.pop().unwrap().id, 1);
}
