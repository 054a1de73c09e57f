use std::{
    collections::HashMap,
    io::IoSlice,
    os::fd::{AsFd, OwnedFd},
};

use haul_manifest::{ChangeKind, DirId, FileNo, Meta, Name, Piece};
use rustix::{
    fs::{Mode, OFlags, fchmod, fstat, futimens, openat},
    io::{Errno, pwritev},
};

use super::{
    Tree,
    partial::Partial,
    published::{Identity, Published},
};
use crate::{DiskError, FailureKind, error::is_descriptor_shortage, lru::Lru};

/// Open partial files. Losses keep files open behind the front; beyond this many they are closed
/// and opened again.
const OPEN_FILES: usize = 256;
/// Files up to this size are made without saying how long they will be: one call less for each.
const FILLED_MAX: u64 = 64 << 10;
/// Most files that are listed and not whole. An honest sender lists a quarter of that ahead.
const UNFINISHED_MAX: usize = 1 << 20;

/// A regular file of the list.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) parent: DirId,
    pub(super) name: Name,
    pub(super) meta: Meta,
    pub(super) size: u64,
}

/// The regular files that are not whole yet, and the identities of those that are.
#[derive(Debug)]
pub(super) struct Files {
    unfinished: HashMap<FileNo, Unfinished>,
    open: Lru<FileNo, OwnedFd>,
    pub(super) published: Published,
}

#[derive(Debug)]
struct Unfinished {
    listed: Listed,
    /// Bytes of content that have not arrived.
    remaining: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing has arrived.
    Listed,
    Writing(Partial),
    /// What else arrives is thrown away.
    Failed,
}

impl Files {
    pub(super) fn new() -> Self {
        Self {
            unfinished: HashMap::new(),
            open: Lru::new(OPEN_FILES),
            published: Published::default(),
        }
    }

    /// Remembers a file whose content is to come.
    pub(super) fn expect(
        &mut self,
        file: FileNo,
        listed: Listed,
        content: u64,
    ) -> Result<(), DiskError> {
        if self.unfinished.len() >= UNFINISHED_MAX {
            return Err(DiskError::TooManyUnfinished);
        }
        self.unfinished.insert(
            file,
            Unfinished {
                listed,
                remaining: content,
                stage: Stage::Listed,
            },
        );
        Ok(())
    }

    /// Makes a file that has no content.
    pub(super) fn create_whole(
        &mut self,
        tree: &mut Tree,
        listed: &Listed,
    ) -> Result<(), DiskError> {
        match self.try_create_whole(tree, listed) {
            Ok(()) => tree.finished(listed),
            Err(why) => tree.file_failed(listed, why)?,
        }
        Ok(())
    }

