//! Messages between the servers: numbered, timed, and with a body that can be checked to the last byte.

use cluster::Pid;

use crate::mix::mix;

/// Stream of messages to one recipient, with a numbering of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Messages to one peer, on the normal lane.
    Normal,
    /// Messages to one peer, on the urgent lane.
    Urgent,
    /// Messages to all peers at once.
    Broadcast,
    /// Messages to one peer, with a time to live.
    Timed,
    /// Messages to one peer, best effort.
    Once,
}

impl Stream {
    /// All streams, by their codes.
    pub const ALL: [Stream; 5] = [Stream::Normal, Stream::Urgent, Stream::Broadcast, Stream::Timed, Stream::Once];

    pub fn from_code(code: u8) -> Option<Stream> {
        Stream::ALL.get(usize::from(code)).copied()
    }

    /// Returns whether messages on the stream may be dropped, and are counted then.
    pub fn is_perishable(self) -> bool {
        matches!(self, Stream::Timed | Stream::Once)
    }

    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Beginning of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Pid of the sender.
    pub pid: Pid,
    /// Number of the sender's run: 1, 2, 3 …
    pub run: u32,
    pub stream: Stream,
    /// Number within the stream, from 1.
    pub sequence: u64,
    /// Time of the send, in nanoseconds of [`now`](crate::clock::now).
    pub sent_at: u64,
}

/// Bytes in a header.
pub const HEADER_BYTES: usize = 40;

/// Writes a message of `length` bytes into `buffer`.
pub fn write(header: &Header, length: usize, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(&(u64::from(header.run) | u64::from(header.stream.code()) << 32).to_le_bytes());
    buffer.extend_from_slice(&header.pid.to_le_bytes());
    buffer.extend_from_slice(&header.sequence.to_le_bytes());
    buffer.extend_from_slice(&header.sent_at.to_le_bytes());
    buffer.extend_from_slice(&(length as u64).to_le_bytes());
    let mut word = seed(header);
    while buffer.len() < length {
        word = word.wrapping_mul(FACTOR).wrapping_add(1);
        let rest = (length - buffer.len()).min(8);
        buffer.extend_from_slice(&word.to_le_bytes()[..rest]);
    }
}

/// Returns the header of a message, if every byte of the message is as it was sent.
pub fn read(message: &[u8]) -> Option<Header> {
    let (header, body) = message.split_at_checked(HEADER_BYTES)?;
    let word = |index: usize| {
        let bytes = header.get(index * 8..index * 8 + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let first = word(0)?;
    let header = Header {
        run: u32::try_from(first & u64::from(u32::MAX)).ok()?,
        stream: Stream::from_code(u8::try_from(first >> 32).ok()?)?,
        pid: word(1)?,
        sequence: word(2)?,
        sent_at: word(3)?,
    };
    if word(4)? != message.len() as u64 {
        return None;
    }
    let mut expected = seed(&header);
    let right = body.chunks(8).all(|chunk| {
        expected = expected.wrapping_mul(FACTOR).wrapping_add(1);
        *chunk == expected.to_le_bytes()[..chunk.len()]
    });
    right.then_some(header)
}

fn seed(header: &Header) -> u64 {
    mix(header.sequence ^ header.pid.rotate_left(20) ^ u64::from(header.run).rotate_left(40))
}

const FACTOR: u64 = 6_364_136_223_846_793_005;

#[cfg(test)]
mod tests {
    use super::{HEADER_BYTES, Header, Stream, read, write};

    #[test]
    fn streams_are_numbered_as_they_are_listed() {
        for (index, stream) in Stream::ALL.into_iter().enumerate() {
            assert_eq!((usize::from(stream.code()), Stream::from_code(stream.code())), (index, Some(stream)));
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let header = Header { pid: 3, run: 7, stream: Stream::Urgent, sequence: 12345, sent_at: 99 };
        for length in [HEADER_BYTES, HEADER_BYTES + 3, 200] {
            let mut message = Vec::new();
            write(&header, length, &mut message);
            assert_eq!((message.len(), read(&message)), (length, Some(header)));
            assert_eq!(read(&message[..length - 1]), None);
            for index in HEADER_BYTES..length {
                message[index] ^= 1;
                assert_eq!(read(&message), None, "byte {index}");
                message[index] ^= 1;
            }
        }
    }
}
