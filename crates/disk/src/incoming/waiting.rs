use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::content::Fragment;
use crate::DiskError;

/// Most torn blocks that may be announced before they arrive.
const ANNOUNCED_MAX: usize = 1 << 20;

/// Content that cannot be placed yet, by its first byte's place. Copied out of its batches, which go
/// back to receive more.
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

/// Bytes and the place of the first.
type Placed = (u64, Box<[u8]>);

#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Box<[u8]>,
    pub(super) is_torn: bool,
}

impl Waiting {
    /// Whether these bytes wait already, as themselves or as the beginning of more.
    pub(super) fn contains(&self, fragment: &Fragment<'_>) -> bool {
        let unlisted = self.unlisted.get(&fragment.at).map(|held| held.bytes.len());
        let torn = self.torn.get(&fragment.at).map(|bytes| bytes.len());
        unlisted.max(torn) >= Some(fragment.bytes.len())
    }

    pub(super) fn hold_unlisted(&mut self, fragment: &Fragment<'_>) {
        let held = Held {
            bytes: fragment.bytes.into(),
            is_torn: fragment.is_torn,
        };
        self.bytes += held.bytes.len() as u64;
        if let Some(shorter) = self.unlisted.insert(fragment.at, held) {
            self.bytes -= shorter.bytes.len() as u64;
        }
    }

    pub(super) fn hold_torn(&mut self, fragment: &Fragment<'_>) {
        self.bytes += fragment.bytes.len() as u64;
        if let Some(shorter) = self.torn.insert(fragment.at, fragment.bytes.into()) {
            self.bytes -= shorter.len() as u64;
        }
    }

    /// The first that is unlisted, if it ends by `end`.
    pub(super) fn take_below(&mut self, end: u64) -> Option<(u64, Held)> {
        let entry = self.unlisted.first_entry()?;
        if *entry.key() + entry.get().bytes.len() as u64 > end {
            return None;
        }
        let (at, held) = entry.remove_entry();
        self.bytes -= held.bytes.len() as u64;
        Some((at, held))
    }

    /// The list has said what is whole in a torn block, whose bytes are `range`: takes what is here
    /// of it, and remembers that the rest need not wait.
    pub(super) fn announce(
        &mut self,
        block: u64,
        range: Range<u64>,
    ) -> Result<Vec<Placed>, DiskError> {
        if self.announced.len() >= ANNOUNCED_MAX {
            return Err(DiskError::TooManyUnfinished);
        }
        self.announced.insert(block);
        let places: Vec<u64> = self.torn.range(range).map(|(&at, _)| at).collect();
        let mut taken = Vec::with_capacity(places.len());
        for at in places {
            if let Some(bytes) = self.torn.remove(&at) {
                self.bytes -= bytes.len() as u64;
                taken.push((at, bytes));
            }
        }
        Ok(taken)
    }

    /// Whether the list has spoken of this torn block.
    pub(super) fn is_announced(&self, block: u64) -> bool {
        self.announced.contains(&block)
    }

    /// All of the block has arrived.
    pub(super) fn forget_announced(&mut self, block: u64) {
        self.announced.remove(&block);
    }

    /// Where the last of it begins.
    pub(super) fn last_at(&self) -> Option<u64> {
        let unlisted = self.unlisted.last_key_value().map(|(at, _)| *at);
        unlisted.max(self.torn.last_key_value().map(|(at, _)| *at))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unlisted.is_empty() && self.torn.is_empty()
    }
}
