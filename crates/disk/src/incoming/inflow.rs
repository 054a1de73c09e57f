use std::collections::BTreeMap;

use haul_manifest::{Entry, ListError, ListReader};

/// The list's blocks, put in order and decoded.
#[derive(Debug, Default)]
pub(super) struct Inflow {
    reader: ListReader,
    /// The block that the reader needs next.
    next: u64,
    early: BTreeMap<u64, Box<[u8]>>,
    early_bytes: u64,
}

impl Inflow {
    /// Takes a block; `false` when it had arrived before.
    pub(super) fn take(&mut self, block: u64, bytes: &[u8]) -> bool {
        if block < self.next || self.early.contains_key(&block) {
            return false;
        }
        if block > self.next {
            self.early.insert(block, bytes.into());
            self.early_bytes += bytes.len() as u64;
            return true;
        }
        self.reader.push(bytes);
        self.next += 1;
        while let Some(bytes) = self.early.remove(&self.next) {
            self.early_bytes -= bytes.len() as u64;
            self.reader.push(&bytes);
            self.next += 1;
        }
        true
    }

    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, ListError> {
        self.reader.next_entry()
    }

    /// Bytes that wait for a block before them.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.early_bytes
    }

    pub(super) fn is_ended(&self) -> bool {
        self.reader.is_ended()
    }

    /// Bytes of content listed so far.
    pub(super) fn content_bytes(&self) -> u64 {
        self.reader.content_bytes()
    }
}
