//! `cluster demo`.

use std::process::Stdio;

use serde_json::Value;

use crate::process::{cluster, output, text};

#[test]
fn every_message_arrives_once_in_order_and_right() {
    for (servers, messages, size) in [(5, 2000, 64), (2, 500, 8), (3, 20, 100_000)] {
        let (count, amount, bytes) = (servers.to_string(), messages.to_string(), size.to_string());
        let output = output(&["demo", "--servers", &count, "--messages", &amount, "--size", &bytes, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let numbers: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        let expected = servers * (servers - 1) * messages;
        for (key, value) in [
            ("servers", servers),
            ("messages", messages),
            ("size", size),
            ("expected", expected),
            ("delivered", expected),
            ("duplicates", 0),
            ("out_of_order", 0),
            ("corrupt", 0),
        ] {
            assert_eq!(numbers[key], value, "{key} of {numbers}");
        }
        assert!(numbers["seconds"].as_f64() > Some(0.0), "{numbers}");
        assert!(numbers["messages_per_second"].as_f64() > Some(0.0), "{numbers}");
        for percentile in ["p50", "p99", "p999"] {
            assert_eq!(numbers["latency_us"][percentile].is_f64(), size >= 24, "{percentile} of {numbers}");
        }
    }
}

#[test]
fn the_table_says_what_was_delivered() {
    let output = output(&["demo", "--servers", "3", "--messages", "100"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let delivered = table.lines().find(|line| line.starts_with("delivered")).expect("a line says so");
    assert!(delivered.contains("600") && delivered.contains("each once, in order"), "{table}");
    assert!(table.contains("one at a time") && table.contains("all at once"), "{table}");
}

#[test]
fn more_servers_than_there_are_descriptors_for_are_refused() {
    let output = output(&["demo", "--servers", "1000", "--messages", "1"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("open files") || error.contains("memory"), "{error}");
    assert!(error.contains("--servers"), "{error}");
}

#[test]
fn wrong_arguments_exit_with_2() {
    for arguments in
        [&["demo", "--servers", "1"][..], &["demo", "--size", "7"], &["demo", "--messages", "0"], &["dance"]]
    {
        assert_eq!(output(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn nobody_has_to_read_to_the_end() {
    let arguments = ["demo", "--servers", "2", "--messages", "10", "--size", "8"];
    let mut child = cluster(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the process is ours");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    // Where io_uring is forbidden to the tests, one line says so.
    let lines = usize::from(std::env::var_os("IO_URING_FORBIDDEN").is_some());
    assert_eq!(text(&output.stderr).lines().count(), lines, "{}", text(&output.stderr));
}
