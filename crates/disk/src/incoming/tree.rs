use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

use haul_manifest::{DirId, Name};

use super::{attributes::Attributes, dirs::Dirs, ledger::Ledger, naming::Naming};
use crate::{DiskError, FailureKind};

/// The destination, and the account of what has been made there.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) dirs: Dirs,
    pub(super) ledger: Ledger,
    pub(super) attributes: Attributes,
    pub(super) naming: Naming,
}

impl Tree {
    /// Why nothing that is sent but a directory may have this name, if nothing may: journals or partial files have such, or
    /// it is not among those allowed.
    pub(super) fn bars(&self, parent: DirId, name: &Name) -> Option<FailureKind> {
        let is_partial = self.naming.is_custom_partial(name.as_bytes());
        (is_partial.then_some(FailureKind::Reserved))
            .or_else(|| self.dirs.bars(parent, name, false))
    }

    /// Counts a failure, or gives up when nothing else would fare better.
    pub(super) fn failed(
        &mut self,
        parent: DirId,
        name: &Name,
        size: u64,
        why: FailureKind,
    ) -> Result<(), DiskError> {
        let path = self.dirs.path(parent, name.as_bytes());
        if let FailureKind::Os(errno) = why
            && why.is_storage()
        {
            return Err(DiskError::Storage {
                path: PathBuf::from(OsString::from_vec(path)),
                cause: errno.into(),
            });
        }
        self.ledger.failed(path, size, why);
        Ok(())
    }
}
