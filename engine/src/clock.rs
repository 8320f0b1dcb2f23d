//! Monotonic clock of the machine.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::time::Time;

/// Alignment of a clock's start, in nanoseconds. For every power of two up to this, the clocks of all processes of a
/// machine agree on its multiples.
const COMMON_NANOS: u64 = 1 << 30;

/// Monotonic clock of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Makes a clock whose start is up to about a second (2^30 ns) ago, at a moment on which all processes of the
    /// machine agree. So a timer that is due at a multiple of a power of two of nanoseconds, up to 2^30, expires in all
    /// of them at once.
    pub fn start() -> Clock {
        let (now, monotonic) = (Instant::now(), clock_gettime(ClockId::Monotonic));
        let nanoseconds = monotonic.tv_sec as u64 * 1_000_000_000 + monotonic.tv_nsec as u64;
        let since = Duration::from_nanos(nanoseconds % COMMON_NANOS);
        Clock { start: now.checked_sub(since).unwrap_or(now) }
    }

    /// Start of this clock.
    pub fn start_instant(&self) -> Instant {
        self.start
    }

    /// Reads the clock and returns the present moment.
    #[inline]
    pub fn now(&self) -> Time {
        self.at(Instant::now())
    }

    /// Converts `instant` to a moment of this clock. An instant before its start becomes zero.
    pub fn at(&self, instant: Instant) -> Time {
        let since = instant.saturating_duration_since(self.start).as_nanos();
        Time::from_nanos(u64::try_from(since).unwrap_or(u64::MAX))
    }
}
