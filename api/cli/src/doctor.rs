//! `cluster doctor`: checks that this machine can run servers.

use std::fs;
use std::process::ExitCode;

use cluster::{Driver, Engine, Feature, FeatureReport, Idle, Threading};
use rustix::process::{Resource, getrlimit};

use crate::failure::Failure;
use crate::output::print;

pub fn doctor() -> Result<ExitCode, Failure> {
    let report = cluster::probe();
    let mut rows = vec![kernel(&first_line("/proc/sys/kernel/osrelease")), io_uring(&report), epoll()];
    rows.extend(report.features.iter().map(feature));
    let files = getrlimit(Resource::Nofile);
    rows.push(open_files(files.current, files.maximum));
    rows.push(locked_memory(getrlimit(Resource::Memlock).current));
    print(table(&rows))?;

    let missing: Vec<&str> = rows.iter().filter(|row| row.state == State::Missing).map(|row| row.name).collect();
    if missing.is_empty() {
        let runs_on_io_uring =
            report.unavailable.is_none() && report.features.iter().all(|each| each.found || !each.required);
        print(if runs_on_io_uring { "\nServers can run here." } else { "\nServers can run here, on epoll." })?;
        Ok(ExitCode::SUCCESS)
    } else {
        print(format_args!("\nServers cannot run here: {} is missing.", missing.join(", ")))?;
        Ok(ExitCode::FAILURE)
    }
}

/// Row of the report: one property of the machine.
#[derive(Debug)]
struct Row {
    name: &'static str,
    found: String,
    state: State,
    meaning: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The property is as required.
    Ok,
    /// The property is absent, and not needed.
    Absent,
    /// The property is low: servers work within limits.
    Low,
    /// The property is absent, and no server can run without it.
    Missing,
}

fn kernel(release: &str) -> Row {
    let (state, meaning) = match version(release) {
        Some(version) if version >= OLDEST_KERNEL => (State::Ok, "6.1 or later is supported".to_owned()),
        Some(_) => (State::Low, "older than 6.1, and not tested; upgrade it".to_owned()),
        None => (State::Low, "not recognized; Linux 6.1 or later is supported".to_owned()),
    };
    Row { name: "kernel", found: release.to_owned(), state, meaning }
}

/// Parses major and minor number of a release such as `6.18.44-generic`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn io_uring(report: &FeatureReport) -> Row {
    let (found, state, meaning) = match &report.unavailable {
        None => ("found", State::Ok, "all that is sent and received goes through it".to_owned()),
        Some(unavailable) => ("not usable", State::Low, format!("epoll takes its place: {unavailable}")),
    };
    Row { name: "io_uring", found: found.to_owned(), state, meaning }
}

fn epoll() -> Row {
    let (found, state, meaning) = match Engine::start(Threading::Inline, Idle::default(), Driver::Epoll) {
        Ok(_) => ("found", State::Ok, "it takes the place of io_uring where that cannot be used".to_owned()),
        Err(unavailable) => ("not usable", State::Missing, unavailable.to_string()),
    };
    Row { name: "epoll", found: found.to_owned(), state, meaning }
}

fn feature(feature: &Feature) -> Row {
    let (found, state, cure) = match (feature.found, feature.required) {
        (true, _) => ("found", State::Ok, ""),
        (false, false) => ("not found", State::Absent, ""),
        (false, true) => ("not found", State::Low, "; epoll takes the place of io_uring; use Linux 6.1 or later"),
    };
    Row { name: feature.name, found: found.to_owned(), state, meaning: format!("for {}{cure}", feature.purpose) }
}

fn open_files(limit: Option<u64>, most: Option<u64>) -> Row {
    let found = limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    let Some(limit) = limit else {
        return Row {
            name: "open files",
            found,
            state: State::Ok,
            meaning: "a server uses one for each peer".to_owned(),
        };
    };
    let peers = limit.saturating_sub(OTHER_FILES);
    let raise = match most {
        Some(most) if most <= limit => "; the administrator can raise it (limits.conf, LimitNOFILE=)".to_owned(),
        Some(most) => {
            format!("; a start raises it to {most} unless raise_descriptor_limit is false, `ulimit -n {most}` for all")
        }
        None => "; `ulimit -n` raises it".to_owned(),
    };
    let state = if limit < FEW_FILES { State::Low } else { State::Ok };
    let meaning = format!("a server uses one for each peer: enough for {peers} in a process{raise}");
    Row { name: "open files", found, state, meaning }
}

fn locked_memory(limit: Option<u64>) -> Row {
    let found = match limit {
        None => "no limit".to_owned(),
        Some(bytes) => format!("{} KiB", bytes / 1024),
    };
    let (state, meaning) = match limit {
        Some(bytes) if bytes < LITTLE_MEMORY => {
            (State::Low, "enough since Linux 5.12, which charges rings elsewhere; else `ulimit -l` raises it")
        }
        _ => (State::Ok, "enough"),
    };
    Row { name: "locked memory", found, state, meaning: meaning.to_owned() }
}

fn table(rows: &[Row]) -> String {
    let names = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let found = rows.iter().map(|row| row.found.len()).max().unwrap_or(0);
    let line = |row: &Row| {
        let state = match row.state {
            State::Ok => "ok",
            State::Absent => "-",
            State::Low => "low",
            State::Missing => "missing",
        };
        format!("{:names$}  {:found$}  {state:7}  {}", row.name, row.found, row.meaning)
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| format!("unknown ({path}: {error})"));
    text.lines().next().unwrap_or("unknown").to_owned()
}

const OLDEST_KERNEL: (u32, u32) = (6, 1);
/// Descriptors of a process besides connections: standard streams, a listener, and the rings with their eventfds.
const OTHER_FILES: u64 = 16;
/// Usual limit of a login. A lower one was set on purpose.
const FEW_FILES: u64 = 1024;
/// Memory charge of one ring, in bytes, on a kernel that charges rings to this limit.
const LITTLE_MEMORY: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::{State, kernel, open_files, table, version};

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(version("6.1-rc3"), Some((6, 1)));
        assert_eq!(version("unknown"), None);
        assert_eq!(kernel("6.1.0").state, State::Ok);
        assert_eq!(kernel("5.15.0-91-generic").state, State::Low);
        assert_eq!(kernel("unknown").state, State::Low);
    }

    #[test]
    fn a_low_limit_comes_with_its_cure() {
        let row = open_files(Some(256), Some(4096));
        assert_eq!(row.state, State::Low);
        assert!(row.meaning.contains("240") && row.meaning.contains("ulimit -n 4096"), "{}", row.meaning);
        assert_eq!(open_files(Some(20_000), Some(20_000)).state, State::Ok);
        assert_eq!(open_files(None, None).state, State::Ok);
    }

    #[test]
    fn columns_line_up() {
        let text = table(&[kernel("6.1"), open_files(Some(1024), Some(1024))]);
        let columns: Vec<_> = text.lines().map(|line| line.find("ok")).collect();
        assert_eq!(columns[0], columns[1], "{text}");
    }
}
