//! Conditions of the mock network: loss, delay, reordering, duplication and bandwidth.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use super::fault_error::FaultError;
use super::rng::{normal, up_to};

/// Network conditions for the messages that pass a [`Place`](super::Place).
///
/// The methods take any value; [`Cluster::set`](super::Cluster::set) and the other ways to inject a
/// [`Fault`](super::Fault) refuse invalid ones.
///
/// ```
/// use std::time::Duration;
/// use cluster::mock::{Conditions, Delay};
///
/// let wan = Conditions::new()
///     .delay(Delay::Normal {
///         mean: Duration::from_millis(40),
///         deviation: Duration::from_millis(5),
///     })
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

/// Latency of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Delay {
    /// No delay.
    #[default]
    None,
    /// Constant delay.
    Fixed(Duration),
    /// Uniform distribution between two bounds.
    Between(Duration, Duration),
    /// Normal distribution, cut off at zero. Two thirds of the delays are within the deviation around the mean.
    Normal {
        /// Mean of the distribution.
        mean: Duration,
        /// Standard deviation of the distribution.
        deviation: Duration,
    },
    /// Exponential distribution: mostly short delays, sometimes very long ones.
    Exponential {
        /// Mean of the distribution.
        mean: Duration,
    },
}

impl Conditions {
    /// Makes perfect conditions: no loss and no delay.
    pub fn new() -> Conditions {
        Conditions::default()
    }

    /// Sets the probability, 0 to 1, that a message is dropped.
    pub fn drop(mut self, probability: f64) -> Conditions {
        self.drop = probability;
        self
    }

    /// Sets the probability, 0 to 1, that a message arrives twice. The duplicate has its own delay.
    pub fn duplicate(mut self, probability: f64) -> Conditions {
        self.duplicate = probability;
        self
    }

    /// Sets the probability, 0 to 1, that a message is delayed by up to `by` more, so that later ones overtake it.
    pub fn reorder(mut self, probability: f64, by: Duration) -> Conditions {
        self.reorder = probability;
        self.reorder_by = by;
        self
    }

    /// Sets the latency. Each message draws its own delay. If delays vary, the messages arrive out of order, unless
    /// [`in_order`](Conditions::in_order) is set.
    pub fn delay(mut self, delay: impl Into<Delay>) -> Conditions {
        self.delay = delay.into();
        self
    }

    /// Keeps the messages of one link and lane in order: each waits for those before it, as on a connection.
    /// [Reordered](Conditions::reorder) messages are exempt.
    pub fn in_order(mut self) -> Conditions {
        self.in_order = true;
        self
    }

    /// Sets the bandwidth in bytes per second. Excess messages wait for their turn. At a server, sent and received
    /// messages each have this bandwidth; at other places, each link has it.
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
            Delay::Between(least, most) => least + up_to(rng, most.saturating_sub(least)),
            Delay::Normal { mean, deviation } => seconds(mean.as_secs_f64() + deviation.as_secs_f64() * normal(rng)),
            Delay::Exponential { mean } => seconds(-mean.as_secs_f64() * (1.0 - rng.f64()).ln()),
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
