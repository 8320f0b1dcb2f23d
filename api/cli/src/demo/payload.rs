//! Payload of the demonstration's messages, and its check.
//!
//! Each byte follows from the sender's pid, the message number and, where there is room, the send time:
//!
//! | bytes | |
//! | --- | --- |
//! | 0..8 | the number, mixed with the pid |
//! | 8..16 | the send time, in nanoseconds since the start of the demonstration; from [`TIMED`] bytes on |
//! | 16..24 | a check of the time; from [`TIMED`] bytes on |
//! | the rest | noise that pid and number determine |

use cluster::Pid;

/// Length of the shortest message, which contains only its number.
pub const SHORTEST: usize = 8;
/// Length from which a message contains its send time.
pub const TIMED: usize = 24;

/// Content of a correct message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub number: u64,
    pub sent_nanos: Option<u64>,
}

/// Writes all bytes of message `number` of server `pid`.
pub fn write(message: &mut [u8], pid: Pid, number: u64, sent_nanos: u64) {
    let key = mix(pid);
    let Some((head, rest)) = message.split_first_chunk_mut() else { return };
    *head = (number ^ key).to_le_bytes();
    let (time, rest) = rest.split_at_mut(if message_is_timed(rest) { TIMED - SHORTEST } else { 0 });
    if let Some((sent, check)) = time.split_first_chunk_mut() {
        *sent = sent_nanos.to_le_bytes();
        check.copy_from_slice(&check_on(key, number, sent_nanos).to_le_bytes());
    }
    let mut noise = Noise::new(key, number);
    let mut words = rest.chunks_exact_mut(8);
    for word in &mut words {
        word.copy_from_slice(&noise.next());
    }
    let tail = words.into_remainder();
    tail.copy_from_slice(&noise.next()[..tail.len()]);
}

/// Reads a message from `pid`. Returns `None` if any byte is wrong, or if another server sent it. The caller checks the
/// length.
pub fn read(message: &[u8], pid: Pid) -> Option<Told> {
    let key = mix(pid);
    let (head, rest) = message.split_first_chunk()?;
    let number = u64::from_le_bytes(*head) ^ key;
    let (time, rest) = rest.split_at(if message_is_timed(rest) { TIMED - SHORTEST } else { 0 });
    let mut sent_nanos = None;
    if let Some((sent, check)) = time.split_first_chunk() {
        let sent = u64::from_le_bytes(*sent);
        if *check != check_on(key, number, sent).to_le_bytes() {
            return None;
        }
        sent_nanos = Some(sent);
    }
    let mut noise = Noise::new(key, number);
    let mut words = rest.chunks_exact(8);
    let right = words.by_ref().all(|word| word == noise.next());
    let tail = words.remainder();
    (right && *tail == noise.next()[..tail.len()]).then_some(Told { number, sent_nanos })
}

fn message_is_timed(after_number: &[u8]) -> bool {
    SHORTEST + after_number.len() >= TIMED
}

fn check_on(key: u64, number: u64, time: u64) -> u64 {
    mix(key ^ number.rotate_left(32) ^ time)
}

/// Pseudo-random numbers that expose a misplaced byte.
struct Noise(u64);

impl Noise {
    fn new(key: u64, number: u64) -> Noise {
        Noise(mix(key.wrapping_add(number)))
    }

    #[inline]
    fn next(&mut self) -> [u8; 8] {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 ^ (self.0 >> 29)).to_le_bytes()
    }
}

/// Mixes a value, so that each bit of the result depends on each bit of `value`.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::{SHORTEST, TIMED, Told, read, write};

    #[test]
    fn what_is_written_is_read() {
        for size in SHORTEST..100 {
            let mut message = vec![0; size];
            write(&mut message, 100, 7, 12_345);
            let sent_nanos = (size >= TIMED).then_some(12_345);
            assert_eq!(read(&message, 100), Some(Told { number: 7, sent_nanos }), "{size}");
        }
    }

    #[test]
    fn every_wrong_byte_is_seen() {
        for size in [16, 23, 24, 31, 64, 77] {
            let mut message = vec![0; size];
            write(&mut message, 100, 7, 12_345);
            for index in 0..size {
                let mut wrong = message.clone();
                wrong[index] ^= 0x40;
                assert_eq!(read(&wrong, 100), None, "byte {index} of {size}");
            }
            assert_eq!(read(&message, 200), None, "another sender, {size}");
        }
    }

    #[test]
    fn the_shortest_message_is_told_from_another_senders_by_its_number() {
        let mut message = [0; SHORTEST];
        write(&mut message, 100, 7, 0);
        assert!(read(&message, 200).is_some_and(|told| told.number > u64::from(u32::MAX)));
        assert_eq!(read(&message[..SHORTEST - 1], 100), None);
    }
}
