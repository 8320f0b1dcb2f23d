//! Trend of the key ratios to ZeroMQ, release by release.

use super::releases::Release;
use super::scale::{Scale, short};
use super::svg::{Anchor, LETTER, MARGIN, Svg};
use crate::case::Case;
use crate::compare::{BARS, Bar, Verdict};
use crate::statistics::Ratio;

/// Returns the promises that are followed over releases: those against ZeroMQ.
pub(super) fn key_bars() -> impl Iterator<Item = &'static Bar> {
    BARS.iter().filter(|bar| bar.against == "zmq" && bar.quantity.is_none())
}

/// Draws a small panel for each key ratio, with a point for each release.
pub(super) fn draw(releases: &[Release]) -> String {
    let bars: Vec<&Bar> = key_bars().collect();
    let width = LEFT + PANEL * bars.len() as f64 + MARGIN;
    let mut svg = Svg::new(
        width,
        BOTTOM + 44.0,
        "Multiples of ZeroMQ over releases",
        "median and 95 % confidence interval, logarithmic; a red stroke is what the engine has to reach now",
    );
    let ratios: Vec<Vec<Option<Ratio>>> =
        bars.iter().map(|bar| releases.iter().map(|release| ratio(bar, release)).collect()).collect();
    let ends = ratios.iter().flatten().flatten().flat_map(|ratio| [ratio.low, ratio.high]);
    let scale = Scale::around(ends.chain(bars.iter().map(|bar| bar.bound.limit())).chain([1.0]), BOTTOM, TOP);
    for mark in scale.marks() {
        let class = if mark == 1.0 { "even" } else { "grid" };
        svg.line((LEFT, scale.at(mark)), (width - MARGIN, scale.at(mark)), class);
        svg.text(LEFT - 6.0, scale.at(mark) + 4.0, Anchor::End, "soft", &format!("{} ×", short(mark)));
    }
    for (panel, (bar, ratios)) in bars.iter().zip(&ratios).enumerate() {
        let left = LEFT + PANEL * panel as f64 + 8.0;
        let right = left + PANEL - 16.0;
        let better = if bar.case == Case::RoundTrip { "less is better" } else { "more is better" };
        let (what, how) = bar.what.split_once(", ").unwrap_or((bar.what, ""));
        let middle = (left + right) / 2.0;
        for (line, (class, text)) in [("ink", what), ("ink", how), ("soft", better)].into_iter().enumerate() {
            svg.text(middle, TOP - 38.0 + 14.0 * line as f64, Anchor::Middle, class, text);
        }
        let limit = scale.at(bar.bound.limit());
        svg.line((left, limit), (right, limit), "bound");
        let step = (right - left) / releases.len().max(1) as f64;
        let place = |index: usize| left + step * (index as f64 + 0.5);
        let placed = ratios.iter().enumerate().filter_map(|(index, ratio)| Some((place(index), (*ratio)?)));
        let points: Vec<(f64, f64)> = placed.clone().map(|(x, ratio)| (x, scale.at(ratio.median))).collect();
        svg.curve(&points, "line thin ours");
        for (x, ratio) in placed {
            svg.line((x, scale.at(ratio.low)), (x, scale.at(ratio.high)), "line ours");
            svg.dot((x, scale.at(ratio.median)), "ours fill");
        }
        // If not all release names have room, only the first and the last are drawn.
        let crowded = step < 9.0 * LETTER;
        for (index, release) in releases.iter().enumerate() {
            if !crowded || index == 0 || (index + 1 == releases.len() && step * index as f64 > 9.0 * LETTER) {
                svg.text(place(index), BOTTOM + 18.0, Anchor::Middle, "soft", &release.name);
            }
        }
    }
    svg.finish()
}

fn ratio(bar: &Bar, release: &Release) -> Option<Ratio> {
    match bar.verdict(&release.comparison.rows) {
        Verdict::Kept(ratio) | Verdict::Missed(ratio) => Some(ratio),
        Verdict::NotMeasured => None,
    }
}

const LEFT: f64 = 64.0;
const PANEL: f64 = 150.0;
const TOP: f64 = 116.0;
const BOTTOM: f64 = 340.0;
