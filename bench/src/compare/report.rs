//! Results as tables for people.

use super::row::{
    ALLOCATIONS, LOOP_WAKE_UPS, MESSAGES_PER_SEGMENT, PROCESSOR, Row, SEGMENTS_PER_SEND, SYSTEM_CALLS, WAITS,
};
use super::verdict::{BARS, Verdict};
use crate::case::Case;
use crate::statistics::Spread;
use crate::table::Table;

/// Returns a table of all rows of one case, with the ratio of each contender to ZeroMQ and to the TCP floor with its
/// waiting strategy.
pub fn tables(case: Case, rows: &[Row]) -> Table {
    let name = case.to_string();
    let mut table = match case {
        Case::RoundTrip => {
            Table::new([&name, "bytes", "p50 µs", "min..max", "p99 µs", "p99.9 µs", "/ zmq (95 %)", "/ floor", "floor"])
        }
        _ => {
            Table::new([&name, "bytes", "messages/s", "min..max", "GB/s", "CPU ns", "/ zmq (95 %)", "/ floor", "floor"])
        }
    };
    let mut sorted: Vec<&Row> = rows.iter().filter(|row| row.case == case).collect();
    let best_first = if case == Case::RoundTrip { 1.0 } else { -1.0 };
    sorted.sort_by(|left, right| {
        let key = |row: &Row| row.key().median() * best_first;
        left.size.cmp(&right.size).then(key(left).total_cmp(&key(right)))
    });
    for row in sorted {
        let [first, second, third, fourth] = cells(row);
        let floor = floor(row);
        table.row([
            row.contender.clone(),
            row.size.to_string(),
            first,
            second,
            third,
            fourth,
            row.ratio("zmq", rows).map_or_else(String::new, |ratio| ratio.to_string()),
            row.ratio(floor, rows).map_or_else(String::new, |ratio| format!("{:.2}", ratio.median)),
            floor.to_owned(),
        ]);
    }
    table
}

/// Returns a table of the engine's promises and their verdicts.
pub fn verdicts(rows: &[Row]) -> Table {
    let mut table = Table::new(["must show", "contender", "against", "ratio (95 %)", "bar", "verdict"]);
    for bar in BARS {
        let (ratio, verdict) = match bar.verdict(rows) {
            Verdict::Kept(ratio) => (ratio.to_string(), "ok"),
            Verdict::Missed(ratio) => (ratio.to_string(), "MISSED"),
            Verdict::NotMeasured => (String::new(), "not measured"),
        };
        table.row([
            bar.what.to_owned(),
            bar.contender.to_owned(),
            bar.against.to_owned(),
            ratio,
            bar.bound.to_string(),
            verdict.to_owned(),
        ]);
    }
    table
}

/// Returns a table of the cost of a message in one case: processor time, and counts.
pub fn costs(case: Case, rows: &[Row]) -> Table {
    let mut table = Table::new([
        "for each message",
        "bytes",
        "CPU ns",
        "system calls",
        "waits",
        "allocations",
        "loop wake-ups",
        "messages/segment",
        "segments/send",
    ]);
    let mut sorted: Vec<&Row> = rows.iter().filter(|row| row.case == case).collect();
    let processor = |row: &Row| row.figure(PROCESSOR).map_or(0.0, Spread::median);
    sorted.sort_by(|left, right| left.size.cmp(&right.size).then(processor(left).total_cmp(&processor(right))));
    for row in sorted {
        let count = |name: &str| row.counts.get(name).map_or_else(String::new, |count| digits(*count));
        table.row([
            row.contender.clone(),
            row.size.to_string(),
            format!("{:.0}", processor(row)),
            count(SYSTEM_CALLS),
            count(WAITS),
            count(ALLOCATIONS),
            count(LOOP_WAKE_UPS),
            count(MESSAGES_PER_SEGMENT),
            count(SEGMENTS_PER_SEND),
        ]);
    }
    table
}

/// Formats a count with about three significant digits; a count below 0.00005 is zero.
fn digits(count: f64) -> String {
    match count {
        count if count >= 99.5 => format!("{count:.0}"),
        count if count >= 9.95 => format!("{count:.1}"),
        count if count >= 0.1 => format!("{count:.2}"),
        count if count >= 0.00005 => format!("{count:.4}"),
        _ => "0".to_owned(),
    }
}

/// Returns the four figures of a row in the order of the table's columns.
fn cells(row: &Row) -> [String; 4] {
    let figures: Vec<&Spread> = row.figures.iter().map(|(_, spread)| spread).collect();
    match row.case {
        Case::RoundTrip => [
            format!("{:.2}", figures[0].median()),
            format!("{:.2}..{:.2}", figures[0].min(), figures[0].max()),
            format!("{:.1}", figures[1].median()),
            format!("{:.1}", figures[2].median()),
        ],
        _ => [
            thousands(figures[0].median()),
            format!("{}..{}", thousands(figures[0].min()), thousands(figures[0].max())),
            format!("{:.2}", figures[1].median() / 1e9),
            format!("{:.0}", figures[2].median()),
        ],
    }
}

/// Returns the kernel's TCP contender that has the waiting strategy of the row.
fn floor(row: &Row) -> &'static str {
    match row.case {
        Case::RoundTrip if row.contender.contains("spinning") => "tcp-spinning",
        Case::RoundTrip => "tcp-blocking",
        _ => "tcp-framed",
    }
}

/// Formats a number as `1'234'567`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\'');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_counts_have_more_digits() {
        let shown = [0.0, 0.00312, 0.5, 12.34, 812.0].map(digits);
        assert_eq!(shown, ["0", "0.0031", "0.50", "12.3", "812"]);
    }

    #[test]
    fn digits_are_grouped() {
        let grouped = [7.0, 999.0, 1000.0, 1_234_567.0].map(thousands);
        assert_eq!(grouped, ["7", "999", "1'000", "1'234'567"]);
    }
}
