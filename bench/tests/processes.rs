//! Servers in processes of their own, through the program that starts them.

use std::fs;
use std::process::Command;

#[test]
fn contenders_run_in_processes() {
    let json = std::env::temp_dir().join(format!("cluster-processes-{}.json", std::process::id()));
    let contenders = "cluster-inline-parked,cluster-dedicated-fast,tcp-blocking,tcp-framed,zmq";
    for (case, expected) in [("round_trip", 3), ("all_to_all", 3), ("slow_consumer", 2)] {
        let output = Command::new(env!("CARGO_BIN_EXE_cluster-bench"))
            .args(["compare", "--quick", "--processes", "--rounds", "1", "--size", "64", "--case", case])
            .args(["--only", contenders, "--json"])
            .arg(&json)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let written: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
        assert_eq!(written["processes"], true);
        let rows = written["rows"].as_array().unwrap();
        assert_eq!(rows.len(), expected, "{case}: {rows:?}");
        assert!(rows.iter().all(|row| row["processor_ns_per_message"].as_f64() > Some(0.0)));
    }
    fs::remove_file(&json).unwrap();
}
