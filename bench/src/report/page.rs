//! Page of a release, in Markdown for GitHub.

use std::fmt::Write;

use super::scale::short;
use super::throughput::bytes;
use super::{
    BARS, COMPARISON, CURVES, GROWTH, HISTOGRAMS, LATENESS, MIX, MULTIPLES, PATTERNS, Raw, SCALING, THROUGHPUT,
};
use crate::case::Case;
use crate::compare::{self, Row, Verdict};
use crate::documents::{Mix, Scaling};
use crate::noise::Noise;
use crate::open_loop;
use crate::raft_mix;
use crate::scaling;
use crate::table::Table;

/// Writes the page. `notes` are written by hand and end the page.
pub(super) fn write(release: &str, raw: &Raw, notes: &str) -> String {
    let Raw { comparison, lateness, mix, scaling, has_histograms } = raw;
    let rows = &comparison.rows;
    let mut page = format!("# Performance of {release}\n\n");
    page += INTRODUCTION;
    page += &format!("![Multiples of ZeroMQ]({MULTIPLES})\n\n");
    page += "## What the engine has to show\n\n";
    page += &bars(raw);
    page +=
        &format!("\n## Round trips\n\n![Round trips]({BARS})\n\n{}", folded(&compare::tables(Case::RoundTrip, rows)));
    page += &format!("\n## One way\n\n![One way]({THROUGHPUT})\n\n{}", folded(&compare::tables(Case::OneWay, rows)));
    page += &format!("\n## Several servers, and several sizes\n\n![Several servers]({PATTERNS})\n\n{PATTERNS_TEXT}");
    for case in Case::ALL.into_iter().filter(|case| !matches!(case, Case::RoundTrip | Case::OneWay)) {
        page += &format!("\n{}", folded(&compare::tables(case, rows)));
    }
    page += &format!("\n## What a message costs\n\n{COSTS_TEXT}");
    for case in Case::ALL {
        page +=
            &format!("\n<details><summary>{case}</summary>\n\n{}\n</details>\n", compare::costs(case, rows).markdown());
    }
    page += &format!(
        "\n## At a fixed rate\n\n{} messages of {} each second, timed from when each was due. The other\n\
         contenders fill a buffer before they send, and cannot be asked for a rate.\n\n\
         ![Percentile curves]({CURVES})\n\n{}",
        short(lateness.rate as f64),
        bytes(lateness.size),
        open_loop::table(&lateness.rows).markdown()
    );
    page += "\n## How throughput grows\n\n";
    page += &match scaling {
        Some(scaling) => {
            format!("{GROWTH_TEXT}![Scaling]({GROWTH})\n\n{}", folded(&scaling::table(&scaling.rows)))
        }
        None => format!("Not measured: [an empty chart]({GROWTH}).\n"),
    };
    page += "\n## Heartbeats beside appends and snapshots\n\n";
    page += &match mix {
        Some(mix) => format!("```text\n{}```\n", ended(&mix.result.to_string())),
        None => "Not measured.\n".to_owned(),
    };
    page += &format!("\n## How it was measured\n\n```sh\n{}\n```\n\n", comparison.command);
    page += &format!("```text\n{}```\n\n", ended(&comparison.machine.to_string()));
    page += &noise(raw);
    let failures = scaling.iter().flat_map(|scaling| &scaling.failures);
    for failure in comparison.failures.iter().chain(&lateness.failures).chain(failures) {
        page += &format!("\n- **FAILED**: {failure}");
    }
    page += &format!("\n\nRaw figures: [comparison]({COMPARISON}), [percentile curves]({LATENESS})");
    for (there, name, file) in [
        (mix.is_some(), "heartbeats", MIX),
        (scaling.is_some(), "scaling", SCALING),
        (*has_histograms, "histograms in HdrHistogram's format", HISTOGRAMS),
    ] {
        if there {
            page += &format!(", [{name}]({file})");
        }
    }
    page += ".\n\n";
    format!("{page}{NOTES}\n{notes}")
}

/// Returns the notes that were written by hand into an earlier version of the page: the text below the mark.
pub(super) fn notes(page: &str) -> &str {
    page.split_once(NOTES).map_or("", |(_, notes)| notes.strip_prefix('\n').unwrap_or(notes))
}

