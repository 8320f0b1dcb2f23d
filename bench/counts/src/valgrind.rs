//! Cost of whole messages in user space: both ends of two engines under valgrind, from the sender's call to the
//! receiver's call, with all the work of the loops between them.

use std::env;
use std::error::Error;
use std::process::Command;

use crate::workloads::{Payload, Workload};

/// Returns the instructions of a thousand messages, both ends together.
pub fn instructions(workload: Workload) -> Result<f64, Box<dyn Error>> {
    let [instructions] =
        for_thousand(workload, Payload::Short, &["--tool=callgrind", "--callgrind-out-file=/dev/null"], collected)?;
    Ok(instructions)
}

/// Copies by the C library's `memcpy` and its relatives.
#[derive(Clone, Copy, Debug)]
pub struct Copies {
    pub count: f64,
    pub bytes: f64,
}

/// Returns the copies of a thousand messages, both ends together. Copies of few bytes are inlined and not seen: the
/// payloads here are longer.
pub fn copies(workload: Workload) -> Result<Copies, Box<dyn Error>> {
    let dhat = ["--tool=dhat", "--mode=copy", "--dhat-out-file=/dev/null"];
    let [bytes, count] = for_thousand(workload, Payload::Long, &dhat, copied)?;
    Ok(Copies { count, bytes })
}

/// Returns the figures per thousand messages that `figures` reads from valgrind's output. Two runs are compared, so
/// that work done once cancels out.
fn for_thousand<const N: usize>(
    workload: Workload,
    payload: Payload,
    options: &[&str],
    figures: fn(&str) -> Option<[f64; N]>,
) -> Result<[f64; N], Box<dyn Error>> {
    let run = |messages: u64| -> Result<[f64; N], Box<dyn Error>> {
        let output = Command::new("valgrind")
            .args(options)
            .arg(env::current_exe()?)
            .args(["workload", workload.name(), "--messages", &messages.to_string(), "--payload", payload.name()])
            .output()
            .map_err(|error| format!("valgrind does not run: {error}; see `ci/counts`"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        match figures(&said) {
            Some(figures) if output.status.success() => Ok(figures),
            _ => Err(format!("valgrind, {}: {}\n{said}", workload.name(), output.status).into()),
        }
    };
    let few = workload.messages() / 10;
    let many = 6 * few;
    let (before, after) = (run(few)?, run(many)?);
    Ok(std::array::from_fn(|index| (after[index] - before[index]) / (many - few) as f64 * 1000.0))
}

/// Reads the instructions from callgrind's last lines.
fn collected(said: &str) -> Option<[f64; 1]> {
    let line = said.lines().rev().find(|line| line.contains("Collected :"))?;
    Some([line.split_whitespace().last()?.parse().ok()?])
}

/// Reads the bytes and the blocks from dhat's last lines.
fn copied(said: &str) -> Option<[f64; 2]> {
    let (_, total) = said.lines().rev().find_map(|line| line.split_once("Total:"))?;
    let mut numbers = total.split_whitespace().filter_map(|word| word.replace(',', "").parse().ok());
    Some([numbers.next()?, numbers.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrind_says_how_many_at_its_end() {
        let said = "==7== Events    : Ir\n==7== Collected : 7960823\n==7== \n==7== I   refs:      7,960,823\n";
        assert_eq!(collected(said), Some([7_960_823.0]));
        assert_eq!(collected("==7== Command: nothing"), None);
    }

    #[test]
    fn dhat_says_how_much_at_its_end() {
        assert_eq!(
            copied("==7== \n==7== Total:     16,242,034 bytes in 216,510 blocks\n==7== \n"),
            Some([16_242_034.0, 216_510.0])
        );
        assert_eq!(copied("==7== Total:     a few bytes"), None);
    }
}
