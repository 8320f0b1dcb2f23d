//! Measurements, and the checks without which they do not count.

mod checker;
mod pinger;
mod receipts;
mod schedule;
mod traffic;

pub use checker::{Arrivals, Checker, Load, Throughput};
pub use pinger::{Latencies, Pinger};
pub use receipts::{Receipts, Rising, Sink};
pub use schedule::Schedule;
pub use traffic::{Pattern, Traffic};

/// Error that a receiver has found in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corrupt {
    /// The payload has another length than was sent.
    Length {
        /// Length that was sent, in bytes.
        expected: usize,
        /// Length that arrived, in bytes.
        found: usize,
    },
    /// The payload is not the next one: lost, doubled, or out of order.
    Sequence {
        /// Number of the next message.
        expected: u64,
        /// Number of the message that arrived.
        found: u64,
    },
    /// The sender has no messages for this server.
    Stranger {
        /// Number of the sender.
        sender: usize,
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
            Self::Stranger { sender } => write!(f, "a message came from server {sender}, who sends none"),
        }
    }
}

impl std::error::Error for Corrupt {}

/// Writes a message's number into its first eight bytes.
#[inline]
fn stamp(sequence: u64, payload: &mut [u8]) {
    payload[..8].copy_from_slice(&sequence.to_le_bytes());
}

/// Checks that `payload` is the message with this number, complete.
#[inline]
fn check(payload: &[u8], size: usize, sequence: u64) -> Result<(), Corrupt> {
    let found = match number(payload) {
        Some(found) if payload.len() == size => found,
        _ => {
            return Err(Corrupt::Length { expected: size, found: payload.len() });
        }
    };
    if found == sequence { Ok(()) } else { Err(Corrupt::Sequence { expected: sequence, found }) }
}

/// Returns the number that a message carries, if it is long enough for one.
#[inline]
fn number(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Returns the kernel's monotonic time in nanoseconds, which all processes of a machine share.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to `time`; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
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
