//! Files that go as protected ones: what is sent of them is made by a sealer, and nothing of them as they are.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use haul_manifest::{FileNo, Name};
use haul_vault::{Recipients, Sealer, VaultError};
use rustix::io::Errno;

use crate::FailureKind;

/// Whom the contents of files are sealed for, before they leave this machine.
#[derive(Debug, Clone)]
pub struct Protection {
    /// Who can open them.
    pub recipients: Arc<Recipients>,
    /// What their names have behind them then.
    pub suffix: String,
}

impl Protection {
    /// What a protected file is called.
    pub(super) fn name(&self, name: &Name) -> Result<Name, FailureKind> {
        let bytes = [name.as_bytes(), self.suffix.as_bytes()].concat();
        Name::new(&bytes).map_err(|_| FailureKind::Os(Errno::NAMETOOLONG))
    }

    /// Begins a file of `len` bytes: with a key of its own, whatever was sent of the same source before.
    pub(super) fn begin(&self, len: u64) -> Result<Sealer, FailureKind> {
        Sealer::new(&self.recipients, len).map_err(|error| match error {
            VaultError::OutOfRange => FailureKind::Os(Errno::OVERFLOW),
            _ => FailureKind::Os(Errno::IO),
        })
    }
}

/// A sealer that whoever needs a part of its file takes for as long.
pub(super) type Shared = Arc<Mutex<Sealer>>;

/// The sealers of files that have been listed, until they have arrived.
#[derive(Debug, Default)]
pub(super) struct Sealers(BTreeMap<FileNo, Shared>);

impl Sealers {
    pub(super) fn insert(&mut self, file: FileNo, sealer: Sealer) {
        self.0.insert(file, Arc::new(Mutex::new(sealer)));
    }

    pub(super) fn get(&self, file: FileNo) -> Option<Shared> {
        self.0.get(&file).cloned()
    }

    /// Files below `floor` are no longer needed.
    pub(super) fn release(&mut self, floor: FileNo) {
        let is_passed = |first: (&FileNo, &Shared)| *first.0 < floor;
        if self.0.first_key_value().is_some_and(is_passed) {
            self.0 = self.0.split_off(&floor);
        }
    }
}
