//! One-way traffic: messages each second, a panel for each size.

use super::scale::{Scale, short};
use super::svg::{Anchor, LETTER, MARGIN, Svg, family, legend};
use crate::compare::{Case, Row};

/// Draws all contenders at all sizes, in the order of the smallest size, the fastest first.
pub fn draw(rows: &[Row]) -> String {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.case == Case::OneWay).collect();
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut sorted = rows.clone();
    sorted.sort_by(|left, right| left.size.cmp(&right.size).then(right.key().median().total_cmp(&left.key().median())));
    let mut names: Vec<&str> = Vec::new();
    for row in sorted {
        if !names.contains(&row.contender.as_str()) {
            names.push(&row.contender);
        }
    }

    let bottom = TOP + ROW * names.len() as f64;
    let width = LEFT + (PANEL + GAP) * sizes.len().max(1) as f64;
    let mut svg = Svg::new(
        width,
        bottom + 64.0,
        "One way, by size of the payload",
        "messages each second, logarithmic; median and range of the rounds; more is better",
    );
    for (index, name) in names.iter().enumerate() {
        svg.text(LEFT - 10.0, TOP + ROW * index as f64 + 14.0, Anchor::End, "ink", name);
    }
    for (panel, size) in sizes.iter().enumerate() {
        let left = LEFT + (PANEL + GAP) * panel as f64;
        let of_size: Vec<&Row> = rows.iter().filter(|row| row.size == *size).copied().collect();
        let ends = of_size.iter().flat_map(|row| [row.key().min(), row.key().max()]);
        let scale = Scale::around(ends, left, left + PANEL - FIGURE);
        svg.text(left, TOP - 8.0, Anchor::Start, "ink", &format!("{}, messages/s", bytes(*size)));
        for mark in scale.marks() {
            svg.line((scale.at(mark), TOP), (scale.at(mark), bottom), "grid");
            svg.text(scale.at(mark), bottom + 16.0, Anchor::Middle, "soft", &short(mark));
        }
        for (index, name) in names.iter().enumerate() {
            let y = TOP + ROW * index as f64 + 10.0;
            let Some(row) = of_size.iter().find(|row| row.contender == *name) else {
                svg.text(left, y + 4.0, Anchor::Start, "soft", "no result");
                continue;
            };
            let (spread, family) = (row.key(), family(name));
            svg.line((scale.at(spread.min()), y), (scale.at(spread.max()), y), &format!("line {family}"));
            svg.dot((scale.at(spread.median()), y), &format!("{family} fill"));
            svg.text(scale.at(spread.max()) + 7.0, y + 4.0, Anchor::Start, "ink", &short(spread.median()));
        }
    }
    legend(&mut svg, MARGIN, bottom + 46.0);
    svg.finish()
}

/// `64 B`, `1 KiB`.
pub fn bytes(size: usize) -> String {
    match size {
        size if size >= 1 << 20 && size.is_multiple_of(1 << 20) => format!("{} MiB", size >> 20),
        size if size >= 1 << 10 && size.is_multiple_of(1 << 10) => format!("{} KiB", size >> 10),
        size => format!("{size} B"),
    }
}

const ROW: f64 = 20.0;
const TOP: f64 = 84.0;
const LEFT: f64 = MARGIN + 31.0 * LETTER;
const PANEL: f64 = 220.0;
const GAP: f64 = 16.0;
/// Room for a figure beside the rightmost dot.
const FIGURE: f64 = 34.0;
