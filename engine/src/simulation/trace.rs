//! What happened, as a number that tells two runs apart, and for whoever wants to read it, as lines.

use std::fmt::{Arguments, Debug};
use std::hash::{Hash, Hasher};

use crate::time::Time;

/// Takes the lines of a trace.
pub type Lines<'a> = &'a mut dyn FnMut(&str);

/// What happened, hashed as it happens.
pub(super) struct Trace {
    hash: Words,
    /// Filled and emptied again by whoever prints; `None`: nobody does.
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(readable: bool) -> Trace {
        Trace { hash: Words(0xCBF2_9CE4_8422_2325), lines: readable.then(Vec::new) }
    }

    /// Something of which there is much.
    pub(super) fn record(&mut self, now: Time, what: &(impl Debug + Hash)) {
        now.hash(&mut self.hash);
        what.hash(&mut self.hash);
        if let Some(lines) = &mut self.lines {
            lines.push(line(now, format_args!("{what:?}")));
        }
    }

    /// Something of which there is less.
    pub(super) fn say(&mut self, now: Time, what: Arguments<'_>) {
        let line = line(now, what);
        self.hash.write(line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// The lines since the last call.
    pub(super) fn take_lines(&mut self) -> Vec<String> {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

fn line(now: Time, what: Arguments<'_>) -> String {
    format!("{:>13.6} ms  {what}", now.as_nanos() as f64 / 1e6)
}

/// FNV-1a over words: the standard library promises nothing about its own hashes.
struct Words(u64);

impl Words {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01B3).rotate_left(29);
    }
}

impl Hasher for Words {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.word(u64::from(*byte)));
    }

    fn write_u32(&mut self, word: u32) {
        self.word(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.word(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.word(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.word(word as u64);
    }
}
