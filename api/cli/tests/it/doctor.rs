//! `cluster doctor`.

use std::fs;

use crate::process::{output, text};

#[test]
fn a_machine_that_runs_these_tests_has_what_is_needed() {
    let output = output(&["doctor"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel has a release");
    for word in [release.trim(), "io_uring", "DEFER_TASKRUN", "open files", "locked memory", "Servers can run here."] {
        assert!(table.contains(word), "no {word}:\n{table}");
    }
    assert!(!table.contains("missing"), "{table}");
}
