use std::{
    io::{self, IoSliceMut},
    mem::take,
    os::fd::OwnedFd,
    sync::{Arc, PoisonError},
};

use haul_manifest::{ChangeKind, FileNo};
use haul_vault::{Kept, VaultError};
use rustix::{
    fs::{Advice, AtFlags, CWD, FileType, Mode, OFlags, Stat, fadvise, fstat, openat, statat},
    io::{Errno, pread, preadv},
};

use super::{
    files::{Origin, Stamp},
    places::{DirCache, Place, Route},
    protect::Shared,
};
use crate::{digest::Digester, error::is_descriptor_shortage, lru::Lru};

/// Open files: enough for a retransmission here and there beside the front.
const OPEN_FILES: usize = 32;
/// Open directories.
const OPEN_DIRS: usize = 64;
/// From this size on the kernel is told that a file will be read from front to back.
const READ_AHEAD_SIZE_MIN: i64 = 1 << 20;

/// Reads listed files, and only them: what is read was still, after reading, what had been listed.
#[derive(Debug)]
pub(super) struct Reader {
    files: Lru<FileNo, OwnedFd>,
    dirs: DirCache,
    follows: bool,
    /// What of protected files was sealed last.
    kept: Kept,
}

impl Reader {
    /// `follows`: links are opened for what they lead to. Whether it is what was listed is seen by
    /// the stamp either way.
    pub(super) fn new(follows: bool) -> Self {
        Self {
            files: Lru::new(OPEN_FILES),
            dirs: DirCache::new(OPEN_DIRS, follows),
            follows,
            kept: Kept::default(),
        }
    }

    /// Fills `slices` from `offset` on; how many bytes the file has. `route` tells how to reach a
    /// directory that is not open.
    pub(super) fn read(
        &mut self,
        file: FileNo,
        origin: &Origin,
        offset: u64,
        slices: &mut [IoSliceMut<'_>],
        route: &dyn Fn(Place, &mut DirCache) -> Route,
    ) -> Result<u64, ChangeKind> {
        self.with(file, origin, route, |fd| read_exactly(fd, offset, slices))
    }

    /// The same of the protected file that `sealer` makes of it.
    pub(super) fn seal(
        &mut self,
        file: FileNo,
        origin: &Origin,
        sealer: &Shared,
        offset: u64,
        slices: &mut [IoSliceMut<'_>],
        route: &dyn Fn(Place, &mut DirCache) -> Route,
    ) -> Result<u64, ChangeKind> {
        let mut kept = take(&mut self.kept);
        let sealed = self.with(file, origin, route, |fd| {
            let mut sealer = sealer.lock().unwrap_or_else(PoisonError::into_inner);
            let mut read = |at: u64, out: &mut [u8]| pread(fd, out, at).map_err(io::Error::from);
            let mut at = offset;
            for slice in slices {
                let filled = sealer.fill(at, slice, &mut kept, &mut read);
                filled.map_err(|error| unsealed(&error))?;
                at += slice.len() as u64;
            }
            Ok(())
        });
        self.kept = kept;
        sealed
    }

    /// Takes the file's bytes up to `end` into its digests.
    pub(super) fn digest(
        &mut self,
        file: FileNo,
        origin: &Origin,
        digester: &mut Digester,
        end: u64,
        buffer: &mut Vec<u8>,
        route: &dyn Fn(Place, &mut DirCache) -> Route,
    ) -> Result<(), ChangeKind> {
        let read = |fd: &OwnedFd| {
            let read = digester.read_up_to(fd, end, buffer);
            read.map_err(|errno| match errno {
                Errno::NODATA => ChangeKind::Modified,
                other => kind(other),
            })
        };
        self.with(file, origin, route, read).map(drop)
    }

    /// Has an open file read, and makes sure that it is still what was listed; how many bytes it has.
    fn with(
        &mut self,
        file: FileNo,
        origin: &Origin,
        route: &dyn Fn(Place, &mut DirCache) -> Route,
        read: impl FnOnce(&OwnedFd) -> Result<(), ChangeKind>,
    ) -> Result<u64, ChangeKind> {
        if self.files.get(file).is_none() {
            let fd = match self.open(origin, route) {
                Err(errno) if is_descriptor_shortage(errno) => {
                    self.close_all();
                    self.open(origin, route)
                }
                other => other,
            };
            self.files.insert(file, fd.map_err(kind)?);
        }
        let fd = self.files.get(file).ok_or(ChangeKind::Unreadable)?;
        read(fd)?;
        let stat = fstat(fd).map_err(kind)?;
        if Stamp::of(&stat) == origin.stamp {
            Ok(u64::try_from(stat.st_size).unwrap_or(0))
        } else {
            self.files.remove(file);
            Err(ChangeKind::Modified)
        }
    }

    fn close_all(&mut self) {
        self.files.clear();
        self.dirs.clear();
    }

    /// Opens a file unless it is something else by now. What is not a regular file is not opened,
    /// and if it becomes one between two system calls, opening it neither waits nor reads.
    fn open(
        &mut self,
        origin: &Origin,
        route: &dyn Fn(Place, &mut DirCache) -> Route,
    ) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = if origin.name.is_empty() {
            let route = route(origin.place, &mut self.dirs);
            let path = route.source_path().ok_or(Errno::NOENT)?;
            check_regular(&statat(CWD, path, AtFlags::empty())?)?;
            openat(CWD, path, flags, Mode::empty())?
        } else {
            let dir = self.dir(origin.place, route)?;
            let (look, open) = match self.follows {
                true => (AtFlags::empty(), OFlags::empty()),
                false => (AtFlags::SYMLINK_NOFOLLOW, OFlags::NOFOLLOW),
            };
            check_regular(&statat(&*dir, &*origin.name, look)?)?;
            openat(&*dir, &*origin.name, flags | open, Mode::empty())?
        };
        let stat = fstat(&fd)?;
        check_regular(&stat)?;
        if stat.st_size >= READ_AHEAD_SIZE_MIN {
            // A hint only.
            let _ = fadvise(&fd, 0, None, Advice::Sequential);
        }
        Ok(fd)
    }

    fn dir(
        &mut self,
        place: Place,
        route: &dyn Fn(Place, &mut DirCache) -> Route,
    ) -> Result<Arc<OwnedFd>, Errno> {
        match self.dirs.get(place) {
            Some(fd) => Ok(fd),
            None => {
                let route = route(place, &mut self.dirs);
                self.dirs.follow(route)
            }
        }
    }
}

/// Anything but a regular file counts as gone.
fn check_regular(stat: &Stat) -> Result<(), Errno> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(Errno::NOENT),
    }
}

fn read_exactly(
    fd: &OwnedFd,
    mut offset: u64,
    mut slices: &mut [IoSliceMut<'_>],
) -> Result<(), ChangeKind> {
    while !slices.is_empty() {
        match preadv(fd, slices, offset) {
            Ok(0) => return Err(ChangeKind::Modified),
            Ok(len) => {
                offset += len as u64;
                IoSliceMut::advance_slices(&mut slices, len);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(kind(errno)),
        }
    }
    Ok(())
}

fn unsealed(error: &VaultError) -> ChangeKind {
    match error {
        VaultError::SourceChanged { .. } => ChangeKind::Modified,
        _ => ChangeKind::Unreadable,
    }
}

fn kind(errno: Errno) -> ChangeKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE => ChangeKind::Vanished,
        _ => ChangeKind::Unreadable,
    }
}
