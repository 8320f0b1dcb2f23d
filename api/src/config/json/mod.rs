//! JSON values with their positions, so that an error can point at the value that it concerns.
//!
//! The parser is written here because no considered crate fits: serde_json drops positions and keeps the last of two
//! equal keys; jsonc-parser has spans, but rejects several objects in a row; and neither can report "between two
//! servers". serde_json still parses numbers and escapes.

mod reader;

use std::borrow::Cow;

pub(super) use reader::read;

/// Value and the offset of its first byte.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node<'a> {
    pub at: usize,
    pub value: Value<'a>,
}

/// JSON value. Numbers keep their text, so that no digit of a pid is lost.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    /// Text of a string, borrowed unless it contains escapes.
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<Entry<'a>>),
}

/// Key with its offset, and its value. The keys of one object are unique.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry<'a> {
    pub at: usize,
    pub key: Cow<'a, str>,
    pub node: Node<'a>,
}

impl Value<'_> {
    /// Returns the kind of the value, for "expected a number, found …".
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}
