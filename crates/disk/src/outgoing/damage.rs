use std::collections::{BTreeMap, BTreeSet};

use haul_manifest::FileNo;

/// What could not be read as listed.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// Files listed as changed: none of their bytes are read any more.
    spoiled: BTreeSet<FileNo>,
    /// Blocks that several files share and that went out with zeros in them, as they went out.
    /// Every later copy has to be the same, because the list says of this one which files are whole
    /// in it.
    torn: BTreeMap<u64, Box<[u8]>>,
}

impl Damage {
    /// Marks a file; `false` when it was marked before.
    pub(super) fn spoil(&mut self, file: FileNo) -> bool {
        self.spoiled.insert(file)
    }

    pub(super) fn is_spoiled(&self, file: FileNo) -> bool {
        self.spoiled.contains(&file)
    }

    pub(super) fn tear(&mut self, block: u64, bytes: &[u8]) {
        self.torn.insert(block, bytes.into());
    }

    pub(super) fn torn(&self, block: u64) -> Option<&[u8]> {
        self.torn.get(&block).map(|bytes| &**bytes)
    }

    pub(super) fn any_torn(&self) -> bool {
        !self.torn.is_empty()
    }

    /// Files below `file` and content blocks below `block` are no longer needed.
    pub(super) fn release(&mut self, file: FileNo, block: u64) {
        if !self.spoiled.is_empty() {
            self.spoiled = self.spoiled.split_off(&file);
            self.torn = self.torn.split_off(&block);
        }
    }
}
