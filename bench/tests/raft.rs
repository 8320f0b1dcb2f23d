//! Groups of consensus libraries, through the program that starts their processes.
#![cfg(feature = "raft")]

use std::collections::BTreeSet;
use std::fs;
use std::process::{self, Command};

use cluster_bench::raft::contenders;
use serde_json::Value;

fn raft(name: &str, arguments: &[&str]) -> Value {
    let json = std::env::temp_dir().join(format!("cluster-raft-{name}-{}.json", process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_cluster-bench"))
        .args(["raft", "--quick", "--rounds", "1", "--json"])
        .arg(&json)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    let document: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    fs::remove_file(&json).unwrap();
    assert_eq!(document["failures"], Value::Array(Vec::new()), "{name}");
    document
}

/// Each run has compared the content of all nodes; one that finds a difference fails.
#[test]
fn every_contender_replicates_what_clients_write() {
    let document = raft("writes", &["--clients", "2", "--size", "64,4096"]);
    let rows = document["rows"].as_array().unwrap();
    let name = |row: &Value| (row["library"].to_string(), row["contender"].to_string());
    let measured: BTreeSet<_> = rows.iter().map(name).collect();
    assert_eq!((measured.len(), rows.len()), (contenders::ALL.len(), 2 * contenders::ALL.len()));
    for row in rows {
        for figure in ["writes_per_second", "p50_us", "p999_us", "cpu_us_per_write", "ratio_to_tokio_tcp"] {
            assert!(row[figure].as_f64() > Some(0.0), "{figure} of {row}");
        }
    }
}

#[test]
fn a_node_joins_by_a_snapshot_beside_writes() {
    let bytes = (8 << 20).to_string();
    let document = raft("snapshot", &["--case", "snapshot", "--only", "tokio-tcp", "--snapshot-bytes", &bytes]);
    let [row] = &document["snapshots"].as_array().unwrap()[..] else { panic!("one contender") };
    assert!(row["writes_per_second_meanwhile"].as_f64() > Some(0.0), "{row}");
    assert_eq!((&row["bytes"], &row["leader_changes"]), (&(8 << 20).into(), &0.into()));
}

#[test]
fn a_survivor_leads_after_the_death_of_the_leader() {
    let document = raft("failover", &["--case", "failover", "--only", "tokio-tcp", "channels-tokio-tcp"]);
    let rows = document["failovers"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    // Nobody is elected before the shortest election timeout, less the age of the last heartbeat.
    assert!(rows.iter().all(|row| row["shortest_ms"].as_f64() > Some(100.0)), "{rows:?}");
}
