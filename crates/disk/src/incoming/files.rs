use std::{
    collections::HashMap,
    io::IoSlice,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use haul_manifest::{ChangeKind, Digest, DirId, Extra, FileNo, Meta, Name, Piece, RangeSet};
use haul_wire::control::{Fsync, Overwrite, Resume};
use rustix::{
    fs::{fdatasync, ftruncate},
    io::{Errno, pwritev, retry_on_intr},
};

use super::{
    Tree,
    finishing::{Finished, Finishing, Job, What},
    journal::{Journal, Source},
    nameless,
    partial::{self, Partial},
    proof::{Evidence, Proof},
    published::Stamp,
};
use crate::{Digests, DiskError, FailureKind, error::is_descriptor_shortage, lru::Lru};

/// Open partial files. Losses keep files open behind the front; beyond this many they are closed
/// and opened again.
const OPEN_FILES: usize = 256;
/// Files up to this size are made without saying how long they will be: one call less for each.
const FILLED_MAX: u64 = 64 << 10;
/// How much is written before the journal is told: what a killed run sends again at most.
const JOURNAL_BYTES: u64 = 4 << 20;
/// How much of one file is written before it is written back, where each file is to be: what a restart costs
/// at most. What arrives meanwhile fits into the pool that it is received in.
const SYNC_BYTES: u64 = 32 << 20;
/// Most files that are listed and not whole. An honest sender lists a quarter of that ahead.
const UNFINISHED_MAX: usize = 1 << 20;

/// A regular file of the list.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) parent: DirId,
    pub(super) name: Name,
    pub(super) meta: Meta,
    pub(super) extra: Option<Box<Extra>>,
    pub(super) size: u64,
    /// A number for its path below the destination.
    pub(super) path: u64,
    /// What it must come to, to be taken for one that is there.
    pub(super) digest: Option<Digest>,
    /// Its number, if it has content.
    pub(super) file: Option<FileNo>,
    /// What it comes to, once that is proved.
    pub(super) proved: Option<Box<Digests>>,
}

impl Listed {
    pub(super) fn source(&self) -> Source {
        Source {
            size: self.size,
            modified: self.meta.modified,
        }
    }
}

/// The regular files that are not whole yet, and the thread that finishes those that are.
#[derive(Debug)]
pub(super) struct Files {
    unfinished: HashMap<FileNo, Unfinished>,
    open: Lru<FileNo, Arc<OwnedFd>>,
    nameless: nameless::Ability,
    pub(super) overwrite: Overwrite,
    /// By what files are taken for those that are to be sent.
    pub(super) compare: Resume,
    /// If what arrives is to be proved.
    pub(super) proof: Option<Proof>,
    /// What the next run is told, until this one has got everything.
    pub(super) journal: Option<Journal>,
    /// Bytes written since the journal was told.
    untold: u64,
    /// Files of which it has not been told all.
    changed: Vec<FileNo>,
    /// Whether each file is on the disk before it has its name.
    syncs: bool,
    pub(super) finishing: Finishing,
}

#[derive(Debug)]
struct Unfinished {
    listed: Listed,
    /// Bytes of content that have not arrived.
    remaining: u64,
    stage: Stage,
    /// Bytes of the partial file that have been written, as far as the journal wants to know.
    written: RangeSet,
    is_changed: bool,
    /// Bytes written since it was written back.
    unsynced: u64,
    evidence: Evidence,
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
    /// Whether all of its content has arrived.
    fn is_whole(&self) -> bool {
        self.remaining == 0
    }

    /// Whether it gets its size by being written: nothing of it has arrived, it has no holes, and
    /// saying its size would be one call more for little.
    fn is_small(&self) -> bool {
        self.listed.size <= FILLED_MAX && self.remaining == self.listed.size
    }
}

