//! Standard output and standard error. Who watches may have gone; the exit code still says how it ended.

use std::fmt::Display;
use std::io::{self, Write};

/// One line, or several, of the result.
pub fn print(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Something for whoever watches.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
