//! Programs that make networks: `ip` and `tc`.

use std::fs;
use std::io::{self, ErrorKind};
use std::process::Command;

use crate::failure::Failure;

/// Checks that namespaces can be made on this machine.
pub fn check() -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure(
            "network namespaces take root; run this as root, or with --loopback, which does without the faults of the \
             network"
                .to_owned(),
        ));
    }
    ip(&["-Version"])?;
    tc(&["-Version"])
}

/// Returns the names of the existing namespaces.
pub fn namespaces() -> io::Result<Vec<String>> {
    match fs::read_dir("/run/netns") {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

pub fn ip(arguments: &[&str]) -> Result<(), Failure> {
    run("ip", arguments)
}

pub fn tc(arguments: &[&str]) -> Result<(), Failure> {
    run("tc", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new(program).args(arguments).output().map_err(|error| {
        Failure(format!("cannot run {program}: {error}; install iproute2, or use --loopback, which needs none of it"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure(format!(
        "{program} {}: {}; where namespaces are forbidden, --loopback does without",
        arguments.join(" "),
        said.trim()
    )))
}
