//! Logarithmic axes, and figures as short text.

/// Logarithmic axis.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// Returns an axis from the coordinate `from` to the coordinate `to` with room for all `figures` above zero.
    pub fn around(figures: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for figure in figures.into_iter().filter(|figure| *figure > 0.0) {
            (low, high) = (low.min(figure), high.max(figure));
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        Self { low: low / ROOM, high: high * ROOM, from, to }
    }

    /// Returns the coordinate of a figure.
    pub fn at(&self, figure: f64) -> f64 {
        let share = (figure.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        self.from + (self.to - self.from) * share
    }

    /// Returns the figures to mark: powers of ten, and some between them if the axis spans few.
    pub fn marks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let between: &[f64] = match decades {
            decades if decades < 1.3 => &[1.0, 2.0, 3.0, 5.0],
            decades if decades < 2.5 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let marks = powers.flat_map(|power| between.iter().map(move |factor| factor * 10_f64.powi(power)));
        marks.filter(|mark| (self.low..=self.high).contains(mark)).collect()
    }
}

/// Formats a figure as short text: `1234567` → `1.2 M`, `0.25` → `0.25`.
pub fn short(figure: f64) -> String {
    let (scaled, unit) = match figure {
        figure if figure >= 1e9 => (figure / 1e9, " G"),
        figure if figure >= 1e6 => (figure / 1e6, " M"),
        figure if figure >= 1e4 => (figure / 1e3, " k"),
        figure => (figure, ""),
    };
    let digits = match scaled {
        scaled if scaled >= 100.0 || unit.is_empty() && scaled >= 10.0 => 0,
        scaled if scaled >= 1.0 => 1,
        _ => 2,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// Formats microseconds as a duration: `1500` → `1.5 ms`.
pub fn duration(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", short(us / 1e6)),
        us if us >= 1e3 => format!("{} ms", short(us / 1e3)),
        us => format!("{} µs", short(us)),
    }
}

/// Factor by which the axis extends beyond the smallest and the largest figure.
const ROOM: f64 = 1.25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenfold_is_as_far_everywhere() {
        let scale = Scale::around([1.0, 1000.0], 0.0, 100.0);
        assert!((scale.at(10.0) - scale.at(1.0) - (scale.at(1000.0) - scale.at(100.0))).abs() < 1e-9);
        assert!(scale.at(1.0) > 0.0 && scale.at(1000.0) < 100.0);
        assert_eq!(scale.marks(), [1.0, 10.0, 100.0, 1000.0]);
    }

    #[test]
    fn without_figures_there_is_still_an_axis() {
        assert!(Scale::around([], 0.0, 100.0).at(5.0).is_finite());
    }

    #[test]
    fn figures_are_short() {
        let texts = [0.052, 0.5, 3.0, 7.25, 53.6, 1234.0, 56_035.0, 4_546_996.0, 3.2e9].map(short);
        assert_eq!(texts, ["0.05", "0.5", "3", "7.2", "54", "1234", "56 k", "4.5 M", "3.2 G"]);
        assert_eq!([0.5, 30.0, 1500.0, 1e7].map(duration), ["0.5 µs", "30 µs", "1.5 ms", "10 s"]);
    }
}
