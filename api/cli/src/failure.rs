//! How a command ends that did not do what it was asked.

use std::io;
use std::process::ExitCode;

use cluster::{ConfigError, StartError};

use crate::output::say;

/// The exit code for what the caller got wrong: arguments (clap's code for them) and configuration.
const USAGE: u8 = 2;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong.
    Config(ConfigError),
    /// Anything else; the text names the thing, the cause and the cure.
    Other(String),
    /// Standard output cannot be written to.
    Output(io::Error),
}

impl Failure {
    /// Says on standard error what went wrong, and gives the exit code for it.
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
            // Whoever read our output has seen enough of it.
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
