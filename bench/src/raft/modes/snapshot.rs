//! A node that joins by a large snapshot, beside the writes of clients.

use serde::Serialize;

use super::rounds::{PROMPT, rounds};
use crate::raft::compare::Options;
use crate::raft::contenders::Contender;
use crate::raft::group::Group;
use crate::raft::protocol::{Library, Load, Settings};
use crate::statistics::Spread;
use crate::table::Table;

/// Writes of clients while a node joins, which takes a large snapshot: medians of the rounds.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotBesideWrites {
    /// Library of consensus.
    pub library: Library,
    /// Contender.
    pub contender: &'static str,
    /// Bytes of the snapshot.
    pub bytes: usize,
    /// Time until the node had caught up.
    pub seconds: f64,
    /// Writes per second before.
    pub writes_per_second_before: f64,
    /// Writes per second meanwhile.
    pub writes_per_second_meanwhile: f64,
    /// 99th percentile of a write meanwhile.
    pub p99_us_meanwhile: f64,
    /// Longest write meanwhile.
    pub longest_us_meanwhile: f64,
    /// Heartbeats and news of what is committed that the other follower has answered meanwhile.
    pub empty_appends: f64,
    /// The same of the joining node.
    pub empty_appends_of_joining: f64,
    /// Longest time without an answer of the other follower.
    pub longest_gap_ms: f64,
    /// The same of the joining node.
    pub longest_gap_of_joining_ms: f64,
    /// Changes of leader or term in all rounds.
    pub leader_changes: u64,
}

/// Lets nodes join beside 16 clients. Passes a line for each to `tell`, and each failure to `fail`.
pub fn snapshot(
    options: &Options,
    bytes: usize,
    mut tell: impl FnMut(&str),
    mut fail: impl FnMut(String),
) -> Vec<SnapshotBesideWrites> {
    let settings = Settings { voters: 2, ballast_bytes: bytes, ..PROMPT };
    let measured = rounds(
        options,
        &mut fail,
        "snapshot",
        |one| one.library == Library::Openraft,
        |contender| {
            tell(&format!("snapshot, {}, {}", contender.library, contender.name));
            let mut group = Group::start(contender, &settings)?;
            group.compact()?;
            group.write(Load { clients: 16, size: 64 })?;
            group.watch(options.warm_up)?;
            let before = group.measure(options.duration)?.figures.ok_or("no write was answered before")?;
            let meanwhile = group.measure_while(|group| group.join(JOINING))?;
            group.rest()?;
            group.stop();
            let figures = meanwhile.figures.ok_or("no write was answered meanwhile")?;
            let contact = |id| meanwhile.contacts.iter().find(|contact| contact.node == id);
            let empty_appends = |id| contact(id).map_or(0.0, |contact| contact.empty_appends as f64);
            let gap_ms = |id| contact(id).map_or(0.0, |contact| contact.longest_gap_ns as f64 / 1e6);
            Ok([
                figures.seconds,
                before.writes as f64 / before.seconds,
                figures.writes as f64 / figures.seconds,
                figures.p99_us,
                figures.longest_us,
                empty_appends(FOLLOWER),
                empty_appends(JOINING),
                gap_ms(FOLLOWER),
                gap_ms(JOINING),
                meanwhile.changes as f64,
            ])
        },
    );
    let row = |(contender, figures): (&'static Contender, [Spread; 10])| {
        let [seconds, before, writes, p99, longest, empty, empty_of_joining, gap, gap_of_joining, changes] = figures;
        SnapshotBesideWrites {
            library: contender.library,
            contender: contender.name,
            bytes,
            seconds: seconds.median(),
            writes_per_second_before: before.median(),
            writes_per_second_meanwhile: writes.median(),
            p99_us_meanwhile: p99.median(),
            longest_us_meanwhile: longest.median(),
            empty_appends: empty.median(),
            empty_appends_of_joining: empty_of_joining.median(),
            longest_gap_ms: gap.median(),
            longest_gap_of_joining_ms: gap_of_joining.median(),
            leader_changes: changes.in_order().iter().sum::<f64>() as u64,
        }
    };
    measured.into_iter().map(row).collect()
}

/// Returns the snapshots as a table.
pub fn snapshot_table(rows: &[SnapshotBesideWrites]) -> Table {
    let mut table = Table::new([
        "snapshot",
        "contender",
        "MiB",
        "seconds",
        "MiB/s",
        "writes/s before",
        "meanwhile",
        "p99 µs",
        "longest ms",
        "empty appends",
        "of joining",
        "longest gap ms",
        "of joining",
        "leader changes",
    ]);
    for row in rows {
        let mebibytes = row.bytes as f64 / f64::from(1 << 20);
        table.row([
            row.library.to_string(),
            row.contender.to_owned(),
            format!("{mebibytes:.0}"),
            format!("{:.2}", row.seconds),
            format!("{:.0}", mebibytes / row.seconds),
            format!("{:.0}", row.writes_per_second_before),
            format!("{:.0}", row.writes_per_second_meanwhile),
            format!("{:.0}", row.p99_us_meanwhile),
            format!("{:.1}", row.longest_us_meanwhile / 1000.0),
            format!("{:.0}", row.empty_appends),
            format!("{:.0}", row.empty_appends_of_joining),
            format!("{:.0}", row.longest_gap_ms),
            format!("{:.0}", row.longest_gap_of_joining_ms),
            row.leader_changes.to_string(),
        ]);
    }
    table
}

/// Follower from the beginning, in a group of two voters.
const FOLLOWER: u64 = 2;
/// Node that joins.
const JOINING: u64 = 3;
