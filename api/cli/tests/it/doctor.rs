//! `cluster doctor`.

use std::{env, fs};

use crate::process::{output, text};

#[test]
fn a_machine_that_runs_these_tests_has_what_is_needed() {
    let output = output(&["doctor"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel has a release");
    let verdict = match env::var_os("IO_URING_FORBIDDEN") {
        None => ["DEFER_TASKRUN", "Servers can run here."],
        Some(_) => ["a seccomp profile forbids it", "Servers can run here, on epoll."],
    };
    for word in [release.trim(), "io_uring", "epoll", "open files", "locked memory"].into_iter().chain(verdict) {
        assert!(table.contains(word), "no {word}:\n{table}");
    }
    assert!(!table.contains("missing"), "{table}");
}
