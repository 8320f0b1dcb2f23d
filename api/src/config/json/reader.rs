//! Parser from text to values, by recursive descent.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Entry, Node, Value};
use crate::config::source::{Fault, Source, clipped, quoted};

/// Reads the values of a text: usually one, or several objects in a row.
pub(in crate::config) fn read<'a>(source: &Source<'a>) -> Result<Vec<Node<'a>>, Fault> {
    let mut reader = Reader { source: *source, at: source.start(), last: source.start(), open: Vec::new() };
    let mut nodes = Vec::new();
    reader.skip_space();
    while let Some(byte) = reader.peek() {
        match byte {
            _ if nodes.is_empty() => {}
            b'{' => {}
            b',' => {
                let cause = "unexpected ',' between two objects";
                return Err(Fault::at(
                    reader.at,
                    cause,
                    "remove it: objects that follow one another have no comma between them",
                ));
            }
            _ => {
                let cause = format!("unexpected {} after the end of the configuration", reader.found());
                return Err(Fault::at(reader.at, cause, "remove what follows the last '}'"));
            }
        }
        nodes.push(reader.value()?);
        reader.skip_space();
    }
    Ok(nodes)
}

struct Reader<'a> {
    source: Source<'a>,
    /// Offset of the next byte. Outside of strings it is always at a character boundary.
    at: usize,
    /// Offset of the last byte of the value that was read last.
    last: usize,
    /// Offsets of the brackets that are not closed yet, outermost first.
    open: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Node<'a>, Fault> {
        let at = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object()?,
            Some(b'[') => self.list()?,
            Some(b'"') => Value::Text(self.text()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.literal()?,
        };
        self.last = self.at.saturating_sub(1);
        Ok(Node { at, value })
    }

    fn object(&mut self) -> Result<Value<'a>, Fault> {
        self.enter()?;
        let mut entries: Vec<Entry<'a>> = Vec::new();
        let mut seen: HashMap<Cow<'a, str>, usize> = HashMap::new();
        if self.leave_at(b'}') {
            return Ok(Value::Object(entries));
        }
        loop {
            let at = self.at;
            let key = self.key()?;
            if let Some(first) = seen.insert(key.clone(), at) {
                let cause = format!(
                    "the key {} stands twice in one object (first at {})",
                    quoted(&key),
                    self.source.point(first)
                );
                return Err(Fault::at(at, cause, "keep one of them"));
            }
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected(&format!("':' after the key {}", quoted(&key)), "write \"key\": value"));
            }
            self.at += 1;
            self.skip_space();
            let node = self.value()?;
            entries.push(Entry { at, key, node });
            self.skip_space();
            match self.peek() {
                Some(b',') => self.comma_before(b'}')?,
                Some(b'"' | b'_' | b'a'..=b'z' | b'A'..=b'Z') => {
                    return Err(self.missing_comma("two keys"));
                }
                _ if self.leave_at(b'}') => return Ok(Value::Object(entries)),
                _ => {
                    return Err(self.unexpected(
                        "',' or '}' after a value",
                        "separate keys with ',' and close the object with '}'",
                    ));
                }
            }
        }
    }

    fn list(&mut self) -> Result<Value<'a>, Fault> {
        self.enter()?;
        let mut nodes = Vec::new();
        if self.leave_at(b']') {
            return Ok(Value::List(nodes));
        }
        loop {
            nodes.push(self.value()?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.comma_before(b']')?,
                // In every format, a list of objects is a list of servers.
                Some(b'{') => return Err(self.missing_comma("two servers")),
                Some(b'"' | b'[' | b'-' | b'0'..=b'9' | b'a'..=b'z') => {
                    return Err(self.missing_comma("two values"));
                }
                _ if self.leave_at(b']') => return Ok(Value::List(nodes)),
                _ => {
                    return Err(self.unexpected(
                        "',' or ']' after a value",
                        "separate values with ',' and close the list with ']'",
                    ));
                }
            }
        }
    }

    fn key(&mut self) -> Result<Cow<'a, str>, Fault> {
        match self.peek() {
            Some(b'"') => self.text(),
            Some(byte) if byte == b'_' || byte.is_ascii_alphabetic() => {
                let word = clipped(self.word());
                let cure = format!("put keys in double quotes: \"{word}\"");
                Err(Fault::at(self.at, format!("the key {word} stands without quotes"), cure))
            }
            _ => Err(self.unexpected("a key in double quotes", "write \"key\": value")),
        }
    }

    fn text(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at;
        let mut escaped = false;
        let mut end = start + 1;
        loop {
            match self.source.text.as_bytes().get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += 2;
                }
                // A truncated file usually still ends with a line break.
                Some(b'\n' | b'\r') if self.source.text[end..].trim_end().is_empty() => {
                    return Err(ends_inside(start));
                }
                Some(b'\n' | b'\r') => {
                    let cause = "this string is not closed on its line";
                    return Err(Fault::at(start, cause, "close it with '\"', or write \\n for a line break"));
                }
                Some(byte @ 0..0x20) => {
                    let cause = format!("a control character (code {byte}) in a string");
                    return Err(Fault::at(end, cause, format!("write it as \\u{byte:04x}")));
                }
                Some(_) => end += 1,
                None => return Err(ends_inside(start)),
            }
        }
        self.at = end + 1;
        if !escaped {
            return Ok(Cow::Borrowed(&self.source.text[start + 1..end]));
        }
        serde_json::from_str(&self.source.text[start..=end]).map(Cow::Owned).map_err(|_| {
            let cause = "this string holds an escape that JSON does not know";
            Fault::at(
                start,
                cause,
                r#"use \" \\ \/ \b \f \n \r \t or \u and four digits (two of them for a surrogate pair)"#,
            )
        })
    }

    fn number(&mut self) -> Result<Value<'a>, Fault> {
        let start = self.at;
        let token = self.word();
        if serde_json::from_str::<serde_json::Number>(token).is_err() {
            let cause = format!("{} is not a number as JSON writes it", clipped(token));
            return Err(Fault::at(start, cause, "write digits alone, without leading zeros, units or separators"));
        }
        self.at += token.len();
        Ok(Value::Number(token))
    }

    fn literal(&mut self) -> Result<Value<'a>, Fault> {
        let word = self.word();
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ => {
                return Err(self.unexpected(
                    "a value",
                    "write a number, a string in double quotes, true, false, a list or an object",
                ));
            }
        };
        self.at += word.len();
        Ok(value)
    }

    /// Skips an opening bracket.
    fn enter(&mut self) -> Result<(), Fault> {
        if self.open.len() == MAX_DEPTH {
            let cause = format!("objects and lists are nested more than {MAX_DEPTH} deep");
            return Err(Fault::at(self.at, cause, "flatten the file: no format needs more than 4 levels"));
        }
        self.open.push(self.at);
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Skips this closing bracket if it is next. Returns whether it was.
    fn leave_at(&mut self, bracket: u8) -> bool {
        let here = self.peek() == Some(bracket);
        if here {
            self.at += 1;
            self.open.pop();
        }
        here
    }

    /// Skips a comma, which must not be directly before the closing bracket.
    fn comma_before(&mut self, bracket: u8) -> Result<(), Fault> {
        let comma = self.at;
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(bracket) {
            let bracket = char::from(bracket);
            return Err(Fault::at(comma, format!("a comma before the closing '{bracket}'"), "remove the comma"));
        }
        Ok(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.source.text.as_bytes().get(self.at).copied()
    }

    /// Returns the letters, digits and number signs from here on; possibly none.
    fn word(&self) -> &'a str {
        let rest = &self.source.text[self.at..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '.' | '+' | '-'));
        &rest[..end.unwrap_or(rest.len())]
    }

    /// Describes the next token for messages.
    fn found(&self) -> String {
        match self.source.text[self.at..].chars().next() {
            Some('\'') => "\"'\"".to_owned(),
            Some(c) if self.word().is_empty() => format!("'{}'", c.escape_debug()),
            Some(_) => clipped(self.word()),
            None => "the end of the text".to_owned(),
        }
    }

    fn missing_comma(&self, between: &str) -> Fault {
        let before = self.source.text.as_bytes().get(self.last).copied().map_or(' ', char::from);
        let cure = format!("add a comma after the `{before}` at {}", self.source.point(self.last));
        Fault::at(self.at, format!("expected ',' between {between}"), cure)
    }

    /// Makes the fault of finding another token than `wanted` here.
    fn unexpected(&self, wanted: &str, cure: &str) -> Fault {
        match self.source.text[self.at..].chars().next() {
            None => self.ended(wanted),
            Some('/' | '#') => Fault::at(self.at, "a comment, which JSON does not have", "remove it"),
            Some('\'' | '`' | '“' | '”' | '‘' | '’') => {
                Fault::at(self.at, format!("expected {wanted}, found {}", self.found()), "use plain double quotes: \"")
            }
            Some(_) => Fault::at(self.at, format!("expected {wanted}, found {}", self.found()), cure),
        }
    }

    fn ended(&self, wanted: &str) -> Fault {
        let end = self.source.text.trim_end().len().max(self.source.start());
        let cure = match self.open.last() {
            Some(&open) => {
                let bracket = self.source.text.as_bytes().get(open).copied().map_or(' ', char::from);
                format!("complete the file: the `{bracket}` at {} is not closed", self.source.point(open))
            }
            None => "complete the file".to_owned(),
        };
        Fault::at(end, format!("the text ends where {wanted} should stand"), cure)
    }
}

fn ends_inside(string: usize) -> Fault {
    Fault::at(string, "the text ends inside this string", "complete the file: close the string with '\"'")
}

/// Deepest nesting: far more than a configuration needs, far less than the stack holds.
const MAX_DEPTH: usize = 32;
