//! Typed access to the keys of an object.

use super::address::Flaw;
use super::json::{Entry, Node, Value};
use super::rules::PID_CURE;
use super::source::{Fault, clipped, quoted};
use super::suggest;
use crate::{BROADCAST, Pid};

/// Object that contains known keys only.
pub(super) struct Fields<'n, 'a> {
    at: usize,
    what: &'static str,
    entries: &'n [Entry<'a>],
}

/// Value of one key.
#[derive(Clone, Copy)]
pub(super) struct Field<'n, 'a> {
    pub key: &'static str,
    pub node: &'n Node<'a>,
}

impl<'n, 'a> Fields<'n, 'a> {
    /// Returns the keys of the object `node`, or a fault if it has a key that is not in `known`. Messages call it
    /// `what`.
    pub fn of(node: &'n Node<'a>, what: &'static str, known: &[&'static str]) -> Result<Fields<'n, 'a>, Fault> {
        let Value::Object(entries) = &node.value else {
            let cure = format!("write {{{}: …}}", known.first().map(|key| format!("{key:?}")).unwrap_or_default());
            return Err(Fault::at(
                node.at,
                format!("expected an object for {what}, found {}", node.value.kind()),
                cure,
            ));
        };
        if let Some(entry) = entries.iter().find(|entry| !known.contains(&&*entry.key)) {
            let cure = match suggest::nearest(&entry.key, known.iter().copied()) {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("the keys are {}", suggest::list(known)),
            };
            return Err(Fault::at(entry.at, format!("{} is not a key of {what}", quoted(&entry.key)), cure));
        }
        Ok(Fields { at: node.at, what, entries })
    }

    /// Returns the value of an optional key.
    pub fn find(&self, key: &'static str) -> Option<Field<'n, 'a>> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| Field { key, node: &entry.node })
    }

    /// Returns the value of a required key.
    pub fn need(&self, key: &'static str) -> Result<Field<'n, 'a>, Fault> {
        self.find(key).ok_or_else(|| {
            let cure = format!("add {key:?} to the object that begins here");
            Fault::at(self.at, format!("the key {key:?} of {} is missing", self.what), cure)
        })
    }
}

impl<'n, 'a> Field<'n, 'a> {
    pub fn at(&self) -> usize {
        self.node.at
    }

    pub fn text(&self) -> Result<&'n str, Fault> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.not("a string", "put the value in double quotes")),
        }
    }

    pub fn list(&self) -> Result<&'n [Node<'a>], Fault> {
        match &self.node.value {
            Value::List(nodes) => Ok(nodes),
            _ => Err(self.not("a list", "put the values in [ and ], with commas between them")),
        }
    }

    pub fn flag(&self) -> Result<bool, Fault> {
        match self.node.value {
            Value::Bool(flag) => Ok(flag),
            _ => Err(self.not("true or false", "write true or false, without quotes")),
        }
    }

    /// Returns the value as a whole number of at least 0.
    pub fn whole(&self) -> Result<u64, Fault> {
        let digits = self.digits()?;
        digits.parse().map_err(|_| self.number_fault(digits, u64::MIN, u64::MAX))
    }

    /// Returns the value as a whole number of either sign.
    pub fn signed(&self) -> Result<i64, Fault> {
        let digits = self.digits()?;
        digits.parse().map_err(|_| self.number_fault(digits, i64::MIN, i64::MAX))
    }

    /// Returns the value as a pid, which must be a number.
    pub fn pid(&self) -> Result<Pid, Fault> {
        pid(self.digits()?).map_err(|flaw| self.fault(flaw))
    }

    /// Returns the digits of a number with or without quotes.
    pub fn digits_or_text(&self) -> Result<&'n str, Fault> {
        match &self.node.value {
            Value::Number(digits) => Ok(digits),
            Value::Text(text) => Ok(text),
            _ => Err(self.not("a number in quotes", "write it like \"8081\"")),
        }
    }

    /// Makes a fault at this value from a flaw.
    pub fn fault(&self, flaw: Flaw) -> Fault {
        Fault::at(self.node.at, flaw.cause, flaw.cure)
    }

    fn digits(&self) -> Result<&'a str, Fault> {
        match &self.node.value {
            Value::Number(digits) => Ok(digits),
            Value::Text(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(self.not("a number", &format!("remove the quotes: {}", clipped(text))))
            }
            _ => Err(self.not("a number", "write digits, without quotes")),
        }
    }

    fn number_fault(&self, digits: &str, least: impl std::fmt::Display, most: impl std::fmt::Display) -> Fault {
        let cause = match digits.contains(['.', 'e', 'E']) {
            true => format!("{:?} is {}, which is not written as a whole number", self.key, clipped(digits)),
            false => format!("{:?} is {}, which is out of range", self.key, clipped(digits)),
        };
        Fault::at(self.node.at, cause, format!("use a whole number from {least} to {most}"))
    }

    fn not(&self, wanted: &str, cure: &str) -> Fault {
        Fault::at(self.node.at, format!("expected {wanted} for {:?}, found {}", self.key, self.node.value.kind()), cure)
    }
}

/// Parses a pid from digits.
pub(super) fn pid(digits: &str) -> Result<Pid, Flaw> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let cause = match digits.parse::<Pid>() {
        Ok(pid) if plain && pid != BROADCAST => return Ok(pid),
        Ok(BROADCAST) => format!("pid {} is reserved: it means BROADCAST", clipped(digits)),
        _ if digits == "-1" => "pid -1 is reserved: it means BROADCAST".to_owned(),
        _ if plain => format!("{} is too large for a pid", clipped(digits)),
        _ if digits.starts_with('-') => {
            format!("{} is not a pid: pids are not negative", clipped(digits))
        }
        _ => format!(
            "{} is not a pid: pids are whole numbers",
            if digits.is_empty() { "\"\"".to_owned() } else { clipped(digits) }
        ),
    };
    Err(Flaw { cause, cure: PID_CURE.to_owned() })
}
