//! A file that is not whole yet: under a name of its own beside where it will be, locked.

use std::os::fd::OwnedFd;

use haul_manifest::{Name, Timestamp};
use rustix::{
    fs::{
        AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, StatxFlags, flock,
        fstat, ftruncate, openat, renameat, renameat_with, statat, statx, unlinkat,
    },
    io::Errno,
    process::geteuid,
};
use serde::{Deserialize, Serialize};

use super::{
    nameless,
    naming::{NAMES_MAX, Naming},
    published::{Identity, Published},
};
use crate::FailureKind;

/// Permissions of a partial file: nobody else's business.
const PARTIAL_MODE: u32 = 0o600;

/// Where a partial file is, so that it can be closed and opened again.
#[derive(Debug)]
pub(super) struct Partial {
    name: Box<[u8]>,
    made: Made,
}

/// Which partial file something is, also to later runs: file systems give the number of one that was removed
/// to the very next, and it may have been removed by a run that has never heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    file: Identity,
    /// When it was made, where the file system tells.
    at: Option<Timestamp>,
}

impl Made {
    pub(super) fn of(fd: &OwnedFd, file: Identity) -> Self {
        let told = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok();
        let told = told.filter(|told| told.stx_mask & StatxFlags::BTIME.bits() != 0);
        let at = told.map(|told| Timestamp {
            seconds: told.stx_btime.tv_sec,
            nanos: told.stx_btime.tv_nsec,
        });
        Self { file, at }
    }
}

impl Partial {
    /// Makes the partial file for `name`; with a `size`, of so many bytes, all hole. One left over
    /// by a transfer that is no longer running is replaced.
    pub(super) fn create(
        naming: &Naming,
        dir: &OwnedFd,
        name: &Name,
        size: Option<u64>,
    ) -> Result<(Self, OwnedFd), FailureKind> {
        let (partial, fd) = claim(naming, dir, name, |partial| exclusive(dir, partial))?;
        let this = Self {
            name: partial,
            made: Made::of(&fd, lock(&fd)?),
        };
        if let Some(size) = size
            && let Err(errno) = ftruncate(&fd, size)
        {
            this.discard(dir);
            return Err(errno.into());
        }
        Ok((this, fd))
    }

    /// Gives a file without a name the partial name for `name`.
    pub(super) fn name(
        naming: &Naming,
        dir: &OwnedFd,
        name: &Name,
        fd: &OwnedFd,
    ) -> Result<Self, FailureKind> {
        let (partial, ()) = claim(naming, dir, name, |partial| {
            nameless::link(fd, dir, partial)
        })?;
        Ok(Self {
            name: partial,
            made: Made::of(fd, lock(fd)?),
        })
    }

    /// The partial file for `name` that is this file, if it is still there and nobody's.
    pub(super) fn find(
        naming: &Naming,
        dir: &OwnedFd,
        name: &Name,
        made: Made,
    ) -> Option<(Self, OwnedFd)> {
        (0..NAMES_MAX).find_map(|attempt| {
            let this = Self {
                name: naming.partial(name.as_bytes(), attempt).into(),
                made,
            };
            let stat = statat(dir, &*this.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            if Identity::of(&stat) != made.file || !is_ours(&stat) {
                return None;
            }
            let fd = this.open(dir).ok()?;
            (Made::of(&fd, made.file) == made).then_some((this, fd))
        })
    }

    pub(super) fn made(&self) -> Made {
        self.made
    }

    /// Opens it again.
    pub(super) fn open(&self, dir: &OwnedFd) -> Result<OwnedFd, FailureKind> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(dir, &*self.name, flags, Mode::empty())?;
        if lock(&fd)? == self.made.file {
            Ok(fd)
        } else {
            Err(FailureKind::Busy)
        }
    }

    /// Gives the whole file its final name.
    pub(super) fn publish(
        &self,
        dir: &OwnedFd,
        name: &Name,
        published: &mut Published,
    ) -> Result<(), FailureKind> {
        if !self.has_its_name(dir) {
            return Err(FailureKind::Collision);
        }
        // Most names are new: then nothing needs to be looked at before.
        let flags = RenameFlags::NOREPLACE;
        match renameat_with(dir, &*self.name, dir, name.as_bytes(), flags) {
            Ok(()) => {}
            // Taken, or a kernel or file system that cannot rename so.
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => {
                published.make_way(dir, name.as_bytes())?;
                renameat(dir, &*self.name, dir, name.as_bytes())?;
            }
            Err(errno) => return Err(errno.into()),
        }
        published.insert(self.made.file);
        Ok(())
    }

    /// Whether no other file has taken its name.
    fn has_its_name(&self, dir: &OwnedFd) -> bool {
        statat(dir, &*self.name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| Identity::of(&stat) == self.made.file)
    }

    /// Removes it, unless another file has taken its name.
    pub(super) fn discard(&self, dir: &OwnedFd) {
        // If it cannot be removed, it stays as a stale one does.
        self.made.file.remove(dir, &self.name);
    }
}

/// Makes something under the first partial name for `name` that is not in use.
fn claim<T>(
    naming: &Naming,
    dir: &OwnedFd,
    name: &Name,
    make: impl Fn(&[u8]) -> Result<T, Errno>,
) -> Result<(Box<[u8]>, T), FailureKind> {
    for attempt in 0..NAMES_MAX {
        let partial = naming.partial(name.as_bytes(), attempt);
        let made = match make(&partial) {
            Err(Errno::EXIST) if remove_stale(naming, dir, &partial)? => make(&partial),
            other => other,
        };
        match made {
            // Somebody else's: leave it alone.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
            Ok(made) => return Ok((partial.into(), made)),
        }
    }
    Err(Errno::EXIST.into())
}

fn exclusive(dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::from_raw_mode(PARTIAL_MODE))
}

/// Locks a partial file and makes sure that it still has a name: another transfer may have taken it
/// for stale between its making and its locking.
fn lock(fd: &OwnedFd) -> Result<Identity, FailureKind> {
    match flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::AGAIN) => return Err(FailureKind::Busy),
        // A file system without locks: nothing to tell two transfers apart by.
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => {}
        Err(errno) => return Err(errno.into()),
    }
    let stat = fstat(fd)?;
    if stat.st_nlink == 0 {
        return Err(FailureKind::Busy);
    }
    Ok(Identity::of(&stat))
}

/// Removes what an earlier transfer has left of `name`; an error while another is writing it.
pub(super) fn clear(naming: &Naming, dir: &OwnedFd, name: &Name) -> Result<(), FailureKind> {
    remove_stale(naming, dir, &naming.partial(name.as_bytes(), 0)).map(drop)
}

/// Removes a partial file of ours that nobody is writing. `false`: it is not ours.
fn remove_stale(naming: &Naming, dir: &OwnedFd, name: &[u8]) -> Result<bool, FailureKind> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(true),
        Err(errno) => return Err(errno.into()),
    };
    // Files of others might have a name that somebody made up.
    let is_likely = !naming.is_custom() || stat.st_mode & 0o7777 == PARTIAL_MODE;
    if !is_ours(&stat) || !is_likely {
        return Ok(false);
    }
    let fd = match openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(true),
        Err(_) => return Ok(false),
    };
    if !is_ours(&fstat(&fd)?) {
        return Ok(false);
    }
    lock(&fd)?;
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

pub(super) fn is_ours(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_uid == geteuid().as_raw()
        && stat.st_nlink == 1
}

/// The hash of nothing.
pub(super) const HASH_EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits (draft-eastlake-fnv), going on from a hash: the same in every build, unlike the
/// standard library's.
pub(super) fn hash_on(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
