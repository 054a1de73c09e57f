use std::collections::{BTreeMap, BTreeSet};

use crate::DiskError;

/// Most torn blocks that may be announced before they arrive.
const ANNOUNCED_MAX: usize = 1 << 20;

/// Content blocks that cannot be placed yet. Copied out of their batches, which go back to receive
/// more.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Those whose list entries have not arrived.
    unlisted: BTreeMap<u64, Held>,
    /// Torn ones that several files share, until the list says which of them are whole.
    torn: BTreeMap<u64, Box<[u8]>>,
    /// Torn ones of which the list has said so before they arrived.
    announced: BTreeSet<u64>,
    bytes: u64,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Box<[u8]>,
    pub(super) is_torn: bool,
}

impl Waiting {
    pub(super) fn contains(&self, block: u64) -> bool {
        self.unlisted.contains_key(&block) || self.torn.contains_key(&block)
    }

    pub(super) fn hold_unlisted(&mut self, block: u64, bytes: &[u8], is_torn: bool) {
        self.bytes += bytes.len() as u64;
        let bytes = bytes.into();
        self.unlisted.insert(block, Held { bytes, is_torn });
    }

    pub(super) fn hold_torn(&mut self, block: u64, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.torn.insert(block, bytes.into());
    }

    /// The lowest unlisted block, if it is below `end`.
    pub(super) fn take_below(&mut self, end: u64) -> Option<(u64, Held)> {
        let entry = self.unlisted.first_entry()?;
        if *entry.key() >= end {
            return None;
        }
        let (block, held) = entry.remove_entry();
        self.bytes -= held.bytes.len() as u64;
        Some((block, held))
    }

    /// The list has said what is whole in a torn block: takes it if it is here, otherwise remembers
    /// that it need not wait.
    pub(super) fn announce(&mut self, block: u64) -> Result<Option<Box<[u8]>>, DiskError> {
        if let Some(bytes) = self.torn.remove(&block) {
            self.bytes -= bytes.len() as u64;
            return Ok(Some(bytes));
        }
        if self.announced.len() >= ANNOUNCED_MAX {
            return Err(DiskError::TooManyUnfinished);
        }
        self.announced.insert(block);
        Ok(None)
    }

    /// Whether the list has spoken of this torn block; it is forgotten then.
    pub(super) fn take_announced(&mut self, block: u64) -> bool {
        self.announced.remove(&block)
    }

    pub(super) fn last_block(&self) -> Option<u64> {
        let unlisted = self.unlisted.last_key_value().map(|(block, _)| *block);
        unlisted.max(self.torn.last_key_value().map(|(block, _)| *block))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unlisted.is_empty() && self.torn.is_empty()
    }
}
