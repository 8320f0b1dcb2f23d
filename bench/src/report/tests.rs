use std::env;
use std::process;

use super::*;
use crate::case::Case;
use crate::compare::Row;
use crate::contenders;
use crate::noise::Noise;
use crate::open_loop::{Point, Tail};
use crate::raft_mix::{Heartbeats, Outcome};
use crate::statistics::Spread;

/// Folder of reports that is removed when dropped.
struct Reports(std::path::PathBuf);

impl Reports {
    fn with(name: &str, releases: &[&str]) -> Self {
        let reports = Self(env::temp_dir().join(format!("cluster-report-{name}-{}", process::id())));
        for release in releases {
            let folder = reports.0.join(release);
            fs::create_dir_all(&folder).unwrap();
            comparison().write(&folder.join(COMPARISON)).unwrap();
            lateness().write(&folder.join(LATENESS)).unwrap();
            mix().write(&folder.join(MIX)).unwrap();
            growing().write(&folder.join(SCALING)).unwrap();
        }
        reports
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const ODD: &str = "someone <&> \"else\"";
const QUIET: Noise = Noise { others: 0.02, stolen: 0.0 };

/// Returns a comparison of every contender in all its cases, with figures far apart, and of one whose name XML has to
/// escape.
fn comparison() -> Comparison {
    let mut rows = Vec::new();
    let cells = Case::ALL.into_iter().flat_map(|case| case.sizes().iter().map(move |&size| (case, size)));
    for (case, size) in cells {
        let entrants = contenders::ALL.iter().filter(|contender| contender.cases.contains(&case));
        for (index, contender) in entrants.enumerate() {
            let base = 1.5_f64.powi(index as i32);
            let rounds = |factor: f64| Spread::of([1.0, 1.1, 0.9].map(|round| base * factor * round).to_vec());
            let figures = match case {
                Case::RoundTrip => vec![
                    ("p50_us", rounds(1.0)),
                    ("p99_us", rounds(2.0)),
                    ("p999_us", rounds(4.0)),
                    (compare::PROCESSOR, rounds(100.0)),
                ],
                _ => vec![
                    ("messages_per_second", rounds(1e6 / size as f64)),
                    ("bytes_per_second", rounds(1e6)),
                    (compare::PROCESSOR, rounds(100.0)),
                ],
            };
            let counts = [(compare::SYSTEM_CALLS, 0.01), (compare::WAITS, 0.002)];
            let counts = counts.into_iter().map(|(name, count)| (name.to_owned(), count * base)).collect();
            rows.push(Row { case, size, contender: contender.name.to_owned(), rounds: 3, figures, counts });
        }
    }
    let odd: Vec<Row> = rows.iter().filter(|row| row.contender == "zmq").cloned().collect();
    rows.extend(odd.into_iter().map(|row| Row { contender: ODD.to_owned(), ..row }));
    let command = "cluster-bench report".to_owned();
    let failures = vec!["one way, 64 bytes, someone: 10 messages lost".to_owned()];
    Comparison { machine: Machine::look(), command, seed: 1, rounds: 3, processes: false, noise: QUIET, failures, rows }
}

fn lateness() -> Lateness {
    let tail = Tail { p50_us: 10.0, p99_us: 50.0, p999_us: 90.0, p9999_us: 400.0 };
    let curve = [(0.0, 1.0), (50.0, 10.0), (90.0, 20.0), (99.0, 50.0), (99.9, 90.0), (99.99, 400.0), (100.0, 9000.0)];
    let curve: Vec<Point> = curve.into_iter().map(|(percentile, us)| Point { percentile, us }).collect();
    let row =
        |name: &&str| open_loop::Row { contender: (*name).to_owned(), rounds: vec![tail; 3], curve: curve.clone() };
    let rows = open_loop::CONTENDERS.iter().map(row).collect();
    Lateness { machine: Machine::look(), seed: 1, noise: QUIET, rate: 1_000_000, size: 64, failures: Vec::new(), rows }
}

fn mix() -> Mix {
    let beats = Heartbeats { count: 100, p50_us: 80.0, p99_us: 120.0, p999_us: 200.0, max_us: 300.0 };
    let result = Outcome { idle: beats, loaded: beats, appends: 7, snapshots: 3 };
    Mix { machine: Machine::look(), noise: QUIET, result }
}

fn growing() -> Scaling {
    let on = |axis, at: [usize; 3]| at.map(|at| (axis, at));
    let points = [on(scaling::Axis::Servers, [2, 4, 16]), on(scaling::Axis::Loops, [1, 2, 3])].concat();
    let row = |(axis, at): (scaling::Axis, usize)| {
        scaling::CONTENDERS.iter().map(move |name| scaling::Row {
            contender: (*name).to_owned(),
            axis,
            at,
            messages_per_second: [1e6, 1.1e6, 0.9e6].map(|rate| rate * at as f64).to_vec(),
        })
    };
    let rows = points.into_iter().flat_map(row).collect();
    Scaling { machine: Machine::look(), seed: 1, noise: QUIET, failures: Vec::new(), rows }
}

/// Returns all text of a drawing, which has to be well-formed.
fn texts(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).unwrap();
    assert_eq!(document.root_element().tag_name().name(), "svg");
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    let texts = document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    texts.filter_map(|node| node.text().map(str::to_owned)).collect()
}

/// Returns the files beside the page that the page embeds or links.
fn links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.starts_with("../")).collect()
}

