//! Failures of commands, and their exit codes.

use std::io;
use std::process::ExitCode;

use cluster::{ConfigError, StartError};

use crate::output::say;

/// Exit code for errors of the caller: arguments (clap's code for them) and configuration.
const USAGE: u8 = 2;

/// Reason why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong.
    Config(ConfigError),
    /// Any other failure; the text names the thing, the cause and the cure.
    Other(String),
    /// Standard output cannot be written to.
    Output(io::Error),
}

impl Failure {
    /// Prints the failure on standard error, and returns its exit code.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Config(error) => {
                say(format_args!("error: {error}"));
                if let Some(excerpt) = error.excerpt() {
                    say(excerpt);
                }
                ExitCode::from(USAGE)
            }
            Failure::Other(error) => {
                say(format_args!("error: {error}"));
                ExitCode::FAILURE
            }
            // The reader of the output has closed the pipe, which is not an error.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Failure::Output(error) => {
                say(format_args!("error: cannot write to standard output: {error}; where does it lead?"));
                ExitCode::FAILURE
            }
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Config(error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        match error {
            StartError::Config(error) => Failure::Config(error),
            error => Failure::Other(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}
