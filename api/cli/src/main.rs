//! The `cluster` program.
//!
//! | file | what it is |
//! | --- | --- |
//! | `arguments` | the command line |
//! | `demo/` | servers in one process that check what they send each other |
//! | `run/` | one server in the foreground |
//! | `check` | a configuration, looked at |
//! | `doctor` | the machine, looked at |
//! | `failure` | how a command ends that did not do what it was asked |
//! | `output` | standard output and standard error |
#![forbid(unsafe_code)]

mod arguments;
mod check;
mod demo;
mod doctor;
mod failure;
mod output;
mod run;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Doctor => doctor::doctor(),
    };
    result.unwrap_or_else(|failure| failure.report())
}
