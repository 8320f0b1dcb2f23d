//! Draws that [`fastrand`] does not have.

use std::time::Duration;

use fastrand::Rng;

/// Draws an event of this probability. An impossible or certain event takes no random number.
pub(super) fn happens(rng: &mut Rng, probability: f64) -> bool {
    probability > 0.0 && (probability >= 1.0 || rng.f64() < probability)
}

/// Draws a duration from zero to `most`.
pub(super) fn up_to(rng: &mut Rng, most: Duration) -> Duration {
    Duration::from_nanos(rng.u64(..=u64::try_from(most.as_nanos()).unwrap_or(u64::MAX)))
}

/// Draws from the normal distribution of mean 0 and deviation 1 (Box and Muller).
pub(super) fn normal(rng: &mut Rng) -> f64 {
    let (radius, angle) = (1.0 - rng.f64(), rng.f64());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