impl Files {
    pub(super) fn new(
        finishing: Finishing,
        (overwrite, fsync): (Overwrite, Fsync),
        compare: Resume,
        proof: Option<Proof>,
        journal: Journal,
    ) -> Self {
        Self {
            overwrite,
            syncs: fsync == Fsync::Each,
            compare,
            proof,
            journal: Some(journal),
            untold: 0,
            changed: Vec::new(),
            unfinished: HashMap::new(),
            open: Lru::new(OPEN_FILES),
            nameless: nameless::Ability::Untried,
            finishing,
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
                written: RangeSet::new(),
                is_changed: false,
                unsynced: 0,
                evidence: Evidence::default(),
            },
        );
        Ok(())
    }

    /// Says how large a file is that was expected to be as large as can be, and of how many bytes the
    /// content is missing; what has been written behind its end goes. Returns what is known of it when it
    /// turns out to be empty.
    pub(super) fn close(
        &mut self,
        tree: &mut Tree,
        file: FileNo,
        (size, meta): (u64, Meta),
        missing: u64,
    ) -> Result<Option<Listed>, DiskError> {
        let Some(unfinished) = self.unfinished.get_mut(&file) else {
            return Ok(None);
        };
        unfinished.listed.size = size;
        unfinished.listed.meta = meta;
        unfinished.remaining = missing;
        match unfinished.stage {
            Stage::Listed if size == 0 => {
                return Ok(self.unfinished.remove(&file).map(|empty| empty.listed));
            }
            Stage::Writing(_) => {
                let cut = self.opened(tree, file);
                if let Err(why) = cut.and_then(|fd| Ok(ftruncate(fd, size)?)) {
                    self.fail(tree, file, why)?;
                }
            }
            _ => {}
        }
        self.arrived(tree, file, 0)?;
        Ok(None)
    }

    /// Goes on with a file of which `had` bytes of content are in a partial file.
    pub(super) fn resume(
        &mut self,
        tree: &mut Tree,
        file: FileNo,
        (partial, fd, written): (Partial, OwnedFd, RangeSet),
        had: u64,
    ) -> Result<(), DiskError> {
        if let Some(unfinished) = self.unfinished.get_mut(&file) {
            unfinished.stage = Stage::Writing(partial);
            unfinished.written = written;
            self.open.insert(file, Arc::new(fd));
            self.arrived(tree, file, had)?;
        }
        Ok(())
    }

    /// Tells the journal what has been finished.
    pub(super) fn note_done(&mut self, listed: &Listed, stamp: Stamp) {
        if let Some(journal) = &mut self.journal {
            journal.done(listed.path, listed.source(), stamp, self.syncs);
        }
    }

    /// Tells the journal what could not be finished: where that may be because it could not be written
    /// back, what was written of it is not there.
    pub(super) fn note_undone(&mut self, listed: &Listed) {
        if let Some(journal) = self.journal.as_mut().filter(|_| self.syncs) {
            journal.void(listed.path);
        }
    }

    /// Everything has arrived: the next run need not be told of it.
    pub(super) fn end_journal(&mut self) {
        if let Some(journal) = self.journal.take() {
            journal.close();
        }
    }

    /// All that has arrived has been written back.
    pub(super) fn hold_journal(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.hold();
        }
    }

    pub(super) fn resumes(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_used)
    }

    /// Tells the journal what the partial files hold.
    fn save(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        for file in self.changed.drain(..) {
            if let Some(unfinished) = self.unfinished.get_mut(&file)
                && let Stage::Writing(partial) = &unfinished.stage
            {
                let listed = &unfinished.listed;
                let what = (partial.made(), &unfinished.written);
                journal.part(listed.path, listed.source(), what, false);
                unfinished.is_changed = false;
            }
        }
        journal.flush();
        self.untold = 0;
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
        self.arrived(tree, file, piece.len())
    }

    /// So many bytes of a file's content are there; the whole file goes to be finished.
    fn arrived(&mut self, tree: &mut Tree, file: FileNo, len: u64) -> Result<(), DiskError> {
        self.untold += len;
        if self.untold >= JOURNAL_BYTES {
            self.save();
        }
        let Some(unfinished) = self.unfinished.get_mut(&file) else {
            return Ok(());
        };
        unfinished.remaining = unfinished.remaining.saturating_sub(len);
        if unfinished.remaining > 0 {
            return Ok(());
        }
        if self.proof.is_some() && matches!(unfinished.stage, Stage::Writing(_)) {
            return self.conclude(tree, file);
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

    /// Publishes a file that is whole, or gives it up, once both sides have said what it comes to.
    pub(super) fn conclude(&mut self, tree: &mut Tree, file: FileNo) -> Result<(), DiskError> {
        let Some(unfinished) = self
            .unfinished
            .get_mut(&file)
            .filter(|file| file.is_whole())
        else {
            return Ok(());
        };
        let Some(verdict) = unfinished.evidence.verdict() else {
            return Ok(());
        };
        let proved = match verdict {
            Ok(digests) => {
                unfinished.listed.proved = Some(Box::new(digests));
                self.finish(tree, file)
            }
            Err(why) => Err(why),
        };
        if let Err(why) = proved {
            self.fail(tree, file, why)?;
        }
        self.open.remove(file);
        self.unfinished.remove(&file);
        Ok(())
    }

    /// What is known of the digests of a file that is not finished.
    pub(super) fn evidence(&mut self, file: FileNo) -> Option<&mut Evidence> {
        let unfinished = self.unfinished.get_mut(&file)?;
        Some(&mut unfinished.evidence)
    }

    /// The size of a file that is being written.
    pub(super) fn size_while_writing(&self, file: FileNo) -> Option<u64> {
        let unfinished = self.unfinished.get(&file)?;
        matches!(unfinished.stage, Stage::Writing(_)).then_some(unfinished.listed.size)
    }

    /// Whether the sender has said of each file that is left what it comes to.
    pub(super) fn is_told(&self) -> bool {
        let mut left = self.unfinished.values();
        left.all(|file| file.evidence.is_told())
    }

    /// Whether everything is proved that is to be, of so many files.
    pub(super) fn is_proved(&self, files: u64) -> bool {
        self.proof
            .as_ref()
            .is_none_or(|proof| self.unfinished.is_empty() && proof.is_settled(files))
    }

    /// Gives a file up because the sender could not send it as it was listed.
    pub(super) fn spoil(
        &mut self,
        tree: &mut Tree,
        file: FileNo,
        why: ChangeKind,
    ) -> Result<(), DiskError> {
        self.withdraw(tree, file, why)?;
        self.fail(tree, file, FailureKind::Changed(why))
    }

    /// Gives a file up.
    pub(super) fn fail(
        &mut self,
        tree: &mut Tree,
        file: FileNo,
        why: FailureKind,
    ) -> Result<(), DiskError> {
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
            if let Some(journal) = &mut self.journal {
                journal.void(unfinished.listed.path);
            }
            partial.discard(&dir);
        }
        if self.proof.is_some() && self.unfinished.get(&file).is_some_and(Unfinished::is_whole) {
            self.unfinished.remove(&file);
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
            let mode = tree.attributes.mode_when_made(&listed.meta);
            if let Some(fd) = self.nameless.create(&dir, mode)? {
                if !tree.dirs.is_new(listed.parent) {
                    partial::clear(&tree.naming, &dir, &listed.name)?;
                }
                write_all(&fd, piece.file_offset, slices)?;
                unfinished.stage = Stage::Nameless(fd);
                return Ok(());
            }
        }
        let fd = self.opened(tree, piece.file)?;
        write_all(&**fd, piece.file_offset, slices)?;
        self.note_written(piece);
        self.sync_part(piece.file)
    }

    fn note_written(&mut self, piece: &Piece) {
        if self.resumes()
            && let Some(unfinished) = self.unfinished.get_mut(&piece.file)
            && unfinished.listed.size > FILLED_MAX
        {
            let start = piece.file_offset;
            unfinished.written.insert(start..start + piece.len());
            unfinished.unsynced += piece.len();
            if !std::mem::replace(&mut unfinished.is_changed, true) {
                self.changed.push(piece.file);
            }
        }
    }

    /// Has a large file written back now and then where it is to be in the end, so that a restart does not
    /// cost all of it.
    fn sync_part(&mut self, file: FileNo) -> Result<(), FailureKind> {
        if self.syncs
            && let Some(unfinished) = self.unfinished.get_mut(&file)
            && unfinished.unsynced >= SYNC_BYTES
            && let Stage::Writing(partial) = &unfinished.stage
            && let Some(fd) = self.open.get(file)
            && let Some(journal) = &mut self.journal
        {
            unfinished.unsynced = 0;
            let listed = &unfinished.listed;
            // An error is told once, so it is the file's, like one of the last sync.
            if let Err(errno) = retry_on_intr(|| fdatasync(&**fd)) {
                unfinished.written = RangeSet::new();
                journal.void(listed.path);
                return Err(errno.into());
            }
            let what = (partial.made(), &unfinished.written);
            journal.part(listed.path, listed.source(), what, true);
            journal.flush();
        }
        Ok(())
    }

    /// The descriptor of a file that is being written, made or opened again as needed.
    pub(super) fn opened(
        &mut self,
        tree: &mut Tree,
        file: FileNo,
    ) -> Result<&Arc<OwnedFd>, FailureKind> {
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
            self.open.insert(file, Arc::new(fd));
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
        let (partial, fd) = Partial::create(&tree.naming, &dir, &listed.name, size)?;
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
            (Stage::Nameless(fd), _) => {
                if let Some(proof) = &mut self.proof {
                    proof.await_name(file, unfinished.evidence);
                }
                What::Nameless(listed, fd)
            }
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

/// What has been finished, and what partial files hold, is told to the next run, however this one ends.
impl Drop for Files {
    fn drop(&mut self) {
        if self.journal.is_some() {
            self.finishing.wait();
            for done in self.finishing.take_done() {
                match (&done.what, done.outcome) {
                    (Finished::File(listed), Ok(Some(stamp))) => self.note_done(listed, stamp),
                    (Finished::File(listed), Err(_)) => self.note_undone(listed),
                    _ => {}
                }
            }
            self.save();
        }
    }
}

impl Tree {
    /// Accounts for a file that has its name.
    pub(super) fn finished(&mut self, file: &Listed, digests: Option<Digests>) {
        let (dirs, ledger) = (&self.dirs, &mut self.ledger);
        ledger.finished(file.size, digests, || {
            dirs.path(file.parent, file.name.as_bytes())
        });
    }

    pub(super) fn file_failed(
        &mut self,
        listed: &Listed,
        why: FailureKind,
    ) -> Result<(), DiskError> {
        self.failed(listed.parent, &listed.name, listed.size, why)
    }
}
