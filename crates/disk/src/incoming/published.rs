use std::{collections::HashSet, os::fd::OwnedFd};

use haul_manifest::Timestamp;

use rustix::{
    fs::{AtFlags, FileType, Stat, linkat, renameat, statat, unlinkat},
    io::Errno,
};

use serde::{Deserialize, Serialize};

use super::{journal::is_journal, naming::Naming};
use crate::FailureKind;

/// A file as it was when it was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) file: Identity,
    size: u64,
    modified: Timestamp,
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            file: Identity::of(stat),
            size: stat.st_size as u64,
            modified: modified(stat),
        }
    }
}

/// When something was written last.
pub(super) fn modified(stat: &Stat) -> Timestamp {
    Timestamp {
        seconds: stat.st_mtime,
        nanos: stat.st_mtime_nsec as u32,
    }
}

/// Which file something is, whatever its name: device and inode, mixed into one number because a
/// million of these are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Identity(u64);

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        // Inode numbers are small; an odd factor (2^64 divided by the golden ratio) spreads the
        // device over the bits they leave.
        Self(stat.st_ino ^ stat.st_dev.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Removes this file's name, unless it is another's by now.
    pub(super) fn remove(self, dir: &OwnedFd, name: &[u8]) {
        let is_this =
            statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| Self::of(&stat) == self);
        if is_this {
            // If it cannot be removed, its failure is told all the same.
            let _ = unlinkat(dir, name, AtFlags::empty());
        }
    }
}

/// What this transfer has given final names to. A destination that ignores case, or normalises
/// names, takes two names of ours for one: the second must not replace the first.
#[derive(Debug, Default)]
pub(super) struct Published {
    files: HashSet<Identity>,
    pub(super) naming: Naming,
}

impl Published {
    pub(super) fn new(naming: Naming) -> Self {
        let files = HashSet::new();
        Self { files, naming }
    }

    pub(super) fn insert(&mut self, identity: Identity) {
        self.files.insert(identity);
    }

    pub(super) fn into_identities(self) -> HashSet<Identity> {
        self.files
    }

    /// Whether what has this name may be replaced: nothing, a regular file or a symbolic link that
    /// this transfer has not put there.
    pub(super) fn check_replaceable(&self, dir: &OwnedFd, name: &[u8]) -> Result<(), FailureKind> {
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Err(FailureKind::IsADirectory),
            FileType::RegularFile | FileType::Symlink => {
                if self.files.contains(&Identity::of(&stat)) {
                    Err(FailureKind::Collision)
                } else {
                    Ok(())
                }
            }
            _ => Err(FailureKind::SpecialInPlace),
        }
    }

    /// Whether what has this name may be replaced; where that was asked for, it is kept under another one
    /// as well. An older one there goes.
    pub(super) fn make_way(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<(), FailureKind> {
        self.check_replaceable(dir, name)?;
        let Some(backup) = self.naming.backup(name) else {
            return Ok(());
        };
        let backup = backup.map_err(|_| FailureKind::BackupTaken)?;
        let backup = backup.as_bytes();
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let is_free = self.check_replaceable(dir, backup).is_ok();
        if !is_free || self.naming.is_custom_partial(backup) || is_journal(backup) {
            return Err(FailureKind::BackupTaken);
        }
        match unlinkat(dir, backup, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        // With two names for a moment, what is replaced is never without one.
        match linkat(dir, name, dir, backup, AtFlags::empty()) {
            Ok(()) => {}
            // A file system, or a file, that cannot have two.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                renameat(dir, name, dir, backup)?;
            }
            Err(errno) => return Err(errno.into()),
        }
        self.insert(Identity::of(&stat));
        Ok(())
    }
}