    fn try_create_whole(&mut self, tree: &mut Tree, listed: &Listed) -> Result<(), FailureKind> {
        let dir = tree.dirs.open(listed.parent)?;
        if listed.size == 0 {
            // Nothing can be seen half written of an empty file: no detour by a partial name.
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(
                &*dir,
                listed.name.as_bytes(),
                flags,
                Mode::RUSR | Mode::WUSR,
            ) {
                Ok(fd) => {
                    fchmod(&fd, Mode::from_raw_mode(tree.attributes.mode(&listed.meta)))?;
                    if let Some(times) = tree.attributes.times(&listed.meta) {
                        futimens(&fd, &times)?;
                    }
                    self.published.insert(Identity::of(&fstat(&fd)?));
                    return Ok(());
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let (partial, fd) = Partial::create(&dir, &listed.name, Some(listed.size))?;
        self.publish(tree, &partial, &fd, listed)
    }

    /// Writes one piece of a file; the whole file gets its name. `Err` only when no other file
    /// would fare better.
    pub(super) fn write(
        &mut self,
        tree: &mut Tree,
        piece: &Piece,
        slices: &mut [IoSlice<'_>],
    ) -> Result<(), DiskError> {
        let file = piece.file;
        if let Err(why) = self.try_write(tree, piece, slices) {
            self.fail(tree, file, why)?;
        }
        let Some(unfinished) = self.unfinished.get_mut(&file) else {
            return Ok(());
        };
        unfinished.remaining = unfinished.remaining.saturating_sub(piece.len());
        if unfinished.remaining > 0 {
            return Ok(());
        }
        if matches!(unfinished.stage, Stage::Writing(_)) {
            match self.finish(tree, file) {
                Ok(()) => {
                    if let Some(done) = self.unfinished.get(&file) {
                        tree.finished(&done.listed);
                    }
                }
                Err(why) => self.fail(tree, file, why)?,
            }
        }
        self.open.remove(file);
        self.unfinished.remove(&file);
        Ok(())
    }

    /// Gives a file up because the sender could not send it as it was listed.
    pub(super) fn spoil(
        &mut self,
        tree: &mut Tree,
        file: FileNo,
        why: ChangeKind,
    ) -> Result<(), DiskError> {
        self.fail(tree, file, FailureKind::Changed(why))
    }

    fn fail(&mut self, tree: &mut Tree, file: FileNo, why: FailureKind) -> Result<(), DiskError> {
        let Some(unfinished) = self.unfinished.get_mut(&file) else {
            return Ok(());
        };
        if matches!(unfinished.stage, Stage::Failed) {
            return Ok(());
        }
        // Before anything is removed: when the file system gives up, partial files stay.
        tree.file_failed(&unfinished.listed, why)?;
        let stage = std::mem::replace(&mut unfinished.stage, Stage::Failed);
        self.open.remove(file);
        if let Stage::Writing(partial) = stage
            && let Ok(dir) = tree.dirs.open(unfinished.listed.parent)
        {
            partial.discard(&dir);
        }
        Ok(())
    }

    fn try_write(
        &mut self,
        tree: &mut Tree,
        piece: &Piece,
        slices: &mut [IoSlice<'_>],
    ) -> Result<(), FailureKind> {
        let Some(unfinished) = self.unfinished.get(&piece.file) else {
            return Ok(());
        };
        if matches!(unfinished.stage, Stage::Failed) {
            return Ok(());
        }
        let fd = self.opened(tree, piece.file)?;
        write_all(fd, piece.file_offset, slices)?;
        Ok(())
    }

    /// The descriptor of a file that is being written, made or opened again as needed.
    fn opened(&mut self, tree: &mut Tree, file: FileNo) -> Result<&OwnedFd, FailureKind> {
        if self.open.get(file).is_none() {
            let fd = match self.open_partial(tree, file) {
                Err(FailureKind::Os(errno)) if is_descriptor_shortage(errno) => {
                    self.open.clear();
                    tree.dirs.close_all();
                    self.open_partial(tree, file)?
                }
                other => other?,
            };
            self.open.insert(file, fd);
        }
        self.open.get(file).ok_or(FailureKind::Os(Errno::BADF))
    }

    fn open_partial(&mut self, tree: &mut Tree, file: FileNo) -> Result<OwnedFd, FailureKind> {
        let Some(unfinished) = self.unfinished.get_mut(&file) else {
            return Err(Errno::NOENT.into());
        };
        let listed = &unfinished.listed;
        let dir = tree.dirs.open(listed.parent)?;
        if let Stage::Writing(partial) = &unfinished.stage {
            return partial.open(&dir);
        }
        // A small file that has no holes gets its size by being written.
        let is_filled = listed.size <= FILLED_MAX && unfinished.remaining == listed.size;
        let size = (!is_filled).then_some(listed.size);
        let (partial, fd) = Partial::create(&dir, &listed.name, size)?;
        unfinished.stage = Stage::Writing(partial);
        Ok(fd)
    }

    fn finish(&mut self, tree: &mut Tree, file: FileNo) -> Result<(), FailureKind> {
        self.opened(tree, file)?;
        let (Some(fd), Some(unfinished)) = (self.open.remove(file), self.unfinished.get(&file))
        else {
            return Ok(());
        };
        let Stage::Writing(partial) = &unfinished.stage else {
            return Ok(());
        };
        let listed = &unfinished.listed;
        let dir = tree.dirs.open(listed.parent)?;
        let (attributes, published) = (&tree.attributes, &mut self.published);
        partial.publish(&fd, &dir, &listed.name, &listed.meta, attributes, published)
    }

    fn publish(
        &mut self,
        tree: &mut Tree,
        partial: &Partial,
        fd: &OwnedFd,
        listed: &Listed,
    ) -> Result<(), FailureKind> {
        let dir = tree.dirs.open(listed.parent)?;
        let (attributes, published) = (&tree.attributes, &mut self.published);
        let done = partial.publish(fd, &dir, &listed.name, &listed.meta, attributes, published);
        if done.is_err() {
            partial.discard(&dir);
        }
        done
    }
}

fn write_all(fd: impl AsFd, mut offset: u64, mut slices: &mut [IoSlice<'_>]) -> Result<(), Errno> {
    while !slices.is_empty() {
        match pwritev(&fd, slices, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(len) => {
                offset += len as u64;
                IoSlice::advance_slices(&mut slices, len);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

impl Tree {
    fn file_failed(&mut self, listed: &Listed, why: FailureKind) -> Result<(), DiskError> {
        self.failed(listed.parent, &listed.name, listed.size, why)
    }

    fn finished(&mut self, listed: &Listed) {
        let path = || self.dirs.path(listed.parent, listed.name.as_bytes());
        self.ledger.finished(listed.size, path);
    }
}
