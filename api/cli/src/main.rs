//! The `cluster` program.
//!
//! | file | content |
//! | --- | --- |
//! | `arguments` | the command line |
//! | `demo/` | servers in one process that check each other's messages |
//! | `run/` | one server in the foreground |
//! | `check` | check of a configuration |
//! | `doctor` | check of the machine |
//! | `failure` | failures and exit codes |
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
