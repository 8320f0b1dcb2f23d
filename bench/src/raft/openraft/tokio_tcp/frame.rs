//! Framing of the hand-written network: a length of four bytes, the number of the call, and the message.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Appends a frame with the number `id` to `out`. `message` appends the message.
pub fn put(id: u64, out: &mut Vec<u8>, message: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&id.to_le_bytes());
    message(out);
    // A message is smaller than MAX_FRAME by the limits on entries and chunks.
    let length = (out.len() - begin - 4) as u32;
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
}

/// Bytes received, of which whole frames are taken.
#[derive(Debug)]
pub struct Received {
    bytes: Vec<u8>,
    /// `taken..filled` are the bytes received and not taken.
    taken: usize,
    filled: usize,
}

impl Received {
    /// Makes an empty buffer. It grows by what arrives, not by what a frame claims.
    pub fn new() -> Self {
        Self { bytes: vec![0; FIRST_BYTES], taken: 0, filled: 0 }
    }

    /// Reads once. Returns the number of bytes, 0 at the end of the stream.
    pub fn poll_read(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        } else if self.filled == self.bytes.len() {
            self.bytes.copy_within(self.taken.., 0);
            (self.taken, self.filled) = (0, self.filled - self.taken);
            if self.filled > self.bytes.len() / 2 {
                self.bytes.resize(2 * self.bytes.len(), 0);
            }
        }
        let mut room = ReadBuf::new(&mut self.bytes[self.filled..]);
        ready!(std::pin::Pin::new(socket).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        self.filled += count;
        Poll::Ready(Ok(count))
    }

    /// Takes the next whole frame: its number and its message.
    pub fn next(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let unread = &self.bytes[self.taken..self.filled];
        let Some((length, rest)) = unread.split_first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if !(8..=MAX_FRAME).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        self.taken += 4 + length;
        let (id, message) = frame.split_at(8);
        Ok(id.try_into().ok().map(|id| (u64::from_le_bytes(id), message)))
    }
}

/// Bytes of a new buffer: more than an append of small entries needs.
const FIRST_BYTES: usize = 64 << 10;
/// Most bytes in a frame behind its length.
const MAX_FRAME: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes `bytes` on in pieces of `piece` bytes. Returns the frames.
    fn frames(bytes: &[u8], piece: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let (mut received, mut frames) = (Received::new(), Vec::new());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for mut piece in bytes.chunks(piece) {
            while !piece.is_empty() {
                assert!(received.poll_read(&mut piece, &mut cx).is_ready());
                while let Some((id, message)) = received.next()? {
                    frames.push((id, message.to_vec()));
                }
            }
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_taken_whole_wherever_the_stream_is_cut() {
        let messages = [vec![], vec![1], vec![2; 100], vec![3; 300_000], vec![4; 5]];
        let mut bytes = Vec::new();
        for (id, message) in messages.iter().enumerate() {
            put(id as u64, &mut bytes, |out| out.extend(message));
        }
        let expected: Vec<(u64, Vec<u8>)> = (0..).zip(messages).collect();
        for piece in [1, 7, 12, 13, 4096, 100_000, usize::MAX] {
            assert_eq!(frames(&bytes, piece).unwrap(), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn lengths_beyond_the_limits_are_refused() {
        for length in [0, 7, MAX_FRAME as u32 + 1, u32::MAX] {
            assert!(frames(&length.to_le_bytes(), 4).is_err(), "{length}");
        }
    }

    #[test]
    fn a_claimed_length_costs_no_memory() {
        let mut received = Received::new();
        let mut claim = &(MAX_FRAME as u32).to_le_bytes()[..];
        assert!(received.poll_read(&mut claim, &mut Context::from_waker(std::task::Waker::noop())).is_ready());
        assert!(received.next().unwrap().is_none());
        assert_eq!(received.bytes.len(), FIRST_BYTES);
    }
}
