//! Bytes as a source of choices, so that a fuzzer can make them.

/// Rest of the input. At its end, every choice is 0.
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// Returns a number below `end`, which is at most 256.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub fn chance(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Returns any number; small ones take few bytes. The number is often `near` or one that is easily confused with
    /// it.
    pub fn number(&mut self, near: u64) -> u64 {
        match self.byte() {
            0..0x80 => near,
            choice @ 0x80..0xA0 => near.wrapping_add_signed(8 * (i64::from(choice) - 0x90)),
            choice @ 0xA0..0xE0 => 1u64.rotate_left(u32::from(choice)),
            0xE0..0xF0 => u64::from(self.byte()) * 8,
            _ => {
                let bytes = self.take(8);
                let mut number = [0; 8];
                number[..bytes.len()].copy_from_slice(bytes);
                u64::from_le_bytes(number)
            }
        }
    }

    /// Returns the next `length` bytes, or fewer at the end of the input.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}
