//! Standard output and standard error. `print!` is not used, because it panics on a closed pipe.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints one line or several on standard output, and flushes it.
///
/// # Errors
/// The error of the write: the reader has closed the pipe, or the output's device is full.
pub fn print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints one line or several on standard error, for the user. Errors are ignored.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
