//! Processor time, memory, descriptors and threads of another process, as the kernel counts them.

use std::fs;
use std::io;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Memory and descriptors of one process, or the sum over several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Peak resident set (`VmHWM`), in KiB.
    pub peak_rss_kib: u64,
    /// Page tables (`VmPTE`), in KiB.
    pub page_tables_kib: u64,
    /// Resident set with shared pages divided by their users (`Pss`), in KiB.
    pub pss_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl AddAssign for Footprint {
    fn add_assign(&mut self, other: Self) {
        self.peak_rss_kib += other.peak_rss_kib;
        self.page_tables_kib += other.page_tables_kib;
        self.pss_kib += other.pss_kib;
        self.descriptors += other.descriptors;
        self.threads += other.threads;
    }
}

/// Reads the footprint of the process `id`, which must not have ended.
pub fn footprint(id: u32) -> io::Result<Footprint> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let number = |text: &str, field: &str| {
        value(text, field).ok_or_else(|| io::Error::other(format!("/proc/{id} has no field {field}")))
    };
    Ok(Footprint {
        peak_rss_kib: number(&status, "VmHWM")?,
        page_tables_kib: number(&status, "VmPTE")?,
        pss_kib: number(&rollup, "Pss")?,
        descriptors: fs::read_dir(format!("/proc/{id}/fd"))?.count() as u64,
        threads: number(&status, "Threads")?,
    })
}

/// Returns the user and system time of all threads of the process `id` so far.
///
/// The clock of a process counts nanoseconds; `/proc/PID/stat` counts ticks of 10 ms. Ticks are too coarse for many
/// processes that use little.
pub fn processor_time(id: u32) -> io::Result<Duration> {
    let id = libc::pid_t::try_from(id).map_err(io::Error::other)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the C library writes one clock id to `clock`, which has room for it.
    let error = unsafe { libc::clock_getcpuclockid(id, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to `time`, which has room for it.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Returns the number behind `field:` at the beginning of a line.
fn value(text: &str, field: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let rollup = "5581-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPss_Dirty:  7 kB\nPss:   450 kB\n";
        assert_eq!(value(rollup, "Pss"), Some(450));
        assert_eq!(value(rollup, "VmHWM"), None);
    }

    #[test]
    fn this_process_has_a_footprint() {
        let footprint = footprint(std::process::id()).unwrap();
        assert!(footprint.peak_rss_kib > 0 && footprint.page_tables_kib > 0 && footprint.pss_kib > 0);
        assert!(footprint.descriptors >= 3 && footprint.threads >= 1, "{footprint:?}");
    }

    #[test]
    fn work_takes_processor_time() {
        let id = std::process::id();
        let before = processor_time(id).unwrap();
        let begin = Instant::now();
        while processor_time(id).unwrap() < before + Duration::from_millis(1) {
            assert!(begin.elapsed() < Duration::from_secs(10), "the clock of this process stands still");
        }
    }
}
