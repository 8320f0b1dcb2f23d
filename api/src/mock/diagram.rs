//! The history as a sequence diagram, in SVG.
//!
//! Time runs down the page, but not to scale: each event has room, and a long pause is not much longer than a short
//! one. The times are at the left margin.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use super::history::{Entry, Fate, History, Sent};
use crate::Pid;

impl History {
    /// Draws the history as an SVG sequence diagram. Time runs down the page, each server is a line, and each message
    /// is an arrow. It suits some dozens of messages: see [`between`](History::between) and [`among`](History::among).
    pub fn to_svg(&self) -> String {
        self.to_svg_with(Sent::label)
    }

    /// Draws the history as [`to_svg`](History::to_svg) does, with the text that `label` returns beside each message.
    ///
    /// ```
    /// # let cluster = cluster::mock::Cluster::new(1);
    /// let svg = cluster.history().to_svg_with(|sent| format!("{} bytes", sent.bytes));
    /// ```
    pub fn to_svg_with(&self, label: impl Fn(&Sent) -> String) -> String {
        draw(self, &label)
    }
}

impl Sent {
    /// Default text beside a message.
    fn label(&self) -> String {
        let again = if self.is_duplicate { " again" } else { "" };
        format!("#{} {}{again}", self.msg_id, self.excerpt())
    }
}

