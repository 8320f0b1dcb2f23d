//! Instructions of whole messages: both ends of two engines under valgrind, from the application's call to the application's
//! call, with all that the loops between them do in user space.

use std::env;
use std::error::Error;
use std::process::Command;

use crate::structure::workloads::Workload;

/// How many instructions a thousand messages take, both ends together.
pub fn count(workload: Workload) -> Result<f64, Box<dyn Error>> {
    // What is done once is in both runs, and in the difference no more.
    let (few, many) = (run(workload, FEW)?, run(workload, MANY)?);
    Ok((many - few) / (MANY - FEW) as f64 * 1000.0)
}

fn run(workload: Workload, messages: u64) -> Result<f64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["workload", workload.name(), "--messages", &messages.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    match collected(&said) {
        Some(instructions) if output.status.success() => Ok(instructions),
        _ => Err(format!("valgrind, {}: {}\n{said}", workload.name(), output.status).into()),
    }
}

/// What callgrind says at its end.
fn collected(said: &str) -> Option<f64> {
    let line = said.lines().rev().find(|line| line.contains("Collected :"))?;
    line.split_whitespace().last()?.parse().ok()
}

const FEW: u64 = 20_000;
const MANY: u64 = 120_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrind_says_how_many_at_its_end() {
        let said = "==7== Events    : Ir\n==7== Collected : 7960823\n==7== \n==7== I   refs:      7,960,823\n";
        assert_eq!(collected(said), Some(7_960_823.0));
        assert_eq!(collected("==7== Command: nothing"), None);
    }
}
