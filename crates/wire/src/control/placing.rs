//! What the receiver of data does at the destination.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::PATH_LEN_MAX;
use crate::WireError;

/// What the receiver of data does with what is there and with what arrives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Placing {
    /// Create the destination directory when it is missing.
    pub create_dir: bool,
    /// What becomes of files that are there. With one that [keeps](Overwrite::keeps) them it is as with
    /// `resume`: what is kept need not be sent.
    pub overwrite: Overwrite,
    /// When it is on the disk.
    pub fsync: Fsync,
    /// A file that is replaced is kept under its name and this [suffix](Self::check).
    pub backup_suffix: Option<ByteBuf>,
    /// A file that is not whole has its final name and this.
    pub partial_suffix: Option<ByteBuf>,
    /// What the sender does not have is removed.
    pub delete: bool,
    /// Nothing is changed; what would be is told.
    pub dry_run: bool,
}

/// Most bytes of a suffix.
pub const SUFFIX_LEN_MAX: usize = 64;

impl Placing {
    /// Whether the suffixes can be parts of names, and not of the same ones: 1 to [`SUFFIX_LEN_MAX`]
    /// bytes, no slash, no zero.
    ///
    /// # Errors
    /// [`WireError::Range`] when they cannot.
    pub fn check(&self) -> Result<(), WireError> {
        let suffixes = [&self.backup_suffix, &self.partial_suffix];
        let is_sound = |suffix: &ByteBuf| {
            (1..=SUFFIX_LEN_MAX).contains(&suffix.len())
                && !suffix.iter().any(|byte| matches!(byte, 0 | b'/'))
        };
        let is_one = self.backup_suffix.is_some() && self.backup_suffix == self.partial_suffix;
        if suffixes.into_iter().flatten().all(is_sound) && !is_one {
            Ok(())
        } else {
            Err(WireError::Range("suffix"))
        }
    }

    /// Whether the receiver looks what is there before it is sent.
    pub fn is_judged(&self) -> bool {
        self.dry_run || self.overwrite.keeps()
    }
}

/// What becomes of a file that is there under its final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Overwrite {
    /// It is replaced.
    Always,
    /// It is replaced unless it is the same, as far as is looked.
    #[default]
    Diff,
    /// It stays.
    Never,
    /// It is replaced if it was modified before the source was.
    Older,
    /// It is replaced if it was modified before the source was and is not the same.
    DiffOlder,
}

impl Overwrite {
    /// Whether it may stay although it is another.
    pub fn keeps(self) -> bool {
        matches!(self, Self::Never | Self::Older | Self::DiffOlder)
    }
}

/// When what is received is on the disk, come what may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Fsync {
    /// When the system sees fit.
    #[default]
    Never,
    /// When success is reported.
    End,
    /// Each file before it has its name, and everything when success is reported.
    Each,
}

/// What becomes of one name at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What becomes of it.
    pub act: Act,
    /// Its path, relative to the destination.
    pub path: ByteBuf,
}

/// What becomes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Nothing has it yet: it is made.
    Create,
    /// What has it is another, and is replaced.
    Replace,
    /// What has it is the same but for its attributes, and is given them.
    Update,
    /// What has it stays as it is.
    Keep,
    /// The sender does not have it: it is removed.
    Delete,
}

impl Act {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Update => "update",
            Self::Keep => "keep",
            Self::Delete => "delete",
        }
    }
}

/// Whether no path is longer than any may be.
pub(super) fn check(changes: &[Change]) -> Result<(), WireError> {
    if changes
        .iter()
        .all(|change| change.path.len() <= PATH_LEN_MAX)
    {
        Ok(())
    } else {
        Err(WireError::Range("changes"))
    }
}
