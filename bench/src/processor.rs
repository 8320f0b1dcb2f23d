//! What this process has used of the processor.

use std::time::Duration;

/// User and system time of all threads so far.
pub fn used() -> Duration {
    // SAFETY: all zero is a valid rusage, and the kernel fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let duration = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time() {
        let before = used();
        let begin = std::time::Instant::now();
        while used() == before && begin.elapsed() < Duration::from_secs(10) {}
        assert!(used() > before);
    }
}
