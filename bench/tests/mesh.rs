//! Meshes of a few servers, through the program that starts their processes.

use std::fs;
use std::process::{self, Command, Output};

use serde_json::Value;

fn mesh(name: &str, arguments: &[&str]) -> (Output, Value) {
    let json = std::env::temp_dir().join(format!("cluster-mesh-{name}-{}.json", process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_cluster-bench"))
        .args(["mesh", "--messages", "50", "--idle-seconds", "1", "--json"])
        .arg(&json)
        .args(arguments)
        .output()
        .unwrap();
    let document = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    fs::remove_file(&json).unwrap();
    (output, document)
}

fn assert_exact(name: &str, arguments: &[&str], processes: u64) -> Value {
    let (output, document) = mesh(name, arguments);
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    let outcome = &document["outcome"];
    assert_eq!(outcome["processes"], processes, "{name}");
    assert_eq!((&outcome["delivered"], &outcome["expected"]), (&300.into(), &300.into()), "{name}");
    assert_eq!((&outcome["events"]["up"], &outcome["events"]["down"]), (&6.into(), &0.into()), "{name}");
    assert!(outcome["exact_s"].as_f64() <= outcome["exact_from_start_s"].as_f64(), "{name}: {outcome}");
    assert!(outcome["idle_percent"].as_f64() > Some(0.0), "{name}: {outcome}");
    assert!(outcome["footprint"]["threads"].as_u64() >= Some(processes), "{name}: {outcome}");
    outcome.clone()
}

#[test]
fn three_servers_receive_everything_exactly_once() {
    assert_exact("memory", &["--servers", "3", "--net", "memory"], 1);
    assert_exact("tcp", &["--servers", "3", "--net", "tcp"], 1);
    assert_exact("processes", &["--servers", "3", "--net", "tcp", "--processes"], 3);
    assert_exact("two", &["--servers", "3", "--net", "memory", "--processes", "--per", "2", "--beside-load"], 2);
}

#[test]
fn bare_connections_carry_messages_in_place_of_heartbeats() {
    for arguments in [&["--servers", "3", "--raw"][..], &["--servers", "3", "--raw", "--processes"]] {
        let processes = if arguments.len() == 3 { 1 } else { 3 };
        let outcome = assert_exact("raw", arguments, processes);
        // Six directions, three seconds, four messages a second; a busy machine is late with some.
        let messages = outcome["idle_messages"].as_u64().unwrap();
        assert!((6..=120).contains(&messages), "{messages}");
    }
}

#[test]
fn an_idle_limit_fails_the_run() {
    let (output, document) = mesh("limit", &["--servers", "3", "--net", "tcp", "--limit-idle-percent", "0"]);
    assert!(!output.status.success());
    let failures = document["outcome"]["failures"].as_array().unwrap();
    assert!(failures.len() == 1 && failures[0].as_str().unwrap().contains("above the limit"), "{failures:?}");
}
