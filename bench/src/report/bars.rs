//! Round trips as bars: their p50 and their p99.

use super::scale::short;
use super::svg::{Anchor, LETTER, MARGIN, Svg, family, legend};
use crate::case::Case;
use crate::compare::Row;

/// Draws the round trips of all contenders for payloads of `size` bytes, the fastest first.
pub fn draw(rows: &[Row], size: usize) -> String {
    let mut rows: Vec<&Row> = rows.iter().filter(|row| (row.case, row.size) == (Case::RoundTrip, size)).collect();
    rows.sort_by(|left, right| left.key().median().total_cmp(&right.key().median()));
    let bottom = TOP + ROW * rows.len() as f64;
    let mut svg = Svg::new(
        WIDTH,
        bottom + 64.0,
        &format!("Round trip of {size} bytes"),
        "p50 (full) and p99 (pale) in µs, medians of the rounds; less is better",
    );
    let longest = rows.iter().map(|row| row.key().median()).fold(0.0, f64::max);
    let end =
        rows.iter().map(|row| p99(row)).fold(longest, f64::max).min(longest * WORTH_SHOWING).max(f64::MIN_POSITIVE);
    let place = |us: f64| LEFT + (RIGHT - LEFT) * (us / end).min(1.0);
    for mark in marks(end) {
        svg.line((place(mark), TOP - 6.0), (place(mark), bottom), "grid");
        svg.text(place(mark), bottom + 16.0, Anchor::Middle, "soft", &format!("{} µs", short(mark)));
    }
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let (p50, p99, family) = (row.key().median(), p99(row), family(&row.contender));
        svg.text(LEFT - 8.0, y + 12.0, Anchor::End, "ink", &row.contender);
        svg.bar((LEFT, y + 2.0), place(p99) - LEFT, ROW - 6.0, &format!("{family} fill pale"));
        svg.bar((LEFT, y + 2.0), place(p50) - LEFT, ROW - 6.0, &format!("{family} fill"));
        let beyond = if p99 > end { "→ " } else { "" };
        let text = format!("{beyond}{} / {}", figure(p50), figure(p99));
        svg.text(place(p99) + 6.0, y + 12.0, Anchor::Start, "ink", &text);
    }
    legend(&mut svg, MARGIN, bottom + 46.0);
    svg.finish()
}

fn p99(row: &Row) -> f64 {
    row.figures[1].1.median()
}

/// Returns four to eight round figures from zero up to `end`.
fn marks(end: f64) -> Vec<f64> {
    let power = 10_f64.powf(end.log10().floor());
    let step =
        [0.2, 0.5, 1.0].map(|factor| factor * power).into_iter().find(|step| end / step < 8.0).unwrap_or(power * 2.0);
    (0..=(end / step) as u32).map(|count| f64::from(count) * step).collect()
}

fn figure(us: f64) -> String {
    if us < 10.0 { format!("{us:.2}") } else { format!("{us:.1}") }
}

/// Longest bar, as a multiple of the slowest p50. A longer p99 is cut off, so that the other bars can be told apart.
const WORTH_SHOWING: f64 = 3.0;
const ROW: f64 = 20.0;
const TOP: f64 = 68.0;
const LEFT: f64 = MARGIN + 27.0 * LETTER;
const RIGHT: f64 = LEFT + 460.0;
const WIDTH: f64 = RIGHT + 130.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_figures() {
        assert_eq!(marks(150.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0, 120.0, 140.0]);
        assert_eq!(marks(310.0), [0.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0]);
        assert_eq!(marks(99.0), [0.0, 20.0, 40.0, 60.0, 80.0]);
    }
}
