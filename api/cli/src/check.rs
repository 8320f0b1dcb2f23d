//! `cluster check`: reads a configuration and prints it in the native format.

use std::process::ExitCode;

use cluster::Config;

use crate::arguments::Check;
use crate::failure::Failure;
use crate::output::print;

pub fn check(arguments: &Check) -> Result<ExitCode, Failure> {
    let config = Config::from_file(&arguments.file)?;
    if let Some(pid) = arguments.pid {
        config.require(pid)?;
    }
    print(config.to_json().trim_end())?;
    Ok(ExitCode::SUCCESS)
}
