//! Machine on which the figures were measured. Figures without their machine are meaningless.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Machine and versions, as far as Linux reports them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Frequency governor of core 0; virtual machines have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub governor: Option<String>,
    /// True if the kernel runs under a hypervisor: waking a core then costs many times as much.
    pub virtual_machine: bool,
    /// Clock source of the kernel.
    pub clock_source: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Mitigations of the kernel, for each of the processor's vulnerabilities that affect it.
    pub mitigations: BTreeMap<String, String>,
    /// Load average over one minute when the measurement began.
    pub load_average: f64,
    /// Compiler that built the benchmarks.
    pub rustc: String,
    /// Version of the linked libzmq.
    pub libzmq: String,
    /// Measured commit, marked if tracked files differ from it; `None` outside of a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Beginning of the measurement, in UTC.
    pub date: String,
}

impl Machine {
    /// Reads the facts about this machine.
    pub fn look() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
        Self {
            cpu: processor(&cpuinfo),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            virtual_machine: flags(&cpuinfo).any(|flag| flag == "hypervisor"),
            clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
                .unwrap_or_else(unknown),
            memory_bytes: memory_bytes(&read("/proc/meminfo").unwrap_or_default()),
            mitigations: mitigations(),
            load_average: load_average().unwrap_or(0.0),
            rustc: env!("RUSTC_VERSION").to_owned(),
            libzmq: cluster_bench_zmq::version(),
            commit: commit(),
            date: utc(seconds),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let governor = self.governor.as_deref().unwrap_or("none");
        let kind = if self.virtual_machine { "virtual machine" } else { "bare metal" };
        let memory = self.memory_bytes >> 30;
        writeln!(f, "{}, {} cores, {memory} GiB, {kind}, governor {governor}", self.cpu, self.cores)?;
        writeln!(f, "Linux {}, clock {}, {}, libzmq {}", self.kernel, self.clock_source, self.rustc, self.libzmq)?;
        let mitigations: Vec<String> =
            self.mitigations.iter().map(|(name, state)| format!("{name} ({})", short(state))).collect();
        writeln!(
            f,
            "mitigations: {}",
            if mitigations.is_empty() { "none".to_owned() } else { mitigations.join(", ") }
        )?;
        writeln!(f, "commit {}", self.commit.as_deref().unwrap_or("unknown"))?;
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

fn flags(cpuinfo: &str) -> impl Iterator<Item = &str> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.and_then(|line| line.split_once(':')).map_or("", |(_, flags)| flags).split_whitespace()
}

fn memory_bytes(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|total| total.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Shortens a mitigation: `Mitigation: Retpolines; IBPB: conditional` → `Retpolines`.
fn short(state: &str) -> &str {
    state.trim_start_matches("Mitigation: ").split([';', ',']).next().unwrap_or(state).trim()
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(format!("{}{}", commit.trim(), if changed.is_empty() { "" } else { ", changed" }))
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

/// Formats seconds since 1970 as `2026-11-21T01:20:00Z`.
fn utc(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns year, month and day of the Gregorian calendar, `days` days after 1970-01-01.
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

/// Load average above which two spinning threads no longer have a core each.
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

    #[test]
    fn what_linux_says_is_read() {
        let cpuinfo = "model name\t: Fast One\nflags\t\t: fpu hypervisor avx2\n";
        assert!(flags(cpuinfo).any(|flag| flag == "hypervisor"));
        assert_eq!(flags("").count(), 0);
        assert_eq!(memory_bytes("MemTotal:       16384 kB\nMemFree: 1 kB\n"), 16 << 20);
        assert_eq!(short("Mitigation: Retpolines; IBPB: conditional"), "Retpolines");
        assert_eq!(short("Vulnerable: Safe RET, no microcode"), "Vulnerable: Safe RET");
    }
}
