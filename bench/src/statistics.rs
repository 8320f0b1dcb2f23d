//! Medians and how far the samples lie apart.

/// Samples of one quantity, one for each round.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    sorted: Vec<f64>,
}

impl Spread {
    /// Takes samples in any order; there is at least one.
    pub fn of(mut samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "a spread needs a sample");
        samples.sort_by(f64::total_cmp);
        Self { sorted: samples }
    }

    /// The middle sample, or the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let middle = self.sorted.len() / 2;
        if self.sorted.len() % 2 == 1 {
            self.sorted[middle]
        } else {
            (self.sorted[middle - 1] + self.sorted[middle]) / 2.0
        }
    }

    /// The smallest sample.
    pub fn min(&self) -> f64 {
        self.sorted[0]
    }

    /// The largest sample.
    pub fn max(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
