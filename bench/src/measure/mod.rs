//! What is measured, and the checks without which it does not count.

mod checker;
mod pinger;
mod schedule;

pub use checker::{Checker, Load, Throughput};
pub use pinger::{Latencies, Pinger};
pub use schedule::Schedule;

/// What a receiver found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corrupt {
    /// The payload has another length than was sent.
    Length {
        /// What was sent.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// The payload is not the next one: lost, doubled, or out of order.
    Sequence {
        /// The number of the next one.
        expected: u64,
        /// What came.
        found: u64,
    },
}

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length { expected, found } => {
                write!(f, "a payload of {found} bytes instead of {expected}")
            }
            Self::Sequence { expected, found } => {
                write!(f, "message {found} came instead of {expected}")
            }
        }
    }
}

impl std::error::Error for Corrupt {}

/// Writes a message's number into its first eight bytes.
#[inline]
fn stamp(sequence: u64, payload: &mut [u8]) {
    payload[..8].copy_from_slice(&sequence.to_le_bytes());
}

/// Whether `payload` is the message of that number, whole.
#[inline]
fn check(payload: &[u8], size: usize, sequence: u64) -> Result<(), Corrupt> {
    let found = match payload.first_chunk() {
        Some(bytes) if payload.len() == size => u64::from_le_bytes(*bytes),
        _ => {
            return Err(Corrupt::Length { expected: size, found: payload.len() });
        }
    };
    if found == sequence { Ok(()) } else { Err(Corrupt::Sequence { expected: sequence, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamped_payload_is_recognized_and_another_is_not() {
        let mut payload = [0; 16];
        stamp(7, &mut payload);
        assert_eq!(check(&payload, 16, 7), Ok(()));
        assert_eq!(check(&payload, 16, 8), Err(Corrupt::Sequence { expected: 8, found: 7 }));
        assert_eq!(check(&payload, 17, 7), Err(Corrupt::Length { expected: 17, found: 16 }));
        assert_eq!(check(&[], 16, 7), Err(Corrupt::Length { expected: 16, found: 0 }));
    }
}
