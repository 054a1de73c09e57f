use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

use haul_manifest::{DirId, Name};

use super::{
    attributes::Attributes, dirs::Dirs, journal::is_reserved, ledger::Ledger, naming::Naming,
};
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
    /// Whether nothing that is sent may have this name, because journals or partial files have such.
    pub(super) fn is_reserved(&self, parent: DirId, name: &Name) -> bool {
        is_reserved(parent, name) || self.naming.is_custom_partial(name.as_bytes())
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
