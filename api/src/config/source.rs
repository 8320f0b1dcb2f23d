//! The text of a configuration, and faults with positions in it.

use super::error::{ConfigError, Details};

/// Text of a configuration and its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

/// Fault in a configuration whose name is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub spot: Spot,
    pub cause: String,
    pub cure: String,
}

/// Place of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// Byte offset in the text.
    At(usize),
    /// Server or setting of a configuration without text.
    Entry(String),
    /// Configuration as a whole.
    Whole,
}

impl Fault {
    pub fn at(offset: usize, cause: impl Into<String>, cure: impl Into<String>) -> Fault {
        Fault { spot: Spot::At(offset), cause: cause.into(), cure: cure.into() }
    }

    pub fn whole(cause: impl Into<String>, cure: impl Into<String>) -> Fault {
        Fault { spot: Spot::Whole, cause: cause.into(), cure: cure.into() }
    }

    /// Converts the fault to an error with its position in this text.
    pub fn in_text(self, source: &Source<'_>) -> ConfigError {
        let mut error = self.details(source.name);
        if let (Spot::At(offset), details) = &mut error {
            details.position = Some(source.position(*offset));
            details.excerpt = Some(source.excerpt(*offset));
        }
        error.1.into()
    }

    /// Converts the fault to an error without text: of a configuration that a program made, or of an unreadable file.
    pub fn in_program(self, name: &str) -> ConfigError {
        self.details(name).1.into()
    }

    fn details(self, name: &str) -> (Spot, Details) {
        let entry = match &self.spot {
            Spot::Entry(entry) => Some(entry.clone()),
            Spot::At(_) | Spot::Whole => None,
        };
        let Fault { spot, cause, cure } = self;
        (spot, Details { name: name.to_owned(), position: None, entry, cause, cure, excerpt: None })
    }
}

impl<'a> Source<'a> {
    /// Returns line and column of a byte, both from 1. A byte-order mark takes no column.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.before(offset);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[start..].chars().filter(|&c| c != BYTE_ORDER_MARK).count() + 1;
        (line, column)
    }

    /// Formats line and column of a byte for messages, as `line:column`.
    pub fn point(&self, offset: usize) -> String {
        let (line, column) = self.position(offset);
        format!("{line}:{column}")
    }

    /// Returns the offset of the first byte after a byte-order mark.
    pub fn start(&self) -> usize {
        if self.text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 }
    }

    /// Returns the line of a byte, with a caret under the byte. Of a long line, it shows only the part near the byte.
    fn excerpt(&self, offset: usize) -> String {
        let (line, column) = self.position(offset);
        let before = self.before(offset);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let whole = self.text[start..].split('\n').next().unwrap_or_default();
        let whole = whole.trim_end_matches('\r').trim_start_matches(BYTE_ORDER_MARK);

        let skipped = column.saturating_sub(EXCERPT_BEFORE);
        let shown: String = whole.chars().skip(skipped).take(EXCERPT_CHARS).map(printable).collect();
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(column - 1 - skipped);
        format!("{number} | {shown}\n{margin} | {indent}^")
    }

    /// Returns the text before a byte, or before the character that contains it.
    fn before(&self, offset: usize) -> &'a str {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        &self.text[..end]
    }
}

/// Formats external text for messages: in double quotes, escaped, and shortened.
pub(super) fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(QUOTED_CHARS).collect();
    let dots = if chars.next().is_some() { "…" } else { "" };
    format!("{head:?}{dots}")
}

/// Formats an external word or number for messages: escaped and shortened, without quotes.
pub(super) fn clipped(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(QUOTED_CHARS).flat_map(char::escape_debug).collect();
    let dots = if chars.next().is_some() { "…" } else { "" };
    format!("{head}{dots}")
}

fn printable(c: char) -> char {
    // A tab becomes one space, so that the caret is under its character.
    if c.is_control() { ' ' } else { c }
}

const BYTE_ORDER_MARK: char = '\u{feff}';
const QUOTED_CHARS: usize = 60;
const EXCERPT_CHARS: usize = 120;
const EXCERPT_BEFORE: usize = 80;
