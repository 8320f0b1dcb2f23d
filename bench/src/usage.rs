//! Resources that this process has used: processor time, wake-ups, system calls, allocations.

use std::fs;
use std::io;
use std::ops::{Add, AddAssign};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::allocations;

/// Resources used between two moments, by all threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// User and system time.
    pub processor: Duration,
    /// Waits for which a thread gave up its core (voluntary context switches).
    pub switches: u64,
    /// Times that a thread lost its core although it had work (involuntary context switches).
    #[serde(default)]
    pub preemptions: u64,
    /// System calls; `None` unless counting was requested and the kernel allows it.
    pub system_calls: Option<u64>,
    /// Allocations, including those of C and C++; `None` unless counting was requested.
    pub allocations: Option<u64>,
}

impl Add for Usage {
    type Output = Self;

    /// Adds two usages. A count that one of them lacks is `None` in the sum.
    fn add(self, other: Self) -> Self {
        let both = |one: Option<u64>, two: Option<u64>| Some(one? + two?);
        Self {
            processor: self.processor + other.processor,
            switches: self.switches + other.switches,
            preemptions: self.preemptions + other.preemptions,
            system_calls: both(self.system_calls, other.system_calls),
            allocations: both(self.allocations, other.allocations),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Meter that measures from its creation on.
#[derive(Debug)]
pub struct Meter {
    before: Usage,
    /// Present if system calls and allocations are counted.
    counters: Option<Counters>,
}

#[derive(Debug)]
struct Counters {
    system_calls: io::Result<Vec<OwnedFd>>,
    allocations: u64,
}

impl Meter {
    /// Begins to measure. With `counting`, the measured code runs slower: times taken meanwhile are not to be used.
    pub fn begin(counting: bool) -> Self {
        let counters = counting.then(|| {
            let allocations = allocations::begin();
            Counters { system_calls: watch_system_calls(), allocations }
        });
        Self { before: rusage(), counters }
    }

    /// Returns the resources used since the beginning.
    pub fn end(self) -> Usage {
        let (now, before) = (rusage(), self.before);
        let counters = self.counters.as_ref();
        Usage {
            processor: now.processor - before.processor,
            switches: now.switches - before.switches,
            preemptions: now.preemptions - before.preemptions,
            system_calls: counters.and_then(|counters| read(counters.system_calls.as_ref().ok()?).ok()),
            allocations: counters.and_then(|counters| Some(allocations::end()? - counters.allocations)),
        }
    }
}

/// Returns the user and system time of all threads, and the numbers of their context switches, so far.
fn rusage() -> Usage {
    // SAFETY: all zero is a valid rusage, and the kernel fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let duration = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    Usage {
        processor: duration(usage.ru_utime) + duration(usage.ru_stime),
        switches: usage.ru_nvcsw as u64,
        preemptions: usage.ru_nivcsw as u64,
        ..Usage::default()
    }
}

/// Opens a counter of system calls for each thread. Each counter includes the threads that its thread starts.
fn watch_system_calls() -> io::Result<Vec<OwnedFd>> {
    let event: u64 = fs::read_to_string(ENTRY_OF_CALLS)?.trim().parse().map_err(io::Error::other)?;
    let mut counters = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        let Some(thread) = thread?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match count_event(event, thread) {
            Ok(counter) => counters.push(counter),
            // The thread has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(counters)
}

/// Counts a tracepoint of the kernel in `thread` and in all threads that it starts.
fn count_event(event: u64, thread: libc::pid_t) -> io::Result<OwnedFd> {
    /// First version of `perf_event_attr`, which has all the fields that are needed.
    #[repr(C)]
    struct Attributes {
        kind: u32,
        size: u32,
        config: u64,
        sample_period: u64,
        sample_type: u64,
        read_format: u64,
        flags: u64,
        wakeup_events: u32,
        breakpoint_type: u32,
        breakpoint_address: u64,
    }
    let attributes = Attributes {
        kind: TRACEPOINT,
        size: size_of::<Attributes>() as u32,
        config: event,
        sample_period: 0,
        sample_type: 0,
        read_format: 0,
        flags: INHERIT,
        wakeup_events: 0,
        breakpoint_type: 0,
        breakpoint_address: 0,
    };
    let (any_core, no_group) = (-1, -1);
    // SAFETY: the kernel reads as many bytes of the attributes as their field `size` says.
    let counter = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const attributes, thread, any_core, no_group, CLOSE_ON_EXEC)
    };
    let counter = i32::try_from(counter).ok().filter(|counter| *counter >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(counter) })
}

fn read(counters: &[OwnedFd]) -> io::Result<u64> {
    let mut sum = 0;
    for counter in counters {
        let mut count = 0_u64;
        // SAFETY: the kernel writes at most eight bytes, the size of `count`.
        let bytes = unsafe { libc::read(counter.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
        if bytes != size_of::<u64>() as isize {
            return Err(io::Error::last_os_error());
        }
        sum += count;
    }
    Ok(sum)
}

const ENTRY_OF_CALLS: &str = "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id";
const TRACEPOINT: u32 = 2;
const INHERIT: u64 = 1 << 1;
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time() {
        let meter = Meter::begin(false);
        let before = rusage().processor;
        let begin = std::time::Instant::now();
        while rusage().processor == before && begin.elapsed() < Duration::from_secs(10) {}
        let used = meter.end();
        assert!(used.processor > Duration::ZERO && used.system_calls.is_none());
    }

    #[test]
    fn system_calls_of_new_threads_count_where_the_kernel_allows_it() {
        let meter = Meter::begin(true);
        let calls = || (0..100).for_each(|_| drop(fs::metadata("/")));
        std::thread::scope(|scope| drop(scope.spawn(calls)));
        assert!(meter.end().system_calls.is_none_or(|calls| calls >= 100));
    }

    #[test]
    fn what_one_did_not_count_is_not_known_of_both() {
        let counted = Usage { switches: 1, system_calls: Some(5), ..Usage::default() };
        assert_eq!((counted + counted).system_calls, Some(10));
        assert_eq!((counted + Usage { system_calls: None, ..counted }).system_calls, None);
    }
}
