//! What messages meet on their way, when they are not cut off: loss, delay, disorder.

use std::fmt;
use std::time::Duration;

use super::fault_error::FaultError;
use super::rng::Rng;

/// What messages meet at a [`Place`](super::Place).
///
/// ```
/// use std::time::Duration;
/// use cluster::mock::{Conditions, Delay};
///
/// let wan = Conditions::new()
///     .delay(Delay::Normal { mean: Duration::from_millis(40), deviation: Duration::from_millis(5) })
///     .in_order()
///     .drop(0.01)
///     .bytes_per_second(1_000_000);
/// assert_eq!(wan.to_string(), "drop 1%, delay 40ms ± 5ms, in order, 1000000 bytes/s");
/// assert_eq!(Conditions::new().to_string(), "perfect");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    pub(super) drop: f64,
    pub(super) duplicate: f64,
    pub(super) reorder: f64,
    pub(super) reorder_by: Duration,
    pub(super) delay: Delay,
    pub(super) in_order: bool,
    pub(super) bytes_per_second: Option<u64>,
}

/// How long a message takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Delay {
    /// No time at all.
    #[default]
    None,
    /// Always as long.
    Fixed(Duration),
    /// Between the two, each as likely.
    Between(Duration, Duration),
    /// Around a mean, two thirds of them within the deviation; never less than nothing.
    Normal {
        /// The mean.
        mean: Duration,
        /// The standard deviation.
        deviation: Duration,
    },
    /// Mostly short, sometimes very long.
    Exponential {
        /// The mean.
        mean: Duration,
    },
}

impl Conditions {
    /// Nothing is dropped, and everything arrives at once.
    pub fn new() -> Conditions {
        Conditions::default()
    }

    /// The probability that a message is dropped, 0 to 1.
    pub fn drop(mut self, probability: f64) -> Conditions {
        self.drop = probability;
        self
    }

    /// The probability that a message arrives twice, 0 to 1. The second one has a delay of its own.
    pub fn duplicate(mut self, probability: f64) -> Conditions {
        self.duplicate = probability;
        self
    }

    /// The probability, 0 to 1, that a message takes up to `by` longer than it would, so that later ones overtake it.
    pub fn reorder(mut self, probability: f64, by: Duration) -> Conditions {
        self.reorder = probability;
        self.reorder_by = by;
        self
    }

    /// How long a message takes. Each has a delay of its own: if that varies, they arrive in another order, unless they are to
    /// stay [`in_order`](Conditions::in_order).
    pub fn delay(mut self, delay: impl Into<Delay>) -> Conditions {
        self.delay = delay.into();
        self
    }

    /// Messages of one link and lane do not overtake each other: each waits for those before it, as on a connection.
    /// [Reordered](Conditions::reorder) ones are let pass.
    pub fn in_order(mut self) -> Conditions {
        self.in_order = true;
        self
    }

    /// So many bytes a second pass; more wait for their turn. At a server, it is for what it sends and for what it receives,
    /// each; otherwise for each link.
    pub fn bytes_per_second(mut self, bytes: u64) -> Conditions {
        self.bytes_per_second = Some(bytes);
        self
    }

    pub(super) fn check(&self) -> Result<(), FaultError> {
        for (of, value) in [("drop", self.drop), ("duplicate", self.duplicate), ("reorder", self.reorder)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(FaultError::Probability { of, value });
            }
        }
        if let Delay::Between(least, most) = self.delay
            && least > most
        {
            return Err(FaultError::Range { least, most });
        }
        if self.bytes_per_second == Some(0) { Err(FaultError::NoBandwidth) } else { Ok(()) }
    }
}

impl From<Duration> for Delay {
    fn from(delay: Duration) -> Delay {
        Delay::Fixed(delay)
    }
}

impl From<std::ops::RangeInclusive<Duration>> for Delay {
    fn from(range: std::ops::RangeInclusive<Duration>) -> Delay {
        Delay::Between(*range.start(), *range.end())
    }
}

impl Delay {
    pub(super) fn draw(&self, rng: &mut Rng) -> Duration {
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX / 4);
        match *self {
            Delay::None => Duration::ZERO,
            Delay::Fixed(delay) => delay,
            Delay::Between(least, most) => least + rng.up_to(most.saturating_sub(least)),
            Delay::Normal { mean, deviation } => seconds(mean.as_secs_f64() + deviation.as_secs_f64() * rng.normal()),
            Delay::Exponential { mean } => seconds(-mean.as_secs_f64() * (1.0 - rng.share()).ln()),
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (what, probability) in [("drop", self.drop), ("duplicate", self.duplicate)] {
            if probability > 0.0 {
                parts.push(format!("{what} {}%", probability * 100.0));
            }
        }
        if self.reorder > 0.0 {
            parts.push(format!("reorder {}% by up to {:?}", self.reorder * 100.0, self.reorder_by));
        }
        match self.delay {
            Delay::None => {}
            Delay::Fixed(delay) => parts.push(format!("delay {delay:?}")),
            Delay::Between(least, most) => parts.push(format!("delay {least:?} to {most:?}")),
            Delay::Normal { mean, deviation } => parts.push(format!("delay {mean:?} ± {deviation:?}")),
            Delay::Exponential { mean } => parts.push(format!("delay {mean:?} on average, exponential")),
        }
        if self.in_order {
            parts.push("in order".to_owned());
        }
        if let Some(bytes) = self.bytes_per_second {
            parts.push(format!("{bytes} bytes/s"));
        }
        f.write_str(&if parts.is_empty() { "perfect".to_owned() } else { parts.join(", ") })
    }
}
