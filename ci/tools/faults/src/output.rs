//! Standard output and standard error. Errors are ignored: if the reader has gone, the exit code still tells the
//! result.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes one or more lines of the result to standard output.
pub fn print(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Writes a line for people to standard error.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
