//! Lateness of messages at a fixed rate: a percentile curve for each contender.

use super::scale::{Scale, duration, short};
use super::svg::{Anchor, LETTER, MARGIN, Svg, apart, family, legend};
use crate::documents::Lateness;
use crate::open_loop::Row;

/// Draws the curves. The horizontal axis is logarithmic: each power of ten of "one message in N" has equal width.
pub fn draw(lateness: &Lateness) -> String {
    let title = format!("Open loop: {} messages/s of {} bytes", short(lateness.rate as f64), lateness.size);
    let mut svg = Svg::new(
        WIDTH,
        HEIGHT,
        &title,
        "how late messages come, from when each was due; all rounds together, less is better",
    );
    let curves: Vec<(&Row, Vec<(f64, f64)>)> = lateness.rows.iter().map(|row| (row, points(row))).collect();
    let across = Scale::around([2.0, RAREST], LEFT, RIGHT);
    let up = Scale::around(curves.iter().flat_map(|(_, points)| points.iter().map(|(_, us)| *us)), BOTTOM, TOP);
    for mark in up.marks() {
        let y = up.at(mark);
        svg.line((LEFT, y), (RIGHT, y), "grid");
        svg.text(LEFT - 6.0, y + 4.0, Anchor::End, "soft", &duration(mark));
    }
    for (rarity, name) in
        [(2.0, "50 %"), (1e1, "90 %"), (1e2, "99 %"), (1e3, "99.9 %"), (1e4, "99.99 %"), (1e5, "99.999 %")]
    {
        let x = across.at(rarity);
        svg.line((x, TOP), (x, BOTTOM), "grid");
        svg.text(x, BOTTOM + 16.0, Anchor::Middle, "soft", name);
    }
    svg.text((LEFT + RIGHT) / 2.0, BOTTOM + 34.0, Anchor::Middle, "soft", "so many of the messages came no later");

    let mut names: Vec<(f64, &str)> = Vec::new();
    for (row, points) in &curves {
        let placed: Vec<(f64, f64)> = points.iter().map(|(rarity, us)| (across.at(*rarity), up.at(*us))).collect();
        let Some(&(_, end)) = placed.last() else { continue };
        svg.curve(&placed, &style(&row.contender));
        names.push((end, &row.contender));
    }
    apart(&mut names, BOTTOM);
    for (y, name) in names {
        svg.line((RIGHT + 6.0, y), (RIGHT + 24.0, y), &style(name));
        svg.text(RIGHT + 30.0, y + 4.0, Anchor::Start, "ink", name);
    }
    legend(&mut svg, MARGIN, HEIGHT - 14.0);
    svg.finish()
}

/// Returns the points of a curve: one message in N, and the lateness in microseconds that it exceeds. Points beyond
/// `RAREST` rest on too few messages and are left out.
fn points(row: &Row) -> Vec<(f64, f64)> {
    let rarity = |percentile: f64| 100.0 / (100.0 - percentile).max(f64::MIN_POSITIVE);
    let all = row.curve.iter().map(|point| (rarity(point.percentile), point.us));
    all.filter(|(rarity, _)| (1.9..=RAREST).contains(rarity)).collect()
}

/// Returns the style of a curve. Contenders that share a colour differ in their strokes.
fn style(contender: &str) -> String {
    let second = contender.ends_with("-plain") || contender.ends_with("-owned");
    format!("line {}{}", family(contender), if second { " second" } else { "" })
}

/// Rarity up to which a curve is drawn: one message in a million. Rarer events were seen too few times.
const RAREST: f64 = 1e6;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 610.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 350.0;
const WIDTH: f64 = RIGHT + 40.0 + 24.0 * LETTER;
const HEIGHT: f64 = BOTTOM + 72.0;