/// Draws a history, with the text that `label` returns beside each message.
fn draw(history: &History, label: &dyn Fn(&Sent) -> String) -> String {
    let drawn = &history.entries[..history.entries.len().min(MOST)];
    let plan = Plan::new(drawn);
    let (width, height) = (plan.right() + RIGHT, plan.bottom + BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    line(
        &mut svg,
        &format!("<text x=\"12\" y=\"20\" fill=\"{MUTED}\">seed {}{}</text>", history.seed, left_out(history)),
    );
    plan.lives(drawn, &mut svg);
    let mut labelled = None;
    for (index, entry) in drawn.iter().enumerate() {
        let y = plan.begin[index];
        if labelled != Some(entry.at()) {
            labelled = Some(entry.at());
            let seconds = entry.at().as_secs_f64();
            line(&mut svg, &format!("<text x=\"12\" y=\"{}\" fill=\"{MUTED}\">{seconds:.6}</text>", y + 4.0));
        }
        match entry {
            Entry::Sent(sent) => plan.arrow(index, sent, &mut svg),
            Entry::Fault { fault, .. } => plan.fault(y, &fault.to_string(), &mut svg),
            Entry::Started { pid, .. } => plan.mark(y, *pid, "starts", ARRIVED, &mut svg),
            Entry::Stopped { pid, .. } => plan.mark(y, *pid, "stops", GONE, &mut svg),
        }
    }
    for (index, entry) in drawn.iter().enumerate() {
        if let Entry::Sent(sent) = entry
            && plan.first[index]
        {
            plan.label(index, sent, &label(sent), &mut svg);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Layout of the diagram: the coordinates of servers and entries.
struct Plan {
    columns: BTreeMap<Pid, f64>,
    /// Vertical position where each entry begins, and, in `end`, where a message ends.
    begin: Vec<f64>,
    end: Vec<f64>,
    /// Tells for each entry if it is the first of a message to several recipients.
    first: Vec<bool>,
    bottom: f64,
}

/// Point in time that needs a row of its own.
#[derive(Clone, Copy)]
enum Point {
    Begin(usize),
    End(usize),
}

impl Plan {
    fn new(entries: &[Entry]) -> Plan {
        let mut pids = BTreeSet::new();
        let mut points = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            points.push((entry.at(), Point::Begin(index)));
            match entry {
                Entry::Sent(sent) => {
                    pids.extend([sent.from, sent.to]);
                    if let Some(end) = end_of(sent).filter(|end| *end > sent.at) {
                        points.push((end, Point::End(index)));
                    }
                }
                Entry::Started { pid, .. } | Entry::Stopped { pid, .. } => _ = pids.insert(*pid),
                Entry::Fault { .. } => {}
            }
        }
        // The sort is stable: events of one moment keep their order.
        points.sort_by_key(|(at, _)| *at);
        let columns = pids.into_iter().enumerate().map(|(index, pid)| (pid, LEFT + COLUMN * index as f64)).collect();
        let mut plan = Plan {
            columns,
            begin: vec![0.0; entries.len()],
            end: vec![0.0; entries.len()],
            first: vec![true; entries.len()],
            bottom: TOP,
        };
        plan.go_down(entries, &points);
        plan
    }

    fn go_down(&mut self, entries: &[Entry], points: &[(Duration, Point)]) {
        let mut y = TOP;
        let mut now = Duration::ZERO;
        let mut before: Option<usize> = None;
        for &(at, point) in points {
            y += pause(at.saturating_sub(now));
            now = at;
            match point {
                Point::Begin(index) => {
                    if let Some(before) = before.take_if(|before| same_message(&entries[*before], &entries[index])) {
                        // The message has several recipients: their arrows begin at one point and end one below the
                        // other.
                        self.begin[index] = self.begin[before];
                        self.end[index] = self.end[before] + FAN;
                        self.first[index] = false;
                    } else {
                        let beside = index > 0 && both_start(&entries[index - 1], &entries[index]);
                        y += if beside { 0.0 } else { ROW };
                        self.begin[index] = y;
                        self.end[index] = y + if matches!(entries[index], Entry::Sent(_)) { SLANT } else { 0.0 };
                    }
                    y = y.max(self.end[index]);
                    before = Some(index);
                }
                Point::End(index) => {
                    y += FAN * 2.0;
                    self.end[index] = y;
                    before = None;
                }
            }
        }
        self.bottom = y;
    }

    fn right(&self) -> f64 {
        LEFT + COLUMN * (self.columns.len().max(1) - 1) as f64
    }

    /// Draws a line for each server, thick where the server runs.
    fn lives(&self, entries: &[Entry], svg: &mut String) {
        for (&pid, &x) in &self.columns {
            let bottom = self.bottom + BOTTOM / 2.0;
            let changes: Vec<(f64, bool)> = entries
                .iter()
                .enumerate()
                .filter_map(|(index, entry)| match entry {
                    Entry::Started { pid: of, .. } if *of == pid => Some((self.begin[index], true)),
                    Entry::Stopped { pid: of, .. } if *of == pid => Some((self.begin[index], false)),
                    _ => None,
                })
                .collect();
            let head = TOP - 18.0;
            line(
                svg,
                &format!(
                    "<rect x=\"{}\" y=\"{}\" width=\"56\" height=\"20\" rx=\"4\" fill=\"#eef2f7\" stroke=\"#94a3b8\"/>\
                 <text x=\"{x}\" y=\"{head}\" text-anchor=\"middle\" font-weight=\"bold\" fill=\"{INK}\">{pid}</text>",
                    x - 28.0,
                    head - 14.0,
                ),
            );
            line(
                svg,
                &format!(
                    "<line x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#cbd5e1\" stroke-dasharray=\"2 4\"/>",
                    head + 6.0
                ),
            );
            // A server without a recorded start was running before.
            let mut since = (!changes.first().is_some_and(|(_, starts)| *starts)).then_some(head + 6.0);
            for (y, starts) in changes.iter().copied().chain([(bottom, false)]) {
                if let Some(since) = since {
                    line(
                        svg,
                        &format!(
                            "<line x1=\"{x}\" y1=\"{since}\" x2=\"{x}\" y2=\"{y}\" stroke=\"#94a3b8\" stroke-width=\"2\"/>"
                        ),
                    );
                }
                since = starts.then_some(y);
            }
        }
    }

    fn arrow(&self, index: usize, sent: &Sent, svg: &mut String) {
        let (from, to) = (self.columns[&sent.from], self.columns[&sent.to]);
        let (begin, end) = (self.begin[index], self.end[index]);
        let (color, dash, reach) = match sent.fate {
            Fate::Delivered { .. } => (ARRIVED, "", 1.0),
            Fate::Dropped { .. } => (GONE, " stroke-dasharray=\"5 3\"", LOST_REACH),
            Fate::Held => (WAITING, " stroke-dasharray=\"2 3\"", LOST_REACH),
            Fate::UnderWay => (MUTED, " stroke-dasharray=\"5 3\"", 1.0),
        };
        let (x, y) = (from + (to - from) * reach, begin + (end - begin) * reach);
        line(
            svg,
            &format!(
                "<line x1=\"{from}\" y1=\"{begin}\" x2=\"{x:.1}\" y2=\"{y:.1}\" stroke=\"{color}\" stroke-width=\"1.4\"{dash}/>"
            ),
        );
        let ahead = if to > from { 1.0 } else { -1.0 };
        match sent.fate {
            Fate::Delivered { .. } | Fate::UnderWay => {
                let turned = (end - begin).atan2(to - from).to_degrees();
                line(
                    svg,
                    &format!(
                        "<path d=\"M 0 0 l -8 -3.5 v 7 Z\" fill=\"{color}\" transform=\"translate({x} {y:.1}) rotate({turned:.1})\"/>"
                    ),
                );
            }
            Fate::Dropped { reason, .. } => {
                line(
                    svg,
                    &format!(
                        "<path d=\"M {} {} l 8 8 m 0 -8 l -8 8\" stroke=\"{color}\" stroke-width=\"1.8\"/>\
                     <text x=\"{}\" y=\"{}\" text-anchor=\"{}\" fill=\"{color}\" font-size=\"9\">{reason}</text>",
                        x - 4.0,
                        y - 4.0,
                        x + 8.0 * ahead,
                        y + 3.0,
                        if ahead > 0.0 { "start" } else { "end" },
                    ),
                );
            }
            Fate::Held => line(svg, &format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"3.5\" fill=\"{color}\"/>")),
        }
    }

    /// Writes the text of a message beside the point where its arrows begin, on white, so that arrows do not obscure
    /// it.
    fn label(&self, index: usize, sent: &Sent, text: &str, svg: &mut String) {
        let ahead = if sent.to > sent.from { 1.0 } else { -1.0 };
        let (x, y) = (self.columns[&sent.from] + 6.0 * ahead, self.begin[index] - 3.0);
        let anchor = if ahead > 0.0 { "start" } else { "end" };
        let text = escape(text);
        for paint in
            ["stroke=\"#ffffff\" stroke-width=\"4\" stroke-linejoin=\"round\"".to_owned(), format!("fill=\"{INK}\"")]
        {
            line(
                svg,
                &format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"10\" {paint}>{text}</text>"),
            );
        }
    }

    fn fault(&self, y: f64, what: &str, svg: &mut String) {
        let (left, right) = (LEFT - 30.0, self.right() + RIGHT - 12.0);
        line(
            svg,
            &format!(
                "<rect x=\"{left}\" y=\"{}\" width=\"{}\" height=\"17\" fill=\"#fef3c7\" stroke=\"#f59e0b\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"#78350f\">{}</text>",
                y - 8.5,
                right - left,
                left + 8.0,
                y + 4.0,
                escape(what),
            ),
        );
    }

    fn mark(&self, y: f64, pid: Pid, what: &str, color: &str, svg: &mut String) {
        let x = self.columns[&pid];
        line(
            svg,
            &format!(
                "<rect x=\"{}\" y=\"{}\" width=\"9\" height=\"9\" fill=\"{color}\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"{color}\" font-size=\"10\">{what}</text>",
                x - 4.5,
                y - 4.5,
                x + 9.0,
                y + 4.0,
            ),
        );
    }
}

fn line(svg: &mut String, what: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(svg, "{what}");
}

fn end_of(sent: &Sent) -> Option<Duration> {
    match sent.fate {
        Fate::Delivered { at } | Fate::Dropped { at, .. } => Some(at),
        Fate::Held | Fate::UnderWay => None,
    }
}

/// Returns whether the second entry is the message of the first one to another recipient.
fn same_message(before: &Entry, entry: &Entry) -> bool {
    match (before, entry) {
        (Entry::Sent(a), Entry::Sent(b)) => {
            (a.at, a.from, a.msg_id, a.lane) == (b.at, b.from, b.msg_id, b.lane) && a.to != b.to && a.msg == b.msg
        }
        _ => false,
    }
}

/// Returns whether two servers start at one time.
fn both_start(before: &Entry, entry: &Entry) -> bool {
    matches!((before, entry), (Entry::Started { at: a, .. }, Entry::Started { at: b, .. }) if a == b)
}

/// Height of a pause: a little more for each power of ten of microseconds.
fn pause(pause: Duration) -> f64 {
    3.0 * (1.0 + pause.as_secs_f64() * 1e6).log10()
}

fn left_out(history: &History) -> String {
    let (before, after) = (history.forgotten, history.entries.len().saturating_sub(MOST));
    match (before, after) {
        (0, 0) => String::new(),
        _ => format!(" — not shown: {before} earlier entries, {after} later ones"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Most entries of a diagram. A larger one would not be readable.
const MOST: usize = 2000;

const LEFT: f64 = 130.0;
const TOP: f64 = 62.0;
const RIGHT: f64 = 110.0;
const BOTTOM: f64 = 40.0;
const COLUMN: f64 = 150.0;
const ROW: f64 = 22.0;
/// Vertical distance that the arrow of a message without delay falls.
const SLANT: f64 = 8.0;
const FAN: f64 = 6.0;
/// Fraction of the way that the arrow of an undelivered message covers.
const LOST_REACH: f64 = 0.6;

const INK: &str = "#1e293b";
const MUTED: &str = "#64748b";
const ARRIVED: &str = "#15803d";
const GONE: &str = "#dc2626";
const WAITING: &str = "#d97706";
