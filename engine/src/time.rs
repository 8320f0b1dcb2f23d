//! Time for pure code: nanoseconds since the start of a clock, passed in by the owner of that clock.

use std::ops::{Add, AddAssign, Sub};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Moment on a monotonic clock, in nanoseconds since the start of that clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// Makes the moment `nanoseconds` after the start.
    pub const fn from_nanos(nanoseconds: u64) -> Time {
        Time(nanoseconds)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the duration from `earlier` to this moment, or zero if `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

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
        Time(u64::try_from(instant.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX))
    }
}
