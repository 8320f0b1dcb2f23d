//! Throughput of traffic: messages per second, with a panel for each size or case.

use super::scale::{Scale, short};
use super::svg::{Anchor, LETTER, MARGIN, Svg, family, legend};
use crate::case::Case;
use crate::compare::Row;

/// Draws the one-way throughput of all contenders, with a panel for each size.
pub fn draw_sizes(rows: &[Row]) -> String {
    let mut sizes: Vec<usize> = rows.iter().filter(|row| row.case == Case::OneWay).map(|row| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let panels: Vec<(Case, usize)> = sizes.into_iter().map(|size| (Case::OneWay, size)).collect();
    draw(rows, &panels, "One way, by size of the payload")
}

/// Draws the throughput of all contenders in all other traffic, with a panel for each case.
pub fn draw_patterns(rows: &[Row]) -> String {
    let cases = Case::ALL.into_iter().filter(|case| !matches!(case, Case::RoundTrip | Case::OneWay));
    let panels = cases.flat_map(|case| case.sizes().iter().map(move |size| (case, *size)));
    let panels = panels.filter(|panel| rows.iter().any(|row| (row.case, row.size) == *panel)).collect::<Vec<_>>();
    draw(rows, &panels, "Several servers, and several sizes")
}

/// Draws a panel for each case and size. Contenders are in the order of the first panel, the fastest first.
fn draw(rows: &[Row], panels: &[(Case, usize)], heading: &str) -> String {
    let place = |row: &&Row| panels.iter().position(|panel| *panel == (row.case, row.size));
    let mut sorted: Vec<&Row> = rows.iter().filter(|row| place(row).is_some()).collect();
    sorted.sort_by(|left, right| {
        place(left).cmp(&place(right)).then(right.key().median().total_cmp(&left.key().median()))
    });
    let mut names: Vec<&str> = Vec::new();
    for row in sorted {
        if !names.contains(&row.contender.as_str()) {
            names.push(&row.contender);
        }
    }

    let bottom = TOP + ROW * names.len() as f64;
    let width = LEFT + (PANEL + GAP) * panels.len().max(1) as f64;
    let mut svg = Svg::new(
        width,
        bottom + 64.0,
        heading,
        "messages each second, logarithmic; median and range of the rounds; more is better",
    );
    for (index, name) in names.iter().enumerate() {
        svg.text(LEFT - 10.0, TOP + ROW * index as f64 + 14.0, Anchor::End, "ink", name);
    }
    for (panel, &(case, size)) in panels.iter().enumerate() {
        let left = LEFT + (PANEL + GAP) * panel as f64;
        let of_size: Vec<&Row> = rows.iter().filter(|row| (row.case, row.size) == (case, size)).collect();
        let ends = of_size.iter().flat_map(|row| [row.key().min(), row.key().max()]);
        let scale = Scale::around(ends, left, left + PANEL - FIGURE);
        svg.text(left, TOP - 8.0, Anchor::Start, "ink", &title(case, size));
        let mut free = left - FIGURE;
        for mark in scale.marks() {
            let x = scale.at(mark);
            svg.line((x, TOP), (x, bottom), "grid");
            // If two marks are too close for their labels, only the first is labelled.
            if x >= free {
                svg.text(x, bottom + 16.0, Anchor::Middle, "soft", &short(mark));
                free = x + FIGURE;
            }
        }
        for (index, name) in names.iter().enumerate() {
            let y = TOP + ROW * index as f64 + 10.0;
            let Some(row) = of_size.iter().find(|row| row.contender == *name) else {
                svg.text(left, y + 4.0, Anchor::Start, "soft", "–");
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

/// Returns the title of a case: its payload size and its pattern.
pub fn title(case: Case, size: usize) -> String {
    match case {
        Case::Mixed => format!("64 B to {} mixed", bytes(size)),
        _ => format!("{} {case}", bytes(size)),
    }
}

/// Formats a size as `64 B` or `1 KiB`.
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
/// Room for a figure beside the rightmost dot, in pixels.
const FIGURE: f64 = 34.0;
