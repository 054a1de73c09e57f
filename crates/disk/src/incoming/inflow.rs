use std::collections::BTreeMap;

use haul_manifest::{Entry, ListError, ListReader, RangeSet};

use crate::DiskError;

/// The list's bytes, put in order and decoded.
#[derive(Debug, Default)]
pub(super) struct Inflow {
    reader: ListReader,
    /// Where the byte is that the reader needs next.
    next: u64,
    /// What came before its turn, by the place of its first byte.
    early: BTreeMap<u64, Box<[u8]>>,
    early_bytes: u64,
}

impl Inflow {
    /// Takes bytes of the list, of which the first is at `at`; `false` when they had arrived before.
    pub(super) fn take(&mut self, at: u64, bytes: &[u8]) -> bool {
        let end = at + bytes.len() as u64;
        let waiting = self.early.get(&at).map_or(0, |early| early.len());
        if end <= self.next || waiting >= bytes.len() {
            return false;
        }
        if at > self.next {
            self.early.insert(at, bytes.into());
            self.early_bytes += (bytes.len() - waiting) as u64;
            return true;
        }
        self.read(at, bytes);
        while let Some(entry) = self.early.first_entry()
            && *entry.key() <= self.next
        {
            let (at, bytes) = entry.remove_entry();
            self.early_bytes -= bytes.len() as u64;
            self.read(at, &bytes);
        }
        true
    }

    /// Reads what has not been read of bytes that do not begin too late.
    fn read(&mut self, at: u64, bytes: &[u8]) {
        let known = (self.next - at) as usize;
        if let Some(fresh) = bytes.get(known..) {
            self.reader.push(fresh);
            self.next += fresh.len() as u64;
        }
    }

    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, ListError> {
        self.reader.next_entry()
    }

    /// Bytes that wait for others before them.
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

    /// How many bytes of content there are, the last block's padding included, once the list has
    /// ended.
    pub(super) fn total_bytes(&self, block_len: usize) -> Option<u64> {
        let padded = self
            .content_bytes()
            .checked_next_multiple_of(block_len as u64);
        // What is out of this world is refused when the list ends.
        self.is_ended().then_some(padded.unwrap_or(u64::MAX))
    }

    /// Whether all content listed is among what has arrived.
    ///
    /// # Errors
    /// [`DiskError::BlockBeyondEnd`] when more has arrived than is listed.
    pub(super) fn is_complete(
        &self,
        arrived: &RangeSet,
        block_len: usize,
    ) -> Result<bool, DiskError> {
        let Some(total) = self.total_bytes(block_len) else {
            return Ok(false);
        };
        let last = arrived.ranges().next_back();
        if last.is_some_and(|range| range.end > total) {
            return Err(DiskError::BlockBeyondEnd);
        }
        Ok(arrived.len() == total)
    }
}
