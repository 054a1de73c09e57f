//! Reads a fuzzer's bytes as a script of numbers.

/// What is left of the input; big-endian numbers come off its front, zeros once it is used up.
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `len` bytes, or what there is.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// A number of `len` bytes, at most eight.
    pub fn number(&mut self, len: usize) -> u64 {
        let taken = self.take(len).iter();
        taken.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}
