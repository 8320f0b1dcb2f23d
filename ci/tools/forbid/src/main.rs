//! Runs a command to which the three system calls of io_uring are forbidden by a seccomp filter, as Docker and
//! containerd do by default. It takes no privilege.
#![allow(clippy::print_stderr, reason = "a command line reports its errors there")]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("Usage: forbid-io-uring COMMAND [ARGUMENT]...");
        return ExitCode::from(2);
    };
    if let Err(error) = forbid() {
        eprintln!("io_uring cannot be forbidden here: {error}; is this Linux with seccomp?");
        return ExitCode::FAILURE;
    }
    // Tests of io_uring itself are left out where this is set.
    let error = Command::new(&program).args(arguments).env("IO_URING_FORBIDDEN", "1").exec();
    eprintln!("cannot run {}: {error}", program.display());
    ExitCode::FAILURE
}

/// Forbids io_uring to this process and its descendants: each call fails with EPERM.
fn forbid() -> Result<(), Box<dyn Error>> {
    let calls = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    let rules: BTreeMap<i64, Vec<_>> = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}