/// Writes all bars, and lists those that were missed or not measured.
fn bars(Raw { comparison, lateness, mix, .. }: &Raw) -> String {
    let rows = &comparison.rows;
    let mut text = compare::verdicts(rows).markdown();
    let lateness = open_loop::ratio("cluster-dedicated-fast", &lateness.rows);
    let heartbeats = mix.as_ref().map(|mix| mix.result.ratio());
    let kept = compare::BARS.iter().filter(|bar| matches!(bar.verdict(rows), Verdict::Kept(_))).count()
        + usize::from(lateness.is_some_and(|ratio| open_loop::BAR.allows(ratio.median)))
        + usize::from(heartbeats.is_some_and(|ratio| ratio <= raft_mix::BAR));
    // Writing to a string does not fail.
    let _ =
        writeln!(text, "\nKept, with the two below that have no row here: {kept} of {}.\n", compare::BARS.len() + 2);
    for bar in compare::BARS {
        let _ = match bar.verdict(rows) {
            Verdict::Kept(_) => Ok(()),
            Verdict::Missed(ratio) => writeln!(
                text,
                "- **MISSED**: {}, `{}` against `{}`: {ratio}, asked for {}",
                bar.what, bar.contender, bar.against, bar.bound
            ),
            Verdict::NotMeasured => {
                writeln!(text, "- not measured: {}, `{}` against `{}`", bar.what, bar.contender, bar.against)
            }
        };
    }
    let verdict = |kept| if kept { "kept" } else { "**MISSED**" };
    let _ = match lateness {
        Some(ratio) => writeln!(
            text,
            "- {}: a million messages a second, p99.9, `cluster-dedicated-fast` against `zmq`: {ratio}, asked for {}",
            verdict(open_loop::BAR.allows(ratio.median)),
            open_loop::BAR
        ),
        None => writeln!(text, "- not measured: a million messages a second against `zmq`"),
    };
    let _ = match heartbeats {
        Some(ratio) => writeln!(
            text,
            "- {}: heartbeats beside a 64 MiB envelope, p99.9 against their own when nothing else travels: {ratio:.1}, asked for <= {}",
            verdict(ratio <= raft_mix::BAR),
            raft_mix::BAR
        ),
        None => writeln!(text, "- not measured: heartbeats beside a 64 MiB envelope"),
    };
    text
}

/// Writes the load by other processes, and the spread between rounds.
fn noise(Raw { comparison, lateness, mix, scaling, .. }: &Raw) -> String {
    let mut table = Table::new(["noise", "load average before", "others' processor time", "other machines'"]);
    let mut row = |what: &str, load: f64, noise: &Noise| {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        table.row([what.to_owned(), format!("{load:.2}"), percent(noise.others), percent(noise.stolen)]);
    };
    row("comparison", comparison.machine.load_average, &comparison.noise);
    row("fixed rate", lateness.machine.load_average, &lateness.noise);
    let mut loud = comparison.noise.is_loud() || lateness.noise.is_loud();
    if let Some(Mix { machine, noise, .. }) = mix {
        row("heartbeats", machine.load_average, noise);
        loud |= noise.is_loud();
    }
    if let Some(Scaling { machine, noise, .. }) = scaling {
        row("scaling", machine.load_average, noise);
        loud |= noise.is_loud();
    }
    let mut text = table.markdown();
    if loud {
        text += "\n**Too much else ran on this machine: these figures prove nothing.**\n";
    }
    text += &format!("\nSeed {}, {} rounds.", comparison.seed, comparison.rounds);
    for case in Case::ALL {
        text += &spread(case, &comparison.rows);
    }
    text + "\n"
}

/// Writes how far the rounds of a contender lie apart, as a share of its median.
fn spread(case: Case, rows: &[Row]) -> String {
    let share = |row: &Row| (row.key().max() - row.key().min()) / row.key().median();
    let mut rows: Vec<&Row> = rows.iter().filter(|row| row.case == case).collect();
    rows.sort_by(|left, right| share(left).total_cmp(&share(right)));
    let Some(widest) = rows.last() else { return String::new() };
    format!(
        "\nBetween rounds, the {case} varied by no more than {:.0} % of its median with half of the contenders, \
         and by {:.0} % with `{}` at {}.",
        share(rows[rows.len() / 2]) * 100.0,
        share(widest) * 100.0,
        widest.contender,
        bytes(widest.size)
    )
}

fn folded(table: &Table) -> String {
    format!("<details><summary>All figures</summary>\n\n{}\n</details>\n", table.markdown())
}

fn ended(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

const INTRODUCTION: &str = "\
Servers in threads of one process over loopback TCP, none bound to a core. Every contender ran once in each round, in
random order; a ratio is the median of the rounds' ratios, with a 95 % bootstrap interval. Machines differ and are
noisy: read ratios within one run, and their spread, never absolutes. Contenders and their settings are in
[bench](../../bench/README.md#contenders).

";
const PATTERNS_TEXT: &str = "\
Messages are counted where they arrive, all receivers together. The slow one of four takes a message in a millisecond, and
is not counted: what it has no room for is not sent to it.
";
const GROWTH_TEXT: &str = "\
All to all in one process, 64 bytes, messages counted where they arrive: on the left servers that share an event loop for
each core, on the right eight servers that share so many loops. Of ZeroMQ, the I/O threads of a context stand for loops.

";
const COSTS_TEXT: &str = "\
All servers together, for each message that arrived: time of the processor in the timed rounds (their median), and counts
from one more run of the same length. A wait is a thread that gave up its core and was woken (`getrusage`); allocations
are those of C and C++ too; what the kernel does not let this process count is missing. The last three columns come from
the engine's own statistics.
";
const NOTES: &str = "<!-- by hand from here on; kept when the page is written again -->";
