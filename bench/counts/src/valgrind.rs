//! What whole messages cost in user space: both ends of two engines under valgrind, from the application's call to the application's
//! call, with all that the loops between them do.

use std::env;
use std::error::Error;
use std::process::Command;

use crate::workloads::{Payload, Workload};

/// How many instructions a thousand messages take, both ends together.
pub fn instructions(workload: Workload) -> Result<f64, Box<dyn Error>> {
    let [instructions] =
        for_thousand(workload, Payload::Short, &["--tool=callgrind", "--callgrind-out-file=/dev/null"], collected)?;
    Ok(instructions)
}

/// What goes through the C library's `memcpy` and its kin.
#[derive(Clone, Copy, Debug)]
pub struct Copies {
    pub count: f64,
    pub bytes: f64,
}

/// What is copied for a thousand messages, both ends together. Few bytes are copied without a call, which nobody sees:
/// the payloads here are longer.
pub fn copies(workload: Workload) -> Result<Copies, Box<dyn Error>> {
    let dhat = ["--tool=dhat", "--mode=copy", "--dhat-out-file=/dev/null"];
    let [bytes, count] = for_thousand(workload, Payload::Long, &dhat, copied)?;
    Ok(Copies { count, bytes })
}

/// What `figures` reads from what valgrind says. What is done once is in both runs, and in the difference no more.
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

/// What callgrind says at its end.
fn collected(said: &str) -> Option<[f64; 1]> {
    let line = said.lines().rev().find(|line| line.contains("Collected :"))?;
    Some([line.split_whitespace().last()?.parse().ok()?])
}

/// What dhat says at its end: so many bytes in so many blocks.
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
