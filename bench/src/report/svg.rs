//! SVG drawing with the few shapes that charts consist of.
//!
//! Every drawing has a background of its own, so that it is readable on any page, and its colours as classes with
//! values for a dark page: an image inside a page sees neither the page's colours nor its fonts.

use std::fmt::Write;

/// Drawing under construction.
pub struct Svg {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

/// Point of a text that its position refers to.
#[derive(Debug, Clone, Copy)]
pub enum Anchor {
    /// Left end of the text.
    Start,
    /// Middle of the text.
    Middle,
    /// Right end of the text.
    End,
}

impl Svg {
    /// Returns an empty drawing with a title, and a line of explanation below the title.
    pub fn new(width: f64, height: f64, title: &str, explanation: &str) -> Self {
        let mut svg = Self { width, height, title: title.to_owned(), body: String::new() };
        svg.text(MARGIN, 26.0, Anchor::Start, "ink title", title);
        svg.text(MARGIN, 44.0, Anchor::Start, "soft", explanation);
        svg
    }

    /// Draws a text whose baseline is at `y`.
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.push(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>"));
    }

    /// Draws a straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.push(&format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"));
    }

    /// Draws a line through points.
    pub fn curve(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.push(&format!("<polyline points=\"{}\" class=\"{class}\"/>", points.join(" ")));
    }

    /// Draws a filled box.
    pub fn bar(&mut self, (x, y): (f64, f64), width: f64, height: f64, class: &str) {
        let width = width.max(0.5);
        self.push(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"1.5\" class=\"{class}\"/>"
        ));
    }

    /// Draws a dot.
    pub fn dot(&mut self, (x, y): (f64, f64), class: &str) {
        self.push(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" class=\"{class}\"/>"));
    }

    /// Returns the drawing as the text of an SVG file.
    pub fn finish(self) -> String {
        let Self { width, height, title, body } = self;
        let title = escape(&title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" class=\"ground\"/>\n{body}</svg>\n"
        )
    }

    fn push(&mut self, element: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }
}

/// Returns the family of a contender, as the class that has its colour.
pub fn family(contender: &str) -> &'static str {
    match contender {
        name if name.starts_with("cluster-") => "ours",
        "zmq" | "zmq-plain" => "zmq",
        name if name.starts_with("tcp-") || name.starts_with("spsc-") || name == "memcpy" => "floor",
        _ => "other",
    }
}

/// Draws the legend of the colours, in one line from `x` on.
pub fn legend(svg: &mut Svg, mut x: f64, y: f64) {
    for (class, text) in
        [("ours", "cluster"), ("zmq", "ZeroMQ"), ("other", "others"), ("floor", "floors: kernel TCP, memory")]
    {
        svg.bar((x, y - 9.0), 10.0, 10.0, &format!("{class} fill"));
        svg.text(x + 15.0, y, Anchor::Start, "soft", text);
        x += 34.0 + text.chars().count() as f64 * LETTER;
    }
}

/// Moves names up or down until none covers another and none is below `bottom`.
pub fn apart(names: &mut [(f64, &str)], bottom: f64) {
    names.sort_by(|left, right| left.0.total_cmp(&right.0));
    for index in 1..names.len() {
        names[index].0 = names[index].0.max(names[index - 1].0 + LINE);
    }
    let mut limit = bottom;
    for name in names.iter_mut().rev() {
        name.0 = name.0.min(limit);
        limit = name.0 - LINE;
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Free space at the left and at the right, in pixels.
pub const MARGIN: f64 = 16.0;
/// Average width of a letter, in pixels.
pub const LETTER: f64 = 6.3;

/// Least distance between two lines of text, in pixels.
const LINE: f64 = 15.0;

const STYLE: &str = "\
text { font-family: system-ui, 'DejaVu Sans', Verdana, sans-serif; font-size: 11px; }
.title { font-size: 15px; font-weight: bold; }
.ground { fill: #ffffff; }
.ink { fill: #1f2328; }
.soft { fill: #59636e; }
.grid { stroke: #d1d9e0; stroke-width: 1; }
.even { stroke: #59636e; stroke-width: 1; stroke-dasharray: 4 3; }
.bound { stroke: #cf222e; stroke-width: 2; }
.line { fill: none; stroke-width: 2; }
.thin { stroke-width: 1; stroke-opacity: 0.5; }
.second { stroke-dasharray: 6 3; }
.pale { fill-opacity: 0.35; }
.ours { stroke: #0969da; } .ours.fill { fill: #0969da; stroke: none; }
.zmq { stroke: #bc4c00; } .zmq.fill { fill: #bc4c00; stroke: none; }
.other { stroke: #1a7f37; } .other.fill { fill: #1a7f37; stroke: none; }
.floor { stroke: #818b98; } .floor.fill { fill: #818b98; stroke: none; }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117; }
.ink { fill: #f0f6fc; }
.soft { fill: #9198a1; }
.grid { stroke: #3d444d; }
.even { stroke: #9198a1; }
.bound { stroke: #ff7b72; }
.ours { stroke: #4493f8; } .ours.fill { fill: #4493f8; }
.zmq { stroke: #f0883e; } .zmq.fill { fill: #f0883e; }
.other { stroke: #3fb950; } .other.fill { fill: #3fb950; }
.floor { stroke: #9198a1; } .floor.fill { fill: #9198a1; }
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_cover_each_other() {
        let (top, bottom) = (64.0, 350.0);
        let mut names = [(bottom, "a"), (bottom - 1.0, "b"), (bottom - 2.0, "c"), (top, "d")];
        apart(&mut names, bottom);
        assert!(names.windows(2).all(|pair| pair[1].0 - pair[0].0 >= LINE));
        assert!(names.iter().all(|(y, _)| (top..=bottom).contains(y)));
    }
}
