use std::{
    collections::HashMap,
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
};

use haul_manifest::{ChangeKind, DirId, FileNo, Meta, Name, Piece};
use rustix::io::{Errno, pwritev};

use super::{
    Tree,
    attributes::Attributes,
    finishing::{Finishing, Job, What},
    nameless,
    partial::{self, Partial},
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

/// The regular files that are not whole yet, and the thread that finishes those that are.
#[derive(Debug)]
pub(super) struct Files {
    unfinished: HashMap<FileNo, Unfinished>,
    open: Lru<FileNo, OwnedFd>,
    nameless: nameless::Ability,
    pub(super) finishing: Finishing,
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
    /// All of it arrived at once.
    Nameless(OwnedFd),
    /// What else arrives is thrown away.
    Failed,
}

impl Unfinished {
    /// Whether it gets its size by being written: nothing of it has arrived, it has no holes, and
    /// saying its size would be one call more for little.
    fn is_small(&self) -> bool {
        self.listed.size <= FILLED_MAX && self.remaining == self.listed.size
    }
}

impl Files {
    pub(super) fn new(attributes: Attributes) -> io::Result<Self> {
        Ok(Self {
            unfinished: HashMap::new(),
            open: Lru::new(OPEN_FILES),
            nameless: nameless::Ability::Untried,
            finishing: Finishing::start(attributes)?,
        })
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
        if !matches!(unfinished.stage, Stage::Failed)
            && let Err(why) = self.finish(tree, file)
        {
            self.fail(tree, file, why)?;
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
        let Some(unfinished) = self.unfinished.get_mut(&piece.file) else {
            return Ok(());
        };
        if matches!(unfinished.stage, Stage::Failed) {
            return Ok(());
        }
        let is_all = piece.len() == unfinished.remaining && unfinished.is_small();
        if is_all && matches!(unfinished.stage, Stage::Listed) {
            let listed = &unfinished.listed;
            let dir = tree.dirs.open(listed.parent)?;
            let mode = tree.attributes.mode(&listed.meta);
            if let Some(fd) = self.nameless.create(&dir, mode)? {
                if !tree.dirs.is_new(listed.parent) {
                    partial::clear(&dir, &listed.name)?;
                }
                write_all(&fd, piece.file_offset, slices)?;
                unfinished.stage = Stage::Nameless(fd);
                return Ok(());
            }
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
                    self.finishing.wait();
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
        let size = (!unfinished.is_small()).then_some(listed.size);
        let (partial, fd) = Partial::create(&dir, &listed.name, size)?;
        unfinished.stage = Stage::Writing(partial);
        Ok(fd)
    }

    /// Hands a file over to be finished.
    fn finish(&mut self, tree: &mut Tree, file: FileNo) -> Result<(), FailureKind> {
        let Some(unfinished) = self.unfinished.get(&file) else {
            return Ok(());
        };
        let dir = tree.dirs.open(unfinished.listed.parent)?;
        if let Stage::Writing(_) = unfinished.stage {
            self.opened(tree, file)?;
        }
        let fd = self.open.remove(file);
        let Some(unfinished) = self.unfinished.remove(&file) else {
            return Ok(());
        };
        let listed = unfinished.listed;
        let what = match (unfinished.stage, fd) {
            (Stage::Writing(partial), Some(fd)) => What::Partial(listed, partial, fd),
            (Stage::Nameless(fd), _) => What::Nameless(listed, fd),
            _ => return Ok(()),
        };
        self.finishing.add(Job { dir, what });
        Ok(())
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
}
