//! What this process holds. Right only while no other test runs in it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::eventually;

/// Memory that is really there, in KiB.
pub(super) fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Open descriptors.
pub(super) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until there are no more descriptors than `before`.
pub(super) fn await_descriptors(before: usize) {
    eventually("closed connections", || (descriptors() <= before).then_some(()));
}

/// Runs `work`, and returns the most memory that was there meanwhile, in KiB.
pub(super) fn peak_resident_kib(work: impl FnOnce()) -> u64 {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut peak = 0;
            while !ended.load(Ordering::Relaxed) {
                peak = resident_kib().max(peak);
                thread::sleep(Duration::from_millis(10));
            }
            peak
        });
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let end = End(&ended);
        work();
        drop(end);
        watching.join().unwrap().max(resident_kib())
    })
}
