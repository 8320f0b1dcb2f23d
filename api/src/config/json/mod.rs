//! JSON whose values know where they stand, so that an error can point at the very value it is about.
//!
//! Written here because no kept crate does it for this use: serde_json forgets positions and keeps the last of two equal
//! keys; jsonc-parser has spans, but refuses objects that follow one another; and neither can say "between two servers".
//! serde_json still decides what a number is and what an escape means.

mod reader;

use std::borrow::Cow;

pub(super) use reader::read;

/// A value and the byte it begins at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node<'a> {
    pub at: usize,
    pub value: Value<'a>,
}

/// What JSON can say. Numbers stay as they are written, so that no digit of a pid is lost.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    /// Borrowed unless it holds escapes.
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<Entry<'a>>),
}

/// A key, where it stands, and its value. No two of one object have the same key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry<'a> {
    pub at: usize,
    pub key: Cow<'a, str>,
    pub node: Node<'a>,
}

impl Value<'_> {
    /// What it is, for "expected a number, found …".
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
