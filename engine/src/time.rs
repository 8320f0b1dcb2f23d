//! Time as the pure code knows it: nanoseconds since some start, handed in by whoever owns a clock.

use std::ops::{Add, AddAssign, Sub};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A moment on a monotonic clock, in nanoseconds since that clock's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment `nanoseconds` after the start.
    pub const fn from_nanos(nanoseconds: u64) -> Time {
        Time(nanoseconds)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
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

/// Clocks of all processes of a machine agree on what is a multiple of a power of two up to this.
const COMMON_NANOS: u64 = 1 << 30;

/// The machine's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now, or up to a second ago: at a moment on which all processes of the machine agree, so that
    /// what is due at a multiple of some power of two of nanoseconds is due in all of them at once.
    pub fn start() -> Clock {
        let (now, monotonic) = (Instant::now(), clock_gettime(ClockId::Monotonic));
        let nanoseconds = monotonic.tv_sec as u64 * 1_000_000_000 + monotonic.tv_nsec as u64;
        let since = Duration::from_nanos(nanoseconds % COMMON_NANOS);
        Clock { start: now.checked_sub(since).unwrap_or(now) }
    }

    /// The moment from which it counts.
    pub fn start_instant(&self) -> Instant {
        self.start
    }

    /// The present moment.
    #[inline]
    pub fn now(&self) -> Time {
        self.at(Instant::now())
    }

    /// The moment that `instant` stands for.
    pub fn at(&self, instant: Instant) -> Time {
        Time(u64::try_from(instant.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX))
    }
}
