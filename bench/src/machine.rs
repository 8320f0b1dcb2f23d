//! What the figures were measured on. Without it they say nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The machine and the versions, as far as Linux tells.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The frequency governor of core 0; virtual machines have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub governor: Option<String>,
    /// What the kernel does against each of the processor's vulnerabilities that affect it.
    pub mitigations: BTreeMap<String, String>,
    /// Runnable threads when the measurement began, averaged over a minute.
    pub load_average: f64,
    /// The compiler that built the benchmarks.
    pub rustc: &'static str,
    /// The libzmq that is linked.
    pub libzmq: String,
    /// When the measurement began, in UTC.
    pub date: String,
}

impl Machine {
    /// Looks at this machine.
    pub fn look() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            cpu: processor(&read("/proc/cpuinfo").unwrap_or_default()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            mitigations: mitigations(),
            load_average: load_average().unwrap_or(0.0),
            rustc: env!("RUSTC_VERSION"),
            libzmq: cluster_bench_zmq::version(),
            date: utc(seconds),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let governor = self.governor.as_deref().unwrap_or("none");
        writeln!(f, "{}, {} cores, governor {governor}", self.cpu, self.cores)?;
        writeln!(f, "Linux {}, {}, libzmq {}", self.kernel, self.rustc, self.libzmq)?;
        writeln!(f, "{}, load average {:.2}, no thread is bound", self.date, self.load_average)?;
        if self.load_average > BUSY {
            writeln!(f, "THE MACHINE IS BUSY: ratios flatter whoever needs fewest threads")?;
        }
        Ok(())
    }
}

fn processor(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let name = model.and_then(|line| line.split_once(':'));
    name.map_or_else(unknown, |(_, name)| name.trim().to_owned())
}

fn mitigations() -> BTreeMap<String, String> {
    let files = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten();
    files
        .flatten()
        .filter_map(|file| Some((file.file_name().into_string().ok()?, read(file.path())?)))
        .filter(|(_, state)| state != "Not affected")
        .collect()
}

fn load_average() -> Option<f64> {
    read("/proc/loadavg")?.split(' ').next()?.parse().ok()
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// `2026-11-21T01:20:00Z`.
fn utc(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of the Gregorian calendar, so many days after 1970-01-01.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// Runnable threads from which on two spinning ones no longer have a core each.
const BUSY: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(utc(1_798_761_599), "2026-12-31T23:59:59Z");
    }

    #[test]
    fn the_processor_is_named() {
        assert_eq!(processor("processor : 0\nmodel name\t: Fast One\n"), "Fast One");
        assert_eq!(processor(""), "unknown");
    }
}
