//! Ratios to ZeroMQ, each with its interval.

use super::scale::{Scale, short};
use super::svg::{Anchor, LETTER, MARGIN, Svg, family, legend};
use super::throughput::title;
use crate::case::Case;
use crate::compare::{BARS, Bar, Row};
use crate::statistics::Ratio;

/// Draws the ratios of all contenders for payloads of 64 bytes and for mixed sizes, and of the engine alone for larger
/// payloads. A separate mark shows the ratio that the engine has promised.
pub fn draw(rows: &[Row]) -> String {
    let sections = [(Case::RoundTrip, &[64][..])].into_iter();
    let sections = sections.chain(Case::ALL[1..].iter().map(|case| (*case, case.sizes())));
    let sections = sections.flat_map(|(case, sizes)| sizes.iter().map(move |size| (case, *size)));
    let sections = sections.map(|(case, size)| (case, size, ratios(rows, case, size)));
    let sections: Vec<_> = sections.filter(|(.., ratios)| !ratios.is_empty()).collect();
    let lines: usize = sections.iter().map(|(.., ratios)| ratios.len()).sum();
    let bottom = TOP + ROW * lines as f64 + SECTION * sections.len() as f64;
    let mut svg = Svg::new(
        WIDTH,
        bottom + 64.0,
        "Multiples of ZeroMQ in the same rounds",
        "median and 95 % confidence interval, logarithmic; a red stroke is what the engine has to reach",
    );
    let ends = sections.iter().flat_map(|(.., ratios)| ratios.iter().flat_map(|(_, ratio)| [ratio.low, ratio.high]));
    let scale = Scale::around(ends.chain([0.5, 2.0]), LEFT, RIGHT);
    for mark in scale.marks() {
        let class = if mark == 1.0 { "even" } else { "grid" };
        svg.line((scale.at(mark), TOP), (scale.at(mark), bottom), class);
        svg.text(scale.at(mark), bottom + 16.0, Anchor::Middle, "soft", &format!("{} ×", short(mark)));
    }
    let mut y = TOP;
    for (case, size, ratios) in sections {
        let what = match case {
            Case::RoundTrip => format!("{}, p50 (less is better)", title(case, size)),
            _ => format!("{}, messages/s (more is better)", title(case, size)),
        };
        svg.text(MARGIN, y + 16.0, Anchor::Start, "ink", &what);
        y += SECTION;
        for (name, ratio) in ratios {
            let (middle, family) = (y + ROW / 2.0, family(name));
            svg.text(LEFT - 10.0, middle + 4.0, Anchor::End, "ink", name);
            if let Some(bound) = promise(case, size, name) {
                svg.line((scale.at(bound), y + 2.0), (scale.at(bound), y + ROW - 2.0), "bound");
            }
            svg.line((scale.at(ratio.low), middle), (scale.at(ratio.high), middle), &format!("line {family}"));
            svg.dot((scale.at(ratio.median), middle), &format!("{family} fill"));
            svg.text(RIGHT + 10.0, middle + 4.0, Anchor::Start, "ink", &ratio.to_string());
            y += ROW;
        }
    }
    legend(&mut svg, MARGIN, bottom + 46.0);
    svg.finish()
}

/// Returns the ratios to draw, the best first.
fn ratios(rows: &[Row], case: Case, size: usize) -> Vec<(&str, Ratio)> {
    let shown = |row: &&Row| {
        (row.case, row.size) == (case, size)
            && row.contender != "zmq"
            && (size == 64 || case == Case::Mixed || row.contender.starts_with("cluster-"))
    };
    let of = rows.iter().filter(shown).filter_map(|row| Some((row.contender.as_str(), row.ratio("zmq", rows)?)));
    let mut ratios: Vec<(&str, Ratio)> = of.collect();
    ratios.sort_by(|(_, left), (_, right)| match case {
        Case::RoundTrip => left.median.total_cmp(&right.median),
        _ => right.median.total_cmp(&left.median),
    });
    ratios
}

fn promise(case: Case, size: usize, contender: &str) -> Option<f64> {
    let same = |bar: &&Bar| {
        (bar.case, bar.size, bar.contender, bar.against, bar.quantity) == (case, size, contender, "zmq", None)
    };
    BARS.iter().find(same).map(|bar| bar.bound.limit())
}

const ROW: f64 = 19.0;
const SECTION: f64 = 26.0;
const TOP: f64 = 60.0;
const LEFT: f64 = MARGIN + 31.0 * LETTER;
const RIGHT: f64 = LEFT + 470.0;
const WIDTH: f64 = RIGHT + 170.0;
