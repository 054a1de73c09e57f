use std::collections::VecDeque;

use crate::Entry;

/// Entries to blocks, for the sender.
///
/// Blocks stay readable until [released](Self::release), because they may have to be sent again.
#[derive(Debug)]
pub struct ListWriter {
    block_len: usize,
    /// Number of the first block in `blocks`.
    first: u64,
    blocks: VecDeque<Box<[u8]>>,
    /// What does not fill a block yet.
    partial: Vec<u8>,
}

impl ListWriter {
    /// A writer of an empty list.
    ///
    /// # Panics
    /// When `block_len` is 0.
    pub fn new(block_len: usize) -> Self {
        assert!(block_len > 0);
        Self {
            block_len,
            first: 0,
            blocks: VecDeque::new(),
            partial: Vec::with_capacity(block_len),
        }
    }

    /// Appends an entry and returns the number of the block in which it ends.
    pub fn push(&mut self, entry: &Entry) -> u64 {
        entry.encode(&mut self.partial);
        while self.partial.len() > self.block_len {
            let rest = self.partial.split_off(self.block_len);
            self.seal(rest);
        }
        let last = self.blocks();
        if self.partial.len() == self.block_len {
            self.seal(Vec::with_capacity(self.block_len));
        }
        last
    }

    /// Fills the last block with padding so that everything pushed so far can be sent.
    pub fn pad(&mut self) {
        if !self.partial.is_empty() {
            self.partial.resize(self.block_len, 0);
            self.seal(Vec::with_capacity(self.block_len));
        }
    }

    /// How many blocks are whole: blocks `0..blocks()` can be sent.
    pub fn blocks(&self) -> u64 {
        self.first + self.blocks.len() as u64
    }

    /// Whether something has been pushed that is in no whole block.
    pub fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// A whole block that has not been released.
    pub fn block(&self, block: u64) -> Option<&[u8]> {
        let index = usize::try_from(block.checked_sub(self.first)?).ok()?;
        self.blocks.get(index).map(|bytes| &**bytes)
    }

    /// Forgets the blocks below `floor`.
    pub fn release(&mut self, floor: u64) {
        while self.first < floor && self.blocks.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Bytes of the blocks that have not been released.
    pub fn held_bytes(&self) -> usize {
        self.blocks.len() * self.block_len + self.partial.len()
    }

    fn seal(&mut self, next: Vec<u8>) {
        let block = std::mem::replace(&mut self.partial, next);
        self.blocks.push_back(block.into_boxed_slice());
    }
}