#[test]
fn every_contender_is_named_in_its_charts() {
    let reports = Reports::with("names", &["0.1.0"]);
    render(&reports.0, "0.1.0").unwrap();
    let chart = |name: &str| texts(&reports.text(&format!("0.1.0/{name}")));
    let (round_trip, one_way, ratios, curves) = (chart(BARS), chart(THROUGHPUT), chart(MULTIPLES), chart(CURVES));
    let (patterns, growth) = (chart(PATTERNS), chart(GROWTH));
    assert!(scaling::CONTENDERS.iter().all(|name| growth.iter().any(|text| text == name)));
    for contender in contenders::ALL {
        let own = if contender.cases.contains(&Case::RoundTrip) { &round_trip } else { &one_way };
        let named = |texts: &[String]| texts.iter().any(|text| text == contender.name);
        assert!(contender.cases.len() < 2 || named(&patterns), "{} is not among the patterns", contender.name);
        assert!(named(own), "{} is not in the chart of its case", contender.name);
        assert!(contender.name == "zmq" || named(&ratios), "{} is not among the ratios", contender.name);
    }
    assert!([round_trip, one_way, ratios].iter().all(|texts| texts.iter().any(|text| text == ODD)));
    assert!(open_loop::CONTENDERS.iter().all(|name| curves.iter().any(|text| text == name)));
}

#[test]
fn the_page_links_every_file_and_every_link_leads_somewhere() {
    let reports = Reports::with("links", &["0.1.0"]);
    render(&reports.0, "0.1.0").unwrap();
    let page = reports.text("0.1.0/README.md");
    let links = links(&page);
    for file in fs::read_dir(reports.0.join("0.1.0")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(name == PAGE || links.contains(&name.as_str()), "{name} is not linked");
    }
    assert!(links.iter().all(|link| reports.0.join("0.1.0").join(link).exists()), "{links:?}");
    assert!(page.contains("**FAILED**: one way, 64 bytes, someone: 10 messages lost"));
    assert!(page.contains("| 64 B round trip, inline parked | cluster-inline-parked | tcp-blocking |"));
}

#[test]
fn what_was_written_by_hand_stays() {
    let reports = Reports::with("hand", &["0.1.0"]);
    let index = reports.0.join(PAGE);
    render(&reports.0, "0.1.0").unwrap();
    let page = reports.text("0.1.0/README.md");
    fs::write(reports.0.join("0.1.0/README.md"), format!("{page}## Tried and reverted\n")).unwrap();
    fs::write(&index, format!("Before.\n{}After.\n", reports.text(PAGE))).unwrap();
    let before = reports.text(PAGE);
    render(&reports.0, "0.1.0").unwrap();
    assert_eq!(reports.text("0.1.0/README.md"), format!("{page}## Tried and reverted\n"));
    assert_eq!(reports.text(PAGE), before);
}

#[test]
fn the_index_lists_every_release() {
    let reports = Reports::with("index", &["0.2.0", "0.1.0", "0.10.0"]);
    fs::create_dir_all(reports.0.join("first")).unwrap();
    render(&reports.0, "0.2.0").unwrap();
    let index = reports.text(PAGE);
    let place = |release: &str| index.find(&format!("| [{release}]({release}/README.md) |")).unwrap();
    assert!(place("0.1.0") < place("0.2.0") && place("0.2.0") < place("0.10.0"));
    let trend = texts(&reports.text(TREND));
    assert!(["0.1.0", "0.10.0"].iter().all(|release| trend.iter().any(|text| text == release)));
}

#[test]
fn an_index_without_its_marks_is_left_alone() {
    let reports = Reports::with("marks", &["0.1.0"]);
    fs::write(reports.0.join(PAGE), "By hand.\n").unwrap();
    let error = render(&reports.0, "0.1.0").unwrap_err().to_string();
    assert!(error.contains("is missing; add it"), "{error}");
    assert_eq!(reports.text(PAGE), "By hand.\n");
}

#[test]
fn raw_figures_can_be_drawn_again_elsewhere() {
    let reports = Reports::with("again", &["0.1.0"]);
    let (from, to) = (reports.0.join("0.1.0"), reports.0.join("0.1.1"));
    adopt(&from, &to).unwrap();
    render(&reports.0, "0.1.1").unwrap();
    adopt(&to, &to).unwrap();
    render(&reports.0, "0.1.1").unwrap();
    assert_eq!(reports.text("0.1.0/compare.json"), reports.text("0.1.1/compare.json"));
}

#[test]
fn figures_without_results_still_make_a_report() {
    let reports = Reports::with("empty", &["0.1.0"]);
    let folder = reports.0.join("0.1.0");
    Comparison { rows: Vec::new(), ..comparison() }.write(&folder.join(COMPARISON)).unwrap();
    Lateness { rows: Vec::new(), ..lateness() }.write(&folder.join(LATENESS)).unwrap();
    fs::remove_file(folder.join(MIX)).unwrap();
    fs::remove_file(folder.join(SCALING)).unwrap();
    render(&reports.0, "0.1.0").unwrap();
    for name in [BARS, THROUGHPUT, PATTERNS, MULTIPLES, CURVES, GROWTH] {
        texts(&reports.text(&format!("0.1.0/{name}")));
    }
    texts(&reports.text(TREND));
    assert!(reports.text("0.1.0/README.md").contains("not measured: 64 B round trip, inline parked"));
}
