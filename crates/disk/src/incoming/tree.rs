use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

use haul_manifest::{DirId, Name};

use super::{attributes::Attributes, dirs::Dirs, ledger::Ledger};
use crate::{DiskError, FailureKind};

/// The destination, and the account of what has been made there.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) dirs: Dirs,
    pub(super) ledger: Ledger,
    pub(super) attributes: Attributes,
}

impl Tree {
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
