//! Frame of the raw TCP contenders: a 16-byte header, then the payload.

use std::io;

/// Bytes before the payload: its length, four bytes of padding, and an identifier.
pub const HEADER_BYTES: usize = 16;

/// Returns the header of a payload of `length` bytes.
#[inline]
pub fn header(length: usize, id: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&(length as u32).to_le_bytes());
    header[8..].copy_from_slice(&id.to_le_bytes());
    header
}

/// Returns the length of the frame at the beginning of `bytes`, header included; `None` if the header is not complete.
#[inline]
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<4>().filter(|_| bytes.len() >= HEADER_BYTES)?;
    Some(HEADER_BYTES + u32::from_le_bytes(*length) as usize)
}

/// Passes the payload of every whole frame to `take`. Returns the number of bytes in those frames.
#[inline]
pub fn walk<E>(bytes: &[u8], mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<usize, E> {
    let mut position = 0;
    while let Some(length) = frame_bytes(&bytes[position..]) {
        let Some(frame) = bytes.get(position..position + length) else {
            break;
        };
        take(&frame[HEADER_BYTES..])?;
        position += length;
    }
    Ok(position)
}

/// Returns the error for a connection that the peer has closed although it should still carry frames.
pub fn stream_ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended within the traffic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_whole_frames_and_leaves_the_rest() {
        let mut bytes = Vec::new();
        for payload in [&b"one"[..], b"", b"three"] {
            bytes.extend(header(payload.len(), 1));
            bytes.extend(payload);
        }
        for cut in 0..=bytes.len() {
            let mut seen = Vec::new();
            let taken = walk(&bytes[..cut], |payload| {
                seen.push(payload.to_vec());
                Ok::<(), ()>(())
            });
            let (frames, end) = match cut {
                0..19 => (0, 0),
                19..35 => (1, 19),
                35..56 => (2, 35),
                _ => (3, 56),
            };
            assert_eq!((seen.len(), taken), (frames, Ok(end)), "cut at {cut}");
        }
    }
}
