//! Ratios against committed bars: the regression check that is taken in time, not in counts.
//!
//! The bars are what the engine has reached, less a tolerance, not what it has promised (`compare::BARS`). A bar fails
//! when the whole confidence interval of its ratio is on the wrong side. A noisy run therefore widens the interval
//! instead of failing.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::compare::{self, Bound, Options, Row};
use crate::history::Measured;
use crate::statistics::Ratio;
use crate::table::Table;

/// Committed bars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bars {
    /// Cores of the machine on which the bars were taken: ratios depend on them.
    pub cores: usize,
    /// Bars, one for each ratio.
    pub bars: Vec<Bar>,
}

/// Bound on one contender's figure as a multiple of another's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Measured case.
    pub case: Case,
    /// Bytes in a payload.
    pub size: usize,
    /// Contender in the numerator.
    pub contender: String,
    /// Contender in the denominator.
    pub against: String,
    /// Bound that the ratio has to meet.
    pub bound: Bound,
}

/// Bar with the ratio that it was held against, if both contenders were measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Bar.
    pub bar: Bar,
    /// Measured ratio.
    pub ratio: Option<Ratio>,
}

impl Bars {
    /// Reads the committed file at `path`.
    pub fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Writes the bars to the file at `path`.
    pub fn write(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Measures what the bars need and nothing else. Contenders that do not exist have no rows in the outcome.
    pub fn measure(&self, rounds: &Options, mut progress: impl FnMut(&str)) -> compare::Outcome {
        let mut outcome = compare::Outcome::default();
        let mut cells: Vec<(Case, usize)> = Vec::new();
        for bar in &self.bars {
            if !cells.contains(&(bar.case, bar.size)) {
                cells.push((bar.case, bar.size));
            }
        }
        for (case, size) in cells {
            let bars = self.bars.iter().filter(|bar| (bar.case, bar.size) == (case, size));
            let names: BTreeSet<&String> = bars.flat_map(|bar| [&bar.contender, &bar.against]).collect();
            let options = Options {
                cases: vec![case],
                sizes: vec![size],
                only: names.into_iter().cloned().collect(),
                ..rounds.clone()
            };
            let cell = compare::run(&options, &mut progress);
            outcome.rows.extend(cell.rows);
            outcome.failures.extend(cell.failures);
        }
        outcome
    }

    /// Holds the bars against the measured rows.
    pub fn hold(&self, rows: &[Row]) -> Vec<Held> {
        let ratio = |bar: &Bar| {
            let own = |row: &&Row| (row.case, row.size, &row.contender) == (bar.case, bar.size, &bar.contender);
            rows.iter().find(own)?.ratio(&bar.against, rows)
        };
        self.bars.iter().map(|bar| Held { bar: bar.clone(), ratio: ratio(bar) }).collect()
    }
}

impl Held {
    /// Returns whether the ratio was measured and its interval reaches the bar.
    pub fn passed(&self) -> bool {
        self.ratio.is_some_and(|ratio| self.bar.bound.allows_some(ratio))
    }

    /// Returns the bar that follows from the measurement: the worse end of the interval, widened by `TOLERANCE`. Two
    /// runs on one idle machine can differ by that much.
    pub fn renewed(&self) -> Option<Bar> {
        let ratio = self.ratio?;
        let two_digits = |limit: f64| (limit * 100.0).round() / 100.0;
        let bound = match self.bar.bound {
            Bound::AtMost(_) => Bound::AtMost(two_digits(ratio.high * (1.0 + TOLERANCE))),
            Bound::AtLeast(_) => Bound::AtLeast(two_digits(ratio.low * (1.0 - TOLERANCE))),
        };
        Some(Bar { bound, ..self.bar.clone() })
    }

    /// Returns the ratio as an entry of the history, if it was measured.
    pub fn measured(&self) -> Option<Measured<'_>> {
        let Bar { case, size, contender, against, .. } = &self.bar;
        Some(Measured { case: *case, size: *size, contender, against, ratio: self.ratio? })
    }
}

/// Returns a table of bars and ratios.
pub fn table(held: &[Held]) -> Table {
    let mut table = Table::new(["ratio", "bytes", "contender", "against", "ratio (95 %)", "bar", "verdict"]);
    for each in held {
        let Bar { case, size, contender, against, bound } = &each.bar;
        let verdict = match each.ratio {
            None => "NOT MEASURED",
            Some(_) if each.passed() => "ok",
            Some(_) => "MISSED",
        };
        table.row([
            case.to_string(),
            size.to_string(),
            contender.clone(),
            against.clone(),
            each.ratio.map_or_else(String::new, |ratio| ratio.to_string()),
            bound.to_string(),
            verdict.to_owned(),
        ]);
    }
    table
}

const TOLERANCE: f64 = 0.15;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::statistics::Spread;

    fn bars() -> Bars {
        let bar = |against: &str, bound| Bar {
            case: Case::OneWay,
            size: 64,
            contender: "ours".to_owned(),
            against: against.to_owned(),
            bound,
        };
        Bars { cores: 2, bars: vec![bar("slow", Bound::AtLeast(5.0)), bar("fast", Bound::AtMost(0.8))] }
    }

    fn row(contender: &'static str, samples: [f64; 5]) -> Row {
        let figures = vec![("messages_per_second", Spread::of(samples.to_vec()))];
        let (contender, counts) = (contender.to_owned(), BTreeMap::new());
        Row { case: Case::OneWay, size: 64, contender, rounds: samples.len(), figures, counts }
    }

    fn passed(ours: [f64; 5]) -> Vec<bool> {
        let rows = [row("ours", ours), row("slow", [1.0; 5]), row("fast", [10.0; 5])];
        bars().hold(&rows).iter().map(Held::passed).collect()
    }

    #[test]
    fn a_bar_fails_only_when_the_whole_interval_does() {
        assert_eq!(passed([6.0; 5]), [true, true]);
        assert_eq!(passed([4.0; 5]), [false, true]);
        assert_eq!(passed([9.0; 5]), [true, false]);
        assert_eq!(passed([3.0, 4.0, 4.5, 5.0, 5.5]), [true, true], "the interval reaches 5");
    }

    #[test]
    fn what_is_not_measured_fails() {
        assert!(bars().hold(&[row("ours", [6.0; 5])]).iter().all(|held| !held.passed()));
    }

    #[test]
    fn a_renewed_bar_leaves_room() {
        let rows = [row("ours", [6.0; 5]), row("slow", [1.0; 5]), row("fast", [10.0; 5])];
        let renewed: Vec<Bound> = bars().hold(&rows).iter().filter_map(|held| Some(held.renewed()?.bound)).collect();
        assert_eq!(renewed, [Bound::AtLeast(5.1), Bound::AtMost(0.69)]);
    }

    #[test]
    fn bars_are_read_as_they_are_written() {
        let text = serde_json::to_string(&bars()).unwrap();
        assert_eq!(serde_json::from_str::<Bars>(&text).unwrap(), bars());
    }
}
