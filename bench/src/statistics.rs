//! Medians, spreads of samples, and confidence intervals of ratios.

use std::fmt;

use serde::Serialize;

/// Samples of one quantity, one for each round.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    in_order: Vec<f64>,
    sorted: Vec<f64>,
}

impl Spread {
    /// Takes samples in any order; there is at least one.
    pub fn of(samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "a spread needs a sample");
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        Self { in_order: samples, sorted }
    }

    /// Samples in the order in which they were taken.
    pub fn in_order(&self) -> &[f64] {
        &self.in_order
    }

    /// Returns the middle sample, or the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let middle = self.sorted.len() / 2;
        if self.sorted.len() % 2 == 1 {
            self.sorted[middle]
        } else {
            (self.sorted[middle - 1] + self.sorted[middle]) / 2.0
        }
    }

    /// Returns the sample nearest to the quantile `share`.
    fn quantile(&self, share: f64) -> f64 {
        self.sorted[(share * (self.sorted.len() - 1) as f64).round() as usize]
    }

    /// Smallest sample.
    pub fn min(&self) -> f64 {
        self.sorted[0]
    }

    /// Largest sample.
    pub fn max(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }
}

/// Ratio of two quantities that were measured in the same rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// Median of the rounds' ratios.
    pub median: f64,
    /// Lower end of the median's 95 % confidence interval.
    pub low: f64,
    /// Upper end of the median's 95 % confidence interval.
    pub high: f64,
}

impl Ratio {
    /// Returns the ratio of `own` to `other`, taken round by round: a disturbance of a round affects both, and cancels
    /// out.
    ///
    /// The interval is a bootstrap: the median of as many rounds, drawn with repetition, thousands of times. The draw
    /// begins with a fixed seed, so that equal samples give equal intervals.
    pub fn of(own: &Spread, other: &Spread) -> Self {
        let pairs = own.in_order.iter().zip(&other.in_order);
        let rounds: Vec<f64> = pairs.map(|(own, other)| own / other).collect();
        let mut random = fastrand::Rng::with_seed(DRAW_SEED);
        let draw = |_| Spread::of(rounds.iter().map(|_| rounds[random.usize(..rounds.len())]).collect()).median();
        let medians = Spread::of((0..DRAWS).map(draw).collect());
        let (low, high) = (medians.quantile(0.025), medians.quantile(0.975));
        Self { median: Spread::of(rounds).median(), low, high }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}..{:.2})", self.median, self.low, self.high)
    }
}

const DRAWS: usize = 4000;
const DRAW_SEED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The machine is ten times slower in the second round; the ratio is the same in each.
        let own = Spread::of(vec![2.0, 20.0, 4.0]);
        let other = Spread::of(vec![1.0, 10.0, 2.0]);
        assert_eq!(Ratio::of(&own, &other), Ratio { median: 2.0, low: 2.0, high: 2.0 });
    }

    #[test]
    fn the_interval_is_as_wide_as_the_rounds_differ() {
        let other = Spread::of(vec![1.0; 9]);
        let steady = Ratio::of(&Spread::of((0..9).map(|round| 2.0 + f64::from(round) / 100.0).collect()), &other);
        let shaky = Ratio::of(&Spread::of((0..9).map(|round| 2.0 + f64::from(round) / 4.0).collect()), &other);
        assert!(steady.low < steady.median && steady.median < steady.high);
        assert!(shaky.high - shaky.low > 10.0 * (steady.high - steady.low), "{steady:?}, {shaky:?}");
        assert!(shaky.low >= 2.0 && shaky.high <= 4.0);
    }

    #[test]
    fn an_odd_number_of_samples_has_a_middle() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((spread.min(), spread.median(), spread.max()), (1.0, 2.0, 3.0));
    }

    #[test]
    fn an_even_number_of_samples_has_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.min(), spread.median(), spread.max()), (1.0, 2.5, 4.0));
    }

    #[test]
    fn one_sample_is_all_three() {
        let spread = Spread::of(vec![5.0]);
        assert_eq!((spread.min(), spread.median(), spread.max()), (5.0, 5.0, 5.0));
    }

    #[test]
    #[should_panic(expected = "a spread needs a sample")]
    fn no_sample_is_a_mistake() {
        Spread::of(Vec::new());
    }
}
