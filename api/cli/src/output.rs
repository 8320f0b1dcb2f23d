//! Standard output and standard error. Neither `print!`, which panics when nobody reads, nor anything that hides an error.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints one line, or several, on standard output.
///
/// # Errors
/// Nobody reads it any more, or there is no room where it leads.
pub fn print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Says something to whoever watches: one line, or several, on standard error. If nobody does, nothing is lost.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
