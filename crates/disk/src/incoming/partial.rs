//! A file that is not whole yet: under a name of its own beside where it will be, locked.

use std::os::fd::OwnedFd;

use haul_manifest::Name;
use rustix::{
    fs::{
        AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, flock, fstat,
        ftruncate, openat, renameat, renameat_with, statat, unlinkat,
    },
    io::Errno,
    process::geteuid,
};

use super::{
    nameless,
    published::{Identity, Published},
};
use crate::FailureKind;

const SUFFIX: &[u8] = b".haul-part";
/// Permissions of a partial file: nobody else's business.
const PARTIAL_MODE: u32 = 0o600;
/// Names tried when others have taken them.
const NAMES_MAX: u8 = 9;

/// Where a partial file is, so that it can be closed and opened again.
#[derive(Debug)]
pub(super) struct Partial {
    name: Box<[u8]>,
    identity: Identity,
}

impl Partial {
    /// Makes the partial file for `name`; with a `size`, of so many bytes, all hole. One left over
    /// by a transfer that is no longer running is replaced.
    pub(super) fn create(
        dir: &OwnedFd,
        name: &Name,
        size: Option<u64>,
    ) -> Result<(Self, OwnedFd), FailureKind> {
        let (partial, fd) = claim(dir, name, |partial| exclusive(dir, partial))?;
        let this = Self {
            name: partial,
            identity: lock(&fd)?,
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
    pub(super) fn name(dir: &OwnedFd, name: &Name, fd: &OwnedFd) -> Result<Self, FailureKind> {
        let (partial, ()) = claim(dir, name, |partial| nameless::link(fd, dir, partial))?;
        Ok(Self {
            name: partial,
            identity: lock(fd)?,
        })
    }

    /// The partial file for `name` that is this file, if it is still there and nobody's.
    pub(super) fn find(dir: &OwnedFd, name: &Name, file: Identity) -> Option<(Self, OwnedFd)> {
        (0..NAMES_MAX).find_map(|attempt| {
            let this = Self {
                name: partial_name(name.as_bytes(), attempt).into(),
                identity: file,
            };
            let stat = statat(dir, &*this.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            if Identity::of(&stat) != file || !is_ours(&stat) {
                return None;
            }
            let fd = this.open(dir).ok()?;
            Some((this, fd))
        })
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Opens it again.
    pub(super) fn open(&self, dir: &OwnedFd) -> Result<OwnedFd, FailureKind> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(dir, &*self.name, flags, Mode::empty())?;
        if lock(&fd)? == self.identity {
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
        // Most names are new: then nothing needs to be looked at before.
        let flags = RenameFlags::NOREPLACE;
        match renameat_with(dir, &*self.name, dir, name.as_bytes(), flags) {
            Ok(()) => {}
            // Taken, or a kernel or file system that cannot rename so.
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => {
                published.check_replaceable(dir, name.as_bytes())?;
                renameat(dir, &*self.name, dir, name.as_bytes())?;
            }
            Err(errno) => return Err(errno.into()),
        }
        published.insert(self.identity);
        Ok(())
    }

    /// Removes it, unless another file has taken its name.
    pub(super) fn discard(&self, dir: &OwnedFd) {
        let ours = statat(dir, &*self.name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| Identity::of(&stat) == self.identity);
        if ours {
            // If it cannot be removed, it stays as a stale one does.
            let _ = unlinkat(dir, &*self.name, AtFlags::empty());
        }
    }
}

/// Makes something under the first partial name for `name` that is not in use.
fn claim<T>(
    dir: &OwnedFd,
    name: &Name,
    make: impl Fn(&[u8]) -> Result<T, Errno>,
) -> Result<(Box<[u8]>, T), FailureKind> {
    for attempt in 0..NAMES_MAX {
        let partial = partial_name(name.as_bytes(), attempt);
        let made = match make(&partial) {
            Err(Errno::EXIST) if remove_stale(dir, &partial)? => make(&partial),
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
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
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
pub(super) fn clear(dir: &OwnedFd, name: &Name) -> Result<(), FailureKind> {
    remove_stale(dir, &partial_name(name.as_bytes(), 0)).map(drop)
}

/// Removes a partial file of ours that nobody is writing. `false`: it is not ours.
fn remove_stale(dir: &OwnedFd, name: &[u8]) -> Result<bool, FailureKind> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(true),
        Err(errno) => return Err(errno.into()),
    };
    if !is_ours(&stat) {
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

/// `.<name>.haul-part`; a long name is cut, and told apart by a hash of the whole.
pub(super) fn partial_name(name: &[u8], attempt: u8) -> Vec<u8> {
    let mut suffix = SUFFIX.to_vec();
    if attempt > 0 {
        suffix.extend([b'.', b'0' + attempt]);
    }
    let room = haul_manifest::MAX_NAME_LEN - suffix.len() - 1;
    let mut partial = vec![b'.'];
    if name.len() <= room {
        partial.extend_from_slice(name);
    } else {
        let hash = format!("~{:016x}", hash_on(HASH_EMPTY, name));
        partial.extend_from_slice(&name[..room - hash.len()]);
        partial.extend_from_slice(hash.as_bytes());
    }
    partial.extend_from_slice(&suffix);
    partial
}

/// Whether a name is one that partial files have.
pub(super) fn is_partial(name: &[u8]) -> bool {
    let name = match name {
        [name @ .., b'.', b'1'..=b'9'] => name,
        name => name,
    };
    name.starts_with(b".") && name.ends_with(SUFFIX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_names_fit_and_differ() {
        assert_eq!(partial_name(b"a", 0), b".a.haul-part");
        assert_eq!(partial_name(b"a", 1), b".a.haul-part.1");
        assert!((0..NAMES_MAX).all(|attempt| is_partial(&partial_name(b"a", attempt))));
        assert!(!is_partial(b"a.haul-part") && !is_partial(b".a.haul-part.x"));
        let mut long = vec![b'x'; 255];
        let first = partial_name(&long, 0);
        long[254] = b'y';
        let second = partial_name(&long, 0);
        assert_eq!((first.len(), second.len()), (255, 255));
        assert_ne!(first, second);
        for len in 240..=255 {
            let name = partial_name(&vec![b'n'; len], 9);
            assert!(Name::new(&name).is_ok());
        }
    }
}
