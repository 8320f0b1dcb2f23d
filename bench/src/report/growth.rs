//! Throughput by the number of servers, and by the number of event loops: a panel for each.

use super::scale::{Scale, short};
use super::svg::{Anchor, LETTER, MARGIN, Svg, apart, family, legend};
use crate::scaling::{Axis, Row, SERVERS};

/// Draws all contenders over both axes of growth. The two panels share the scale of messages per second.
pub fn draw(rows: &[Row]) -> String {
    let mut svg = Svg::new(
        WIDTH,
        BOTTOM + 88.0,
        "All to all, 64 bytes",
        "messages each second that arrive at all servers together, logarithmic; median and range of the rounds; more is better",
    );
    let ends = rows.iter().map(Row::spread).flat_map(|spread| [spread.min(), spread.max()]);
    let up = Scale::around(ends, BOTTOM, TOP);
    let loops = format!("event loops, shared by {SERVERS} servers");
    for (axis, left, title) in
        [(Axis::Servers, LEFT, "servers, with a loop for each core"), (Axis::Loops, SECOND, &loops)]
    {
        let shown: Vec<&Row> = rows.iter().filter(|row| row.axis == axis).collect();
        let across = Scale::around(shown.iter().map(|row| row.at as f64), left, left + PANEL);
        for mark in up.marks() {
            svg.line((left, up.at(mark)), (left + PANEL, up.at(mark)), "grid");
            if axis == Axis::Servers {
                svg.text(left - 6.0, up.at(mark) + 4.0, Anchor::End, "soft", &short(mark));
            }
        }
        let mut ticks: Vec<usize> = shown.iter().map(|row| row.at).collect();
        ticks.sort_unstable();
        ticks.dedup();
        for tick in ticks {
            let x = across.at(tick as f64);
            svg.line((x, TOP), (x, BOTTOM), "grid");
            svg.text(x, BOTTOM + 16.0, Anchor::Middle, "soft", &tick.to_string());
        }
        svg.text(left + PANEL / 2.0, BOTTOM + 36.0, Anchor::Middle, "soft", title);
        let mut names: Vec<&str> = Vec::new();
        shown.iter().for_each(|row| {
            if !names.contains(&&*row.contender) {
                names.push(&row.contender)
            }
        });
        let mut labels = Vec::new();
        for name in names {
            let mut points: Vec<&&Row> = shown.iter().filter(|row| row.contender == name).collect();
            points.sort_by_key(|row| row.at);
            let placed: Vec<(f64, f64)> =
                points.iter().map(|row| (across.at(row.at as f64), up.at(row.spread().median()))).collect();
            svg.curve(&placed, &style(name));
            for (row, point) in points.iter().zip(&placed) {
                let (spread, family) = (row.spread(), family(name));
                svg.line(
                    (point.0, up.at(spread.min())),
                    (point.0, up.at(spread.max())),
                    &format!("line thin {family}"),
                );
                svg.dot(*point, &format!("{family} fill"));
            }
            labels.extend(placed.last().map(|(_, y)| (*y, name)));
        }
        if axis == Axis::Loops {
            apart(&mut labels, BOTTOM);
            for (y, name) in labels {
                svg.line((left + PANEL + 6.0, y), (left + PANEL + 24.0, y), &style(name));
                svg.text(left + PANEL + 30.0, y + 4.0, Anchor::Start, "ink", name);
            }
        }
    }
    legend(&mut svg, MARGIN, BOTTOM + 70.0);
    svg.finish()
}

/// Returns the style of a curve. Contenders that share a colour differ in their strokes.
fn style(contender: &str) -> String {
    format!("line {}{}", family(contender), if contender.ends_with("-owned") { " second" } else { "" })
}

const LEFT: f64 = 64.0;
const PANEL: f64 = 300.0;
const SECOND: f64 = LEFT + PANEL + 40.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 330.0;
const WIDTH: f64 = SECOND + PANEL + 40.0 + 24.0 * LETTER;
